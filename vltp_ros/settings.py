"""How settings are defined: dataclass fields with a description, a unit and a range.

Commands, ROS parameters and YAML files are made from such dataclasses, each of which stands beside
what it configures. Their ``__post_init__`` refuses a bad value by name.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, get_args, get_origin, get_type_hints


def setting(default: Any, description: str, **metadata: Any) -> Any:
    """Return a dataclass field with a description and, where given, its range.

    That is ``low`` and ``high``, which are allowed, ``below``, which is not, or ``choices``; each
    also holds for the items of a tuple, and none for None. ``read_only=True`` marks a setting that
    cannot change while the node runs; ``commands`` names the only ``vltp`` commands it is for;
    ``changes_result=False`` marks one that may differ where a run goes on.
    """
    metadata["description"] = description
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def same_as(cls: type, name: str, **metadata: Any) -> Any:
    """Return a dataclass field like one of another class, but for the given metadata."""
    other = next(spec for spec in dataclasses.fields(cls) if spec.name == name)
    return setting(other.default, **{**other.metadata, **metadata})


def documented(cls: type) -> type:
    """List a class's fields in its docstring, which ``--help`` and pydoc show; a decorator."""
    lines = [f"    {spec.name}: {described(spec)}" for spec in dataclasses.fields(cls)]
    cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:", *lines])
    return cls


def described(spec: dataclasses.Field) -> str:
    """Return the description of a setting, with what is allowed."""
    bounds = [
        f"{word} {spec.metadata[key]}"
        for key, word in (("low", "at least"), ("high", "at most"), ("below", "below"))
        if key in spec.metadata
    ]
    if "choices" in spec.metadata:
        bounds.append("one of " + ", ".join(map(str, spec.metadata["choices"])))
    allowed = f" ({', '.join(bounds)})" if bounds else ""
    return f"{spec.metadata['description']}{allowed}"


def check(config: Any, cls: type | None = None) -> None:
    """Raise ValueError naming class, field, value and range of the first value out of bounds.

    Args:
        config: a dataclass.
        cls: whose fields have the ranges; None: those of ``config`` itself.
    """
    cls = cls or type(config)
    for spec in dataclasses.fields(cls):
        try:
            check_value(getattr(config, spec.name), spec.metadata)
        except ValueError as error:
            raise ValueError(f"{cls.__name__}.{spec.name} {error}") from None


def check_value(value: Any, metadata: Mapping[str, Any]) -> None:
    """Raise ValueError, "is 0; it must be at least 1", for a value out of a setting's range."""
    low, high, below, choices = map(metadata.get, ("low", "high", "below", "choices"))
    for item in value if isinstance(value, tuple | list) else (value,):
        if item is None:
            continue
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"is {item!r}; it must be finite")
        if choices is not None and item not in choices:
            raise ValueError(f"is {item!r}; allowed: {', '.join(map(str, choices))}")
        if low is not None and not item >= low:
            raise ValueError(f"is {item!r}; it must be at least {low}")
        if high is not None and not item <= high:
            raise ValueError(f"is {item!r}; it must be at most {high}")
        if below is not None and not item < below:
            raise ValueError(f"is {item!r}; it must be below {below}")


def decisive(settings: Any) -> dict[str, Any]:
    """Return the settings that change a result, by name."""
    specs = dataclasses.fields(settings)
    return {
        spec.name: getattr(settings, spec.name)
        for spec in specs
        if spec.metadata.get("changes_result", True)
    }


def from_dict(cls: type, values: Any, source: str) -> Any:
    """Build a config dataclass from a parsed YAML mapping; nested dataclasses too.

    Raises ValueError naming ``source`` and the unknown or missing keys, or the bad value or type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{source}: expected a mapping for {cls.__name__}, found {values!r}")
    specs = {spec.name: spec for spec in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(specs))
    if unknown:
        raise ValueError(f"{source}: unknown keys {unknown}; allowed: {sorted(specs)}")
    missing = [
        name
        for name, spec in specs.items()
        if name not in values
        and spec.default is dataclasses.MISSING
        and spec.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{source}: missing keys {missing}")
    built, hints = {}, get_type_hints(cls)
    for name, value in values.items():
        nested = specs[name].metadata.get("nested")
        if nested is not None:
            value = from_dict(nested, value, f"{source}: {name}")
        elif not _is_of(value, hints[name]):
            wanted = getattr(hints[name], "__name__", str(hints[name]))
            raise ValueError(f"{source}: {cls.__name__}.{name} is {value!r}; it must be {wanted}")
        built[name] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**built)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from error


def _is_of(value: Any, hint: Any) -> bool:
    """Return whether a value from YAML may stand for a type: a number without a point for float."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        kinds = [kind for kind in get_args(hint) if kind is not Ellipsis]
        return isinstance(value, list | tuple) and all(_is_of(item, kinds[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def as_plain(settings: Any) -> Any:
    """Return a settings dataclass as nested dictionaries and lists, for YAML."""
    if dataclasses.is_dataclass(settings):
        return {f.name: as_plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
    return [as_plain(item) for item in settings] if isinstance(settings, tuple) else settings
