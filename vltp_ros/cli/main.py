"""The ``vltp`` command: one thin module per subcommand, imported when it is asked for."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from types import ModuleType
from typing import Any

from vltp_ros.cli import completion
from vltp_ros.cli.parsing import parse, similar
from vltp_ros.processes import this_process

COMMANDS = {
    "segment": ("Segment", "find what serves a task in a picture"),
    "evaluate": ("Evaluate", "measure accuracy and cost on tabletop scenes and public data sets"),
    "reliability": ("Reliability", "measure whether answers are as sure as they say"),
    "flops": ("Flops", "count the encoder's multiply-accumulates"),
    "tables": ("Tables", "fill the papers' tables, and compare the paper's costs with those here"),
    "figures": (
        "Figures",
        "draw kept tokens and answers, as in the paper's Figures 4, 5 and 6",
    ),
    "plot": ("Plot", "draw losses of trainings and results as a picture"),
    "check": ("Check", "test an installation, and measure its device"),
    "benchmark": ("Benchmark", "measure time and memory against the official code"),
    "rehearse": ("Rehearse", "measure what training and evaluation at true size take, no weights"),
    "train": ("Train", "train on tabletop scenes"),
    "finetune": ("Finetune", "train LoRA adapters on LLaVA"),
    "merge": ("Merge", "add a model's adapters to its weights"),
    "golden": ("RecordGolden", "record an answer by which a model is checked when it is loaded"),
    "baselines": ("Baselines", "train and compare the methods of the paper's Table 7"),
    "convert": ("Convert", "convert public checkpoints to model directories"),
    "scenes": ("Scenes", "render a data set of tabletop scenes"),
    "data": ("Data", "check the public data sets on this disk"),
    "gates": ("Gates", "check that data sets of crowded scenes make a model look"),
    "demo": ("Demo", "record camera, planner and node over ROS 2 as a video"),
}
"""Name -> class of its arguments in the module of that name, and what it does."""


LOG = logging.getLogger("vltp_ros")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; exit status 0 only on success, 1 for a check that fails, or where nobody
    reads what is printed any more, 2 for bad input, 130 when interrupted.
    """
    try:
        try:
            return _main(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # as by `| head`; nor is Python to complain when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _main(arguments: Sequence[str] | None) -> int:
    """Run one command; return its exit status."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if name == "--version":
        print(f"vltp {version('vltp_ros')}")
        return 0
    if name == "completion":
        return _complete(rest)
    if name not in COMMANDS:
        close = similar(name, (*COMMANDS, "help", "completion", "--help", "--version"))
        return _fail(f"vltp: unknown command {name!r}; allowed: {', '.join(COMMANDS)}{close}")
    try:
        module = importlib.import_module(f"vltp_ros.cli.{name}")
        options = parse(getattr(module, COMMANDS[name][0]), rest, name)
        _set_up_logging(options.quiet or not this_process().is_first, options.verbose)
        answer = module.run(options)
    except KeyboardInterrupt:
        _fail(f"vltp {name}: interrupted")
        return 130
    except BrokenPipeError:
        raise
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        LOG.debug("where it happened:", exc_info=True)
        return _fail(f"vltp {name}: {_in_one_line(error)}")
    return _show(module, options, answer)


def _show(module: ModuleType, options: Any, answer: dict | None) -> int:
    """Print a command's answer and return its exit status; None: another process prints it."""
    if answer is None:
        return 0
    if options.json:
        print(json.dumps(answer))
    elif hasattr(module, "describe"):
        print(module.describe(answer))
    return module.status(answer) if hasattr(module, "status") else 0


def _complete(words: Sequence[str]) -> int:
    """Print the completion script of a shell."""
    if len(words) != 1 or words[0] not in completion.SHELLS:
        given = f"the shell is {' '.join(words)!r}" if words else "the shell is missing"
        return _fail(f"vltp completion: {given}; allowed: {', '.join(completion.SHELLS)}")
    print(completion.script(words[0], {name: cls for name, (cls, _) in COMMANDS.items()}))
    return 0


def _set_up_logging(quiet: bool, verbose: bool) -> None:
    """Log to stderr what our code says, and other libraries' warnings; only errors when quiet."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
    LOG.setLevel(logging.DEBUG if verbose else logging.INFO)
    if quiet:  # for good, as some libraries set up their logging when they are imported
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")


def _fail(message: str) -> int:
    """Print a message to stderr and return the exit status of bad input."""
    print(message, file=sys.stderr)
    return 2


def _in_one_line(error: Exception) -> str:
    """Return what an error says, the system's own with the file first and without their number."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _usage() -> str:
    """Return the list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: vltp COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "vltp help COMMAND says more about one, vltp --version which version this is.",
            "vltp completion SHELL prints what completes commands and options in a shell:",
            f"{', '.join(completion.SHELLS)}.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
