"""From words to a command's options, by tyro: what its help says, and errors of one line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from tyro import _errors as events  # private: pyproject.toml names the one version that is right
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from vltp_ros.settings import check_value
from vltp_ros.training.presets import PRESETS, preset_words

WORDS: dict[type, tuple[str, str]] = {
    int: ("INT", "a whole number"),
    float: ("NUMBER", "a number"),
    str: ("TEXT", "a text"),
    Path: ("PATH", "a path"),
}
"""Type -> what stands for a value in the help, and what it must be."""


class UsageError(ValueError):
    """What is wrong with the words that a command got, in one line."""


def parse(cls: type, arguments: Sequence[str], name: str) -> Any:
    """Return a command's options; with --help among the arguments, print the help and exit.

    Args:
        cls: the dataclass of the options.
        arguments: the words after the command's name.
        name: the command's name, by which settings say that they are for some commands only.

    Raises:
        UsageError: naming option, value and what is allowed.
    """
    names = [*_option_names(cls, name)]
    if "--preset" in names:
        arguments = [*_preset(arguments, name), *arguments]  # of two values the later one counts

    def refuse(event: events.ParseErrorEvent) -> None:
        if message := _message(event, names):
            raise UsageError(message)

    with events.on_parse_error(refuse):
        try:
            return tyro.cli(
                cls,
                args=arguments,
                prog=f"vltp {name}",
                config=(tyro.conf.PositionalMetavarFromFieldName,),
                registry=registry(name),
            )
        except UsageError:
            raise
        except ValueError as error:  # of settings that do not fit together
            raise UsageError(_in_options(str(error), names)) from error


def _preset(arguments: Sequence[str], command: str) -> list[str]:
    """Return the words of the preset that is asked for; none for one that tyro will refuse."""
    words = [part for word in arguments for part in word.split("=", 1)]
    chosen = words[words.index("--preset") + 1 :][:1] if "--preset" in words else []
    return [w for name in chosen if name in PRESETS[command] for w in preset_words(command, name)]


def similar(word: str, words: Sequence[str]) -> str:
    """Return "; did you mean …?" where a word is close to one of others, else nothing."""
    close = get_close_matches(word, words, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def registry(command: str) -> ConstructorRegistry:
    """Return tyro's rules for the options of a command, or of all if its name is empty."""
    rules = ConstructorRegistry()
    asking = False  # for tyro's own rule, which this one builds on

    @rules.struct_rule
    def options(info: StructTypeInfo) -> StructConstructorSpec | None:
        nonlocal asking
        if asking or not dataclasses.is_dataclass(info.type):
            return None
        asking = True
        spec = ConstructorRegistry.get_struct_spec(info)
        asking = False
        if not isinstance(spec, StructConstructorSpec):
            raise TypeError(f"{info.type.__name__} has a default that is none of its own: {spec}")
        shown = {field.name: field for field in _fields(info.type, command)}
        fields = [_described(f, shown[f.name].metadata) for f in spec.fields if f.name in shown]
        if len(shown) == len(spec.fields):
            return StructConstructorSpec(spec.instantiate, tuple(fields))
        hidden = {f.name: f.default for f in spec.fields if f.name not in shown}
        return StructConstructorSpec(lambda **given: info.type(**hidden | given), tuple(fields))

    return rules


def _fields(cls: type, command: str) -> list[dataclasses.Field]:
    """Return the fields that are options of a command."""
    fields = dataclasses.fields(cls)
    return [f for f in fields if not command or command in f.metadata.get("commands", (command,))]


def _described(field: StructFieldSpec, metadata: Mapping[str, Any]) -> StructFieldSpec:
    """Return tyro's field with our help, and a check of its range."""
    extras: list[Any] = [tyro.conf.arg(help_behavior_hint=_default_in_words)]
    hint = get_args(field.type)[0] if get_origin(field.type) is Annotated else field.type
    kind = _without_none(hint)
    if kind is bool:
        extras.append(tyro.conf.DisallowNone)
        if field.default is False:
            extras.append(tyro.conf.FlagCreatePairsOff)
    elif tyro.conf.UseAppendAction in get_args(field.type):
        extras.append(tyro.conf.arg(metavar=WORDS[get_args(kind)[0]][0]))
    elif (spec := _value(kind, metadata)) is not None:
        extras.append(spec)
    described: Any = Annotated[(field.type, *extras)]
    text = partial(_help, field.helptext, metadata)
    return dataclasses.replace(field, type=described, helptext=text)


def _help(text: str | Callable[[], str | None] | None, metadata: Mapping[str, Any]) -> str:
    """Return what the help says of an option: its docstring, or a setting's description."""
    if "description" not in metadata:
        return " ".join(((text() if callable(text) else text) or "").split())
    first, _, rest = metadata["description"].partition(" ")
    start = first if first.endswith(":") else first[0].upper() + first[1:]  # no name of a choice
    return f"{start} {rest}{_range(metadata)}"


def _default_in_words(label: str) -> str:
    """Return what the help says of a default; nothing of those that its text speaks about."""
    if label == str(tyro.MISSING_NONPROP):  # of an option that may be given more than once
        return "(required)"
    return "" if label in ("", "''", "None", "False") else f"(default: {label})"


def _range(metadata: Mapping[str, Any]) -> str:
    """Return the end of a setting's description: the values that are allowed."""
    bounds = [
        f"{word} {metadata[key]:g}"
        for key, word in (("low", "at least"), ("high", "at most"), ("below", "below"))
        if key in metadata
    ]
    return f"; {', '.join(bounds)}." if bounds else "."


def _without_none(hint: Any) -> Any:
    """Return X of "X | None", any other type as it is."""
    if get_origin(hint) in (Union, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return kinds[0] if len(kinds) == 1 else hint
    return hint


def _value(kind: Any, metadata: Mapping[str, Any]) -> PrimitiveConstructorSpec | None:
    """Return how an option's words become its value, or None for what is more than a value."""
    if get_origin(kind) is tuple:
        items = get_args(kind)
        single, several = _single(items[0], metadata), items[-1] is Ellipsis
        return single and dataclasses.replace(
            single,
            nargs="*" if several else len(items),
            metavar=f"{single.metavar} ..." if several else " ".join([single.metavar] * len(items)),
            instance_from_str=lambda words: tuple(single.instance_from_str([w]) for w in words),
            is_instance=lambda value: value is None or isinstance(value, tuple),
            str_from_instance=lambda value: [str(item) for item in value or ()],
        )
    return _single(kind, metadata)


def _single(kind: Any, metadata: Mapping[str, Any]) -> PrimitiveConstructorSpec | None:
    """Return how one word becomes a value; None for a type that is no such value."""
    choices = get_args(kind) if get_origin(kind) is Literal else metadata.get("choices")
    if choices is None and kind not in WORDS:
        return None
    convert: Callable[[str], Any] = kind
    if choices is not None:
        convert = {str(choice): choice for choice in choices}.__getitem__

    def from_words(words: list[str]) -> Any:
        try:
            value = convert(words[0])
        except ValueError:
            raise ValueError(f"is {words[0]!r}; it must be {WORDS[kind][1]}") from None
        check_value(value, metadata)
        return value

    names = choices and tuple(map(str, choices))
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(names) + "}" if names else WORDS[kind][0],
        instance_from_str=from_words,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [] if value is None else [str(value)],
        choices=names,
    )


def _option_names(cls: type, command: str, prefix: str = "") -> Iterator[str]:
    """Yield the options of a dataclass, of those in it and of its subcommands; their names too."""
    hints = get_type_hints(cls, include_extras=True)
    for field in _fields(cls, command):
        hint = hints[field.name]
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        for kind in kinds:
            plain, *extras = get_args(kind) if get_origin(kind) is Annotated else (kind,)
            if not dataclasses.is_dataclass(plain):
                yield f"--{prefix}{field.name.replace('_', '-')}"
                continue
            names = [getattr(extra, "name", None) for extra in extras]
            if len(kinds) > 1:
                yield from filter(None, names)
            nested = "" if len(kinds) > 1 or "" in names else f"{field.name}."
            yield from _option_names(plain, command, prefix + nested)  # type: ignore[arg-type]


def _message(event: events.ParseErrorEvent, names: Sequence[str]) -> str | None:
    """Return what an event means in one line; None for one that tyro is to explain."""
    match event:
        case events.UnrecognizedArgs(tokens=[word, *_]):
            return _unknown(word, names)
        case events.MissingArgs(unrecognized_tokens=[word, *_]):
            return _unknown(word, names)
        case events.MissingArgs():
            missing = [context.arg for context in event.missing_arguments]
            return "; ".join(f"{_name(arg)} is missing{_allowed(arg)}" for arg in missing)
        case events.MissingSubcommand():
            return f"one word is missing: {', '.join(event.subcommand_spec.parser_from_name)}"
        case events.BadValue():
            return f"{_name(event.argument)} has too few values; it needs " + str(
                event.argument.lowered.metavar
            )
        case events.InvalidChoice():
            start = f"{_name(event.argument)} is {event.value!r}{_allowed(event.argument)}"
            return start + similar(event.value, event.choices)
        case events.InstantiationFailure(argument=None):
            return _in_options(event.message, names)
        case events.InstantiationFailure():
            return f"{_name(event.argument)} {event.message}"
    return None


def _unknown(word: str, names: Sequence[str]) -> str:
    """Return what is said of a word that is no option, none of this subcommand or one too many."""
    if not word.startswith("-"):
        return f"unexpected word {word!r}" + ("" if word in names else similar(word, names))
    option = word.partition("=")[0]
    if option in names:
        subcommands = ", ".join(name for name in names if not name.startswith("-"))
        return f"{option} is out of place; it goes after the one of {subcommands} that has it"
    return f"unknown option {option}{similar(option, names)}"


def _name(argument: Any) -> str:
    """Return an option as it is typed, a positional argument as the help names it."""
    lowered = argument.lowered
    return lowered.metavar if argument.is_positional() else lowered.name_or_flags[0]


def _allowed(argument: Any) -> str:
    """Return the choices that an argument has, if any."""
    choices = argument.lowered.choices
    return f"; allowed: {', '.join(choices)}" if choices else ""


def _in_options(message: str, names: Sequence[str]) -> str:
    """Return a message about settings, "TrainConfig.steps is …", with the options' names."""

    def option(match: re.Match) -> str:
        name = match[1].replace("_", "-")
        return next((n for n in names if re.split(r"--|\.", n)[-1] == name), match[1])

    return re.sub(r"\b[A-Z]\w+\.(\w+)", option, message)
