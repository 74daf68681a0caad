"""Stand-ins for launch and launch_ros, which no package index has.

They refuse what the real classes refuse, and start nothing: a node becomes a :class:`Process`.
test_stand_ins.py compares them with the real ones, where those are installed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
NAMESPACE = re.compile(r"/|(/[A-Za-z_]\w*)+", re.ASCII)
PROCESS_OPTIONS = (
    "prefix cwd env additional_env shell sigterm_timeout sigkill_timeout emulate_tty output "
    "output_format cached_output log_cmd on_exit respawn_max_retries"
)
SCALARS = (bool, int, float, str)


@dataclass
class Process:
    """What launch would start: a node's executable and its command line."""

    executable: str
    is_lifecycle_node: bool
    respawn: bool
    respawn_delay: float | None
    command: list[str] = field(default_factory=list)
    name: str = ""
    namespace: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)  # but for those in files
    remappings: dict[str, str] = field(default_factory=dict)


class Substitution:
    """Text that is known once something is launched."""


class LaunchConfiguration(Substitution):
    def __init__(self, variable_name, *, default=None):
        self._name = substitutions(variable_name)
        self._default = None if default is None else substitutions(default)

    def perform(self, context: Context) -> str:
        name = perform(context, self._name)
        context.read.add(name)
        if name in context.launch_configurations:
            return context.launch_configurations[name]
        if self._default is None:
            raise RuntimeError(f"launch configuration {name!r} does not exist")
        return perform(context, self._default)


def substitutions(value: Any) -> list[str | Substitution]:
    """Text, a substitution, or several of both, as a list; TypeError for anything else."""
    parts = [value] if isinstance(value, str | Substitution) else list(value)
    for part in parts:
        if not isinstance(part, str | Substitution):
            raise TypeError(f"{part!r} is neither text nor a substitution")
    return parts


def perform(context: Context, parts: list[str | Substitution]) -> str:
    return "".join(part if isinstance(part, str) else part.perform(context) for part in parts)


class Context:
    """What is known while something is launched, and the processes so far."""

    def __init__(self, arguments: Mapping[str, str], folder: Path):
        self.launch_configurations = dict(arguments)
        self.folder = folder
        self.read: set[str] = set()  # names that something asked for
        self.processes: list[Process] = []

    def visit(self, entity: Any) -> None:
        if not isinstance(entity, LaunchDescription | Action):
            raise TypeError(f"{entity!r} cannot be launched")
        if isinstance(entity, LaunchDescription):
            visited = entity.entities
        else:
            visited = entity.execute(self) or ()
        for inner in visited:
            self.visit(inner)


class LaunchDescription:
    def __init__(self, initial_entities=None, *, deprecated_reason=None):
        self.entities = list(initial_entities or ())

    def arguments(self) -> Iterable[DeclareLaunchArgument]:
        """All arguments, those of included files among them."""
        for entity in self.entities:
            if isinstance(entity, DeclareLaunchArgument):
                yield entity
            if isinstance(entity, IncludeLaunchDescription):
                yield from entity.source.description.arguments()


class Action:
    """What a description consists of; conditions and event handlers have no stand-ins."""


class DeclareLaunchArgument(Action):
    def __init__(self, name, *, default_value=None, description=None, choices=None):
        self.name, self.description, self.choices = name, description, choices
        self.default = None if default_value is None else substitutions(default_value)
        if choices == []:
            raise RuntimeError(f"argument {name!r} has no choices")
        if choices and isinstance(default_value, str) and default_value not in choices:
            raise RuntimeError(f"{default_value!r} is none of the choices {choices}")

    def execute(self, context: Context) -> None:
        values = context.launch_configurations
        if self.name not in values:
            if self.default is None:
                raise RuntimeError(f"argument {self.name!r} is required")
            values[self.name] = perform(context, self.default)
        if self.choices is not None and values[self.name] not in self.choices:
            raise RuntimeError(f"{self.name} is {values[self.name]!r}; choices: {self.choices}")


class OpaqueFunction(Action):
    def __init__(self, *, function, args=None, kwargs=None):
        if not callable(function):
            raise TypeError(f"{function!r} is no function")
        self._call = function, list(args or ()), dict(kwargs or {})

    def execute(self, context: Context) -> Any:
        function, args, kwargs = self._call
        return function(context, *args, **kwargs)


class PythonLaunchDescriptionSource:
    def __init__(self, launch_file_path):
        (path,) = substitutions(launch_file_path)  # nothing here makes a path of parts
        self.description = load(path).generate_launch_description()


class IncludeLaunchDescription(Action):
    def __init__(self, launch_description_source, *, launch_arguments=None):
        if not isinstance(launch_description_source, PythonLaunchDescriptionSource):
            raise TypeError(f"{launch_description_source!r} cannot be included")
        self.source = launch_description_source
        self._arguments = [
            (substitutions(name), substitutions(value)) for name, value in launch_arguments or ()
        ]

    def execute(self, context: Context) -> list[LaunchDescription]:
        for name, value in self._arguments:
            context.launch_configurations[perform(context, name)] = perform(context, value)
        return [self.source.description]


class Node(Action):
    def __init__(
        self,
        *,
        executable,
        package=None,
        name=None,
        namespace=None,
        exec_name=None,
        parameters=None,
        remappings=None,
        ros_arguments=None,
        arguments=None,
        respawn=False,
        respawn_delay=None,
        **options,
    ):
        if unknown := options.keys() - set(PROCESS_OPTIONS.split()):
            raise TypeError(f"unexpected keyword arguments: {sorted(unknown)}")
        if parameters is not None and not isinstance(parameters, list):
            raise TypeError(f"parameters are {parameters!r}; they have to be a list")
        if not isinstance(respawn, bool):  # the real class takes substitutions too
            raise TypeError(f"respawn is {respawn!r}; it has to be true or false")
        if respawn_delay is not None and not isinstance(respawn_delay, int | float):
            raise TypeError(f"respawn_delay is {respawn_delay!r}; it has to be a number")
        self._executable = substitutions(executable)
        self._package = None if package is None else substitutions(package)
        self._name, self._namespace = name, namespace
        self._parameters = [_parameter_source(source) for source in parameters or ()]
        self._remappings = [_remapping(rule) for rule in remappings or ()]
        self._arguments = [substitutions(argument) for argument in arguments or ()]
        self._ros_arguments = [substitutions(argument) for argument in ros_arguments or ()]
        self._respawn, self._respawn_delay = respawn, respawn_delay

    def execute(self, context: Context) -> None:
        process = Process(
            executable=perform(context, self._executable),
            is_lifecycle_node=isinstance(self, LifecycleNode),
            respawn=self._respawn,
            respawn_delay=self._respawn_delay,
        )
        for argument in self._arguments:
            process.command.append(perform(context, argument))
        process.command.append("--ros-args")
        for argument in self._ros_arguments:
            process.command.append(perform(context, argument))
        self._add_names(context, process)
        for source in self._parameters:
            self._add_parameters(context, process, source)
        for old, new in self._remappings:
            process.remappings[perform(context, old)] = perform(context, new)
        for old, new in process.remappings.items():
            process.command += ["-r", f"{old}:={new}"]
        context.processes.append(process)

    def _add_names(self, context: Context, process: Process) -> None:
        if self._name is not None:
            process.name = perform(context, substitutions(self._name))
            if not NAME.fullmatch(process.name):
                raise ValueError(f"{process.name!r} is no name of a node")
            process.command += ["-r", f"__node:={process.name}"]
        if self._namespace is not None:
            namespace = perform(context, substitutions(self._namespace)).strip("/")
            process.namespace = f"/{namespace}"
            if not NAMESPACE.fullmatch(process.namespace):
                raise ValueError(f"{process.namespace!r} is no namespace")
            process.command += ["-r", f"__ns:={process.namespace}"]

    @staticmethod
    def _add_parameters(context: Context, process: Process, source: dict | list) -> None:
        if isinstance(source, list):
            path = Path(perform(context, source))
            if not path.is_file():  # the real class only warns
                raise FileNotFoundError(path)
        else:
            values = {name: _evaluated(context, name, value) for name, value in source.items()}
            process.parameters |= values
            is_named = process.name and process.namespace
            node = f"{process.namespace.rstrip('/')}/{process.name}" if is_named else "/**"
            path = context.folder / f"{len(list(context.folder.iterdir()))}.yaml"
            path.write_text(yaml.safe_dump({node: {"ros__parameters": values}}))
        process.command += ["--params-file", str(path)]


class LifecycleNode(Node):
    def __init__(self, *, name, namespace, **options):
        super().__init__(name=name, namespace=namespace, **options)


def _remapping(rule: Any) -> tuple[list, list]:
    if not isinstance(rule, tuple) or len(rule) != 2:
        raise TypeError(f"{rule!r} is no pair of names")
    return substitutions(rule[0]), substitutions(rule[1])


def _parameter_source(source: Any) -> dict[str, Any] | list:
    """A dictionary of parameters, or the path of a file as substitutions."""
    if isinstance(source, os.PathLike):
        return [os.fspath(source)]
    if not isinstance(source, Mapping):
        return substitutions(source)
    for name, value in source.items():
        if not isinstance(name, str):
            raise TypeError(f"{name!r} is no name of a parameter")
        if isinstance(value, list | tuple):
            if not value or len({type(item) for item in value}) > 1:
                raise TypeError(f"parameter {name} is {value}; it needs items of one type")
        elif not isinstance(value, (*SCALARS, Substitution)):
            raise TypeError(f"parameter {name} is {value!r}")
    return dict(source)


def _evaluated(context: Context, name: str, value: Any) -> Any:
    """A parameter's value. As in the real class, a substitution's text is read as YAML."""
    if isinstance(value, Substitution):
        value = yaml.safe_load(value.perform(context) or "''")
        if not isinstance(value, (*SCALARS, list)):
            raise TypeError(f"parameter {name} is {value!r}")
    return list(value) if isinstance(value, list | tuple) else value


MODULES = {
    "launch": [LaunchDescription],
    "launch.actions": [DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction],
    "launch.launch_description_sources": [PythonLaunchDescriptionSource],
    "launch.substitutions": [LaunchConfiguration],
    "launch_ros": [],
    "launch_ros.actions": [LifecycleNode, Node],
}


def modules() -> dict[str, types.ModuleType]:
    """The modules that launch files import, made of the stand-ins."""
    by_name = {name: types.ModuleType(name) for name in MODULES}
    for name, classes in MODULES.items():
        for cls in classes:
            setattr(by_name[name], cls.__name__, cls)
    return by_name


def load(file: Path | str) -> types.ModuleType:
    """A launch file as a module, made of stand-ins."""
    spec = importlib.util.spec_from_file_location("launch_file", file)
    module = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, modules()):
        spec.loader.exec_module(module)
    return module


def described(file: Path) -> dict[str, str]:
    """The arguments of a launch file and their descriptions."""
    arguments = PythonLaunchDescriptionSource(str(file)).description.arguments()
    return {argument.name: argument.description for argument in arguments}


def launch(file: Path, folder: Path, **arguments: str) -> Context:
    """Launch a file; parameters that would be passed in files are written into ``folder``.

    An argument that nothing declares is refused, which `ros2 launch` passes over.
    """
    declared = described(file)
    if unknown := arguments.keys() - declared.keys():
        raise ValueError(f"no arguments: {sorted(unknown)}; declared: {sorted(declared)}")
    context = Context(arguments, folder)
    context.visit(PythonLaunchDescriptionSource(str(file)).description)
    return context
