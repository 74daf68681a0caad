"""vltp tables: the papers' tables on crowded scenes or public data, beside what they print."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from vltp_ros.cli.options import Command, ModelOptions
from vltp_ros.evaluation.rows import SEEDS, TABLE_NAMES, TableName
from vltp_ros.runtime.settings import InferenceSettings
from vltp_ros.training.config import PRUNING, TrainConfig

if TYPE_CHECKING:
    from vltp_ros.evaluation.row_runner import Images

LOG = logging.getLogger(__name__)


@dataclass
class Tables(ModelOptions, Command):
    """Fill the papers' tables: train what a row needs, measure it, and print it beside the paper's.

    With --train-on, --on and --run: around a model's dense half, whose encoder and LLaVA stay as
    they are; what they compute is stored. All rows are trained alike and measured on all questions
    about the same images, and docs/benchmarks/hypotheses.md is tested on them. A killed run
    continues when the same command is given again. With --results: what such a command printed
    before. With --costs: the encoder's multiply-accumulates alone, at the paper's sizes.
    """

    train_on: Path | None = None
    """Data set of `vltp scenes --edition 2` to train on; with --data: a public one, e.g.
    rio-train."""
    on: tuple[Path, ...] = ()
    """Data sets of `vltp scenes --edition 2` to measure on, one or more; hypotheses are tested on
    the first. With --data: public ones, e.g. rio-common rio-uncommon."""
    data: Path | None = None
    """Folder of public data sets, of which --train-on and --on are names, not directories;
    docs/reproduce.md has all names, and says where the files belong."""
    skip_bad: bool = False
    """With --data: leave out bad entries, missing images and those that cannot be decoded."""
    run: Path | None = None
    """Directory for trainings, stored features and results."""
    also: tuple[Path, ...] = ()
    """Further models, for Tables 2 and 8: SAM in other sizes."""
    table: tuple[TableName, ...] = TABLE_NAMES
    """Tables to fill, one or more; csp: LVLM_CSP's."""
    seeds: int = SEEDS
    """Trainings of each row of Table 7."""
    count: int | None = None
    """Number of images to measure on, the first ones; all if not given."""
    results: Path | None = None
    """JSON file that this command wrote, to print its tables."""
    costs: bool = False
    """Compare the encoder's giga multiply-accumulates, Tables 3-8; takes no data."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = PRUNING


def run(args: Tables) -> dict:
    """Fill tables; ValueError for a bad model, data set or count, or where nothing is asked for."""
    _check(args)
    if args.costs:
        from vltp_ros.evaluation.tables import cost_rows

        return {"rows": [{**asdict(row), "fits": row.fits} for row in cost_rows()]}
    if args.results is not None:
        return _read(args.results)
    return _measure(args)


def _check(args: Tables) -> None:
    """Raise ValueError naming an option that is missing, or does not go with another."""
    needed = {"--train-on": args.train_on, "--on": args.on, "--run": args.run}
    missing = [name for name, value in needed.items() if not value]
    alone = {"--costs": args.costs, "--results": args.results}
    given = [name for name, value in alone.items() if value]
    if len(given) > 1 or (given and len(missing) < len(needed)):
        given += [name for name in needed if name not in missing]
        raise ValueError(f"{given[0]} is given; it does not go with {', '.join(given[1:])}")
    for name in ("data", "skip_bad"):
        if given and getattr(args, name):
            option = name.replace("_", "-")
            raise ValueError(f"{given[0]} is given; it does not go with --{option}")
    if args.skip_bad and args.data is None:
        raise ValueError("--skip-bad is given; it needs --data")
    if missing and not given:
        raise ValueError(
            f"{', '.join(missing)}: missing; allowed: --train-on, --on and --run, or --results, or "
            "--costs"
        )
    if args.count is not None and args.count < 2:
        raise ValueError(f"--count is {args.count}; it must be at least 2, for a standard error")
    if args.seeds < 1:
        raise ValueError(f"--seeds is {args.seeds}; it must be at least 1")


def _read(path: Path) -> dict:
    """Return what the command printed before; ValueError for another file."""
    reason = "it holds no rows of tables"
    try:
        answer = json.loads(path.read_text())
        rows, hypotheses = answer["rows"], answer["hypotheses"]
        if rows and hypotheses is not None and {"table", "label", "giou"} <= rows[0].keys():
            return answer
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise ValueError(f"--results is {path}: {reason}; `vltp tables --json` writes such a file")


def _images(args: Tables) -> tuple[Images, list[Images]]:
    """Return what to train on and what to measure on.

    Raises:
        ValueError: for data sets of the wrong part, and for data that is bad.
    """
    from vltp_ros.data.expressions import ExpressionImages
    from vltp_ros.data.registry import reader_of
    from vltp_ros.data.scenes import TabletopDataset

    assert args.train_on is not None
    if args.data is None:
        return TabletopDataset(args.train_on), [TabletopDataset(path) for path in args.on]
    training = ExpressionImages(
        [str(args.train_on)], args.data, "train", args.skip_bad, option="--train-on"
    )
    held_out: list[Images] = []
    for name in map(str, args.on):
        reader, split = reader_of(name)
        part = "val" if reader.splits[split] == "val" else "test"
        images = ExpressionImages([name], args.data, part, args.skip_bad, training.paths, "--on")
        if images.left_out:
            LOG.info("--on: %d images are trained on and left out of %s", images.left_out, name)
        held_out.append(images)
    return training, held_out


def _measure(args: Tables) -> dict:
    """Train and measure."""
    from vltp_ros.evaluation.comparisons import compare
    from vltp_ros.evaluation.machine import code_commit, measured_on
    from vltp_ros.evaluation.row_runner import RowRunner
    from vltp_ros.evaluation.rows import paper_rows, size_of
    from vltp_ros.processes import refuse_several
    from vltp_ros.training.provenance import identity

    refuse_several("vltp tables")
    assert args.run is not None
    training, held_out = _images(args)
    rows: list[dict] = []
    hypotheses: list[dict] = []
    left_out: dict[str, None] = {}
    for directory in (args.model_directory, *args.also):
        session = replace(args, model=directory).load(InferenceSettings(precision="float32"))
        tables = [t for t in args.table if t in ("2", "8") or directory == args.model_directory]
        chosen = paper_rows(tables, args.seeds, size_of(session.model.config))
        for data in held_out:
            run = args.run if directory == args.model_directory else args.run / session.name
            runner = RowRunner(session.model.eval(), training, data, args.config, run, args.count)
            about = {"model": session.name, "size": size_of(session.model.config)}
            measured = [{**about, **row} for row in runner.run(chosen)]
            rows += [{key: row[key] for key in row if key != "scenes"} for row in measured]
            left_out |= dict.fromkeys(runner.left_out(chosen))
            hypotheses = hypotheses or compare(measured)
    return {
        "models": [identity(directory) for directory in (args.model_directory, *args.also)],
        "commit": code_commit(),
        "training": {"on": training.identity, **asdict(args.config)},
        "on": [data.identity for data in held_out],
        **measured_on(session.device),
        "rows": rows,
        "left_out": list(left_out),
        "hypotheses": hypotheses,
    }


def describe(answer: dict) -> str:
    """Return one block per table, then what the rows say of the hypotheses, or how many fit."""
    rows = answer["rows"]
    if "hypotheses" not in answer:
        return _costs(rows)
    splits = list(dict.fromkeys(row["split"] for row in rows))
    lines = [f"gIoU on {', '.join(splits)}; +- is one standard error over the images"]
    for table in sorted({row["table"] for row in rows}):
        of_table = [row for row in rows if row["table"] == table]
        lines += ["", *_table(table, of_table, splits)]
    if answer.get("left_out"):
        methods = ", ".join(answer["left_out"])
        lines += ["", f"left out: {methods}, which learn from kinds of objects that no data told"]
    lines += [""] if answer["hypotheses"] else []
    lines += [
        f"{'holds' if h['holds'] else 'FAILS'}: {h['name']}: {h['difference']:+.1f} points, "
        f"standard error {h['error']:.1f}; margin {h['margin']:g}"
        for h in answer["hypotheses"]
    ]
    return "\n".join(lines)


def _table(table: TableName, rows: list[dict], splits: list[str]) -> list[str]:
    """Return the lines of a table: ours on each split, our GMACs, and what the paper prints."""
    from vltp_ros.evaluation.rows import TITLES, other_rows

    several = len({row["model"] for row in rows}) > 1 or table in ("2", "8")
    by_label: dict[str, list[dict]] = {}
    for row in rows:
        label = f"{row['model']}, {row['label']}" if several else row["label"]
        by_label.setdefault(label, []).append(row)
    others = other_rows(table, [row["size"] for row in rows])
    printed = {label: some[0]["paper"] for label, some in by_label.items()}
    printed |= {row.label: dict(row.paper) for row in others}
    columns = list(dict.fromkeys(name for paper in printed.values() for name in paper))
    width = max(map(len, printed))
    wide = max(14, *map(len, splits))  # of a column of ours
    heads = "".join(f"  {split:>{wide}}" for split in splits)
    papers = "".join(f"  paper: {name}" for name in columns)
    lines = [f"Table {table}: {TITLES[table]}" if table != "csp" else TITLES[table]]
    lines += [f"  {'':{width}}{heads}   GMACs{papers}"]
    for label, paper in printed.items():
        own = by_label.get(label, ())
        ours = [_giou([row for row in own if row["split"] == split], wide) for split in splits]
        gmacs = [row["gmacs"] for row in own]
        mean = sum(gmacs) / len(gmacs) if gmacs else 0.0
        cost = f"{mean:8.{0 if mean >= 100 else 2}f}" if gmacs else f"{'':8}"
        figures = "".join(
            f"{paper[name]:{len(name) + 9}.1f}" if name in paper else " " * (len(name) + 9)
            for name in columns
        )
        lines.append(f"  {label:{width}}{''.join(ours)}{cost}{figures}".rstrip())
    return lines


def _giou(rows: list[dict], wide: int) -> str:
    """Return a mean over trainings, its standard error over images, and how many trainings."""
    if not rows:
        return " " * (2 + wide)
    mean = sum(row["giou"] for row in rows) / len(rows)
    error = sum(row["giou_error"] for row in rows) / len(rows)
    times = f" x{len(rows)}" if len(rows) > 1 else ""
    return f"  {f'{mean:.3f} +- {error:.3f}{times}':>{wide}}"


def _costs(rows: list[dict]) -> str:
    """Return one block per table, then how many rows fit."""
    from vltp_ros.evaluation.tables import TABLES

    width = max(len(row["label"]) for row in rows)
    lines = ["GMACs of the image encoder and its prune decoder, one image and one task", ""]
    for number, group in groupby(rows, key=lambda row: row["table"]):
        lines += [f"Table {number}: {TABLES[number].title}"]
        lines += [f"  {'':{width}}   paper     ours    diff"]
        lines += [f"  {row['label']:{width}}  {_compared(row)}" for row in group]
        lines += [""]
    counted = [row for row in rows if not row["exempt"]]
    fitting = sum(row["fits"] for row in counted)
    lines += [
        f"ok: ours is at or below the paper's figure, {fitting} of {len(counted)} rows",
        f"exempt: the paper's figure follows from no cost model, {len(rows) - len(counted)} rows",
    ]
    return "\n".join(lines)


def _compared(row: dict) -> str:
    difference = row["gmacs"] / row["paper_gmacs"] - 1
    mark = "exempt" if row["exempt"] else "ok" if row["fits"] else "above"
    return f"{row['paper_gmacs']:6.0f}  {row['gmacs']:7.1f}  {difference:+6.1%}  {mark}"
