"""ROS parameters made from a config dataclass: types, descriptions, ranges, live changes."""

from __future__ import annotations

import dataclasses
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

    Declares one parameter for each field. ``apply(new, names)``, where one is set, is called before
    a live change takes effect, with the names of the parameters that were set, be it to the value
    that they had; a ValueError from it, or from the dataclass, refuses the change with its message.
    Raises ValueError, or rclpy's ParameterException, when a value given at start is not allowed.
    """

    def __init__(self, node: Node, cls: type[Config]) -> None:
        self.apply: Callable[[Config, Collection[str]], None] | None = None
        hints = typing.get_type_hints(cls)
        values = {
            spec.name: _declare(node, spec, _type_of(hints[spec.name]))
            for spec in dataclasses.fields(cls)
        }
        self.config = cls(**values)
        node.add_on_set_parameters_callback(self._change)

    def _change(self, parameters: list[Parameter]) -> SetParametersResult:
        """Answer a request to set some parameters; parameters of others pass."""
        names = {spec.name for spec in dataclasses.fields(self.config)}
        values = {p.name: _plain(p.value) for p in parameters if p.name in names}
        try:
            new = dataclasses.replace(self.config, **values)
            if self.apply is not None:
                self.apply(new, values.keys())
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.config = new
        return SetParametersResult(successful=True)


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
