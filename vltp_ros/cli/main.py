"""The ``vltp`` command: one thin module per subcommand, imported when it is asked for."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Sequence

import tyro

COMMANDS = {
    "segment": ("Segment", "find what serves a task in a picture"),
    "evaluate": ("Evaluate", "measure accuracy and cost on tabletop scenes"),
    "reliability": ("Reliability", "measure whether answers are as sure as they say"),
    "flops": ("Flops", "count the encoder's multiply-accumulates"),
    "tables": ("Tables", "compare the paper's costs with those counted here"),
    "figures": ("Figures", "draw which image tokens are kept, as in the paper's Figures 4 and 5"),
    "check": ("Check", "test an installation, and measure its device"),
    "benchmark": ("Benchmark", "measure time and memory against the official code"),
    "train": ("Train", "train on tabletop scenes"),
    "finetune": ("Finetune", "train LoRA adapters on LLaVA"),
    "merge": ("Merge", "add a model's adapters to its weights"),
    "golden": ("RecordGolden", "record an answer by which a model is checked when it is loaded"),
    "rows": ("Rows", "the papers' tables on crowded scenes, and the hypotheses about them"),
    "baselines": ("Baselines", "train and compare the methods of the paper's Table 7"),
    "convert": ("Convert", "convert public checkpoints to model directories"),
    "scenes": ("Scenes", "render a data set of tabletop scenes"),
    "gates": ("Gates", "check that data sets of crowded scenes make a model look"),
    "demo": ("Demo", "record camera, planner and node over ROS 2 as a video"),
}
"""Name -> class of its arguments in the module of that name, and what it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; exit status 0 only on success, 1 for a check that fails, 2 for bad input,
    130 when interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"vltp: unknown command {name!r}; allowed: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        module = importlib.import_module(f"vltp_ros.cli.{name}")
        parsed = tyro.cli(getattr(module, COMMANDS[name][0]), args=rest, prog=f"vltp {name}")
        answer = module.run(parsed)
    except KeyboardInterrupt:
        print(f"vltp {name}: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"vltp {name}: {error}", file=sys.stderr)
        return 2
    if parsed.json:
        print(json.dumps(answer))
    elif hasattr(module, "describe"):
        print(module.describe(answer))
    return module.status(answer) if hasattr(module, "status") else 0


def _usage() -> str:
    """Return the list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        ["usage: vltp COMMAND [OPTIONS]", "", *lines, "", "vltp COMMAND --help says more."]
    )


if __name__ == "__main__":
    sys.exit(main())
