"""ROS parameters made from a config dataclass: types, descriptions, ranges, live changes."""

from __future__ import annotations

import dataclasses
import json
import textwrap
import typing
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from vltp_ros.settings import described

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

TYPES: dict[Any, Parameter.Type] = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    tuple[float, ...]: Parameter.Type.DOUBLE_ARRAY,
    tuple[str, ...]: Parameter.Type.STRING_ARRAY,
}


class Parameters(Generic[Config]):
    """The parameters of a node as one validated instance of a config dataclass.

    Declares one parameter for each field. A live change has two steps, as whoever else may refuse
    it is asked in between: of what is set together, all takes effect or nothing does. Where they
    are set, ``validate(new, names)`` is called first, whose ValueError, like the dataclass's,
    refuses the change with its message, and must have no effect; ``apply(new, names)`` once
    :attr:`config` is the new one, which must not raise. The names are those of the parameters that
    were set, be it to the value that they had.
    Raises ValueError, or rclpy's ParameterException, when a value given at start is not allowed.
    """

    def __init__(self, node: Node, cls: type[Config]) -> None:
        self.validate: Callable[[Config, Collection[str]], None] | None = None
        self.apply: Callable[[Config, Collection[str]], None] | None = None
        hints = typing.get_type_hints(cls)
        values = {
            spec.name: _declare(node, spec, _type_of(hints[spec.name]))
            for spec in dataclasses.fields(cls)
        }
        self.config = cls(**values)
        node.add_on_set_parameters_callback(self._on_set)
        node.add_post_set_parameters_callback(self._on_accepted)

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        """Answer a request to set some parameters, without any effect."""
        try:
            if values := self._own(parameters):
                new = dataclasses.replace(self.config, **values)
                if self.validate is not None:
                    self.validate(new, values.keys())
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_accepted(self, parameters: list[Parameter]) -> None:
        """Take over parameters that nobody has refused."""
        if values := self._own(parameters):
            self.config = dataclasses.replace(self.config, **values)
            if self.apply is not None:
                self.apply(self.config, values.keys())

    def _own(self, parameters: list[Parameter]) -> dict[str, Any]:
        """Return the values of the config's parameters among some."""
        names = {spec.name for spec in dataclasses.fields(self.config)}
        return {p.name: _plain(p.value) for p in parameters if p.name in names}


def _type_of(hint: Any) -> Parameter.Type:
    """Return the type of a parameter whose field is annotated like this."""
    return TYPES[str if typing.get_origin(hint) is typing.Literal else hint]


def _declare(node: Node, spec: dataclasses.Field, kind: Parameter.Type) -> Any:
    """Declare one parameter and return its value."""
    descriptor = _descriptor(spec, kind)
    if spec.default != ():
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        return _plain(node.declare_parameter(spec.name, default, descriptor).value)
    # rclpy takes an empty list for a list of bytes, and one from a file for nothing at all: declare
    # the type, set the value, and only then forbid to.
    declared: Parameter = node.declare_parameter(spec.name, kind)
    if declared.type_ == Parameter.Type.NOT_SET:
        node.set_parameters([Parameter(spec.name, kind, [])])
    descriptor.type = kind.value
    node.set_descriptor(spec.name, descriptor)
    return _plain(node.get_parameter(spec.name).value)


def _descriptor(spec: dataclasses.Field, kind: Parameter.Type) -> ParameterDescriptor:
    """Return what the field's metadata says, in ROS's terms."""
    metadata = spec.metadata
    descriptor = ParameterDescriptor(
        description=metadata["description"], read_only=metadata.get("read_only", False)
    )
    if "choices" in metadata:
        descriptor.additional_constraints = f"one of: {', '.join(map(str, metadata['choices']))}"
    if "low" in metadata and "high" in metadata:
        low, high = metadata["low"], metadata["high"]
        if kind == Parameter.Type.INTEGER:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor


def _plain(value: Any) -> Any:
    """Return a parameter's value as the dataclasses have it: arrays are tuples."""
    return value if isinstance(value, bool | int | float | str) else tuple(value)


def usage(name: str, cls: type[Config]) -> str:
    """Return what an executable says of itself, with the parameters that a config class makes."""
    lines = [
        f"usage: {name} --ros-args [-p PARAMETER:=VALUE ...] [-r NAME:=NEW_NAME ...] "
        "[--params-file FILE]",
        "",
        "parameters, with their defaults:",
    ]
    for spec in dataclasses.fields(cls):
        lines.append(f"  {spec.name}: {json.dumps(spec.default)}")
        lines += textwrap.indent(textwrap.fill(described(spec), 84), " " * 6).splitlines()
    return "\n".join(lines)
