"""vltp evaluate: accuracy and cost on tabletop scenes and public data sets."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vltp_ros.cli.options import Command, ModelOptions, PrecisionOption
from vltp_ros.evaluation.controls import Control
from vltp_ros.network.csp import CspName, CspSelector
from vltp_ros.runtime.settings import InferenceSettings
from vltp_ros.simulation import Split

if TYPE_CHECKING:
    from vltp_ros.data.registry import Dataset
    from vltp_ros.evaluation.sharded import Shard
    from vltp_ros.evaluation.tabletop import Setting
    from vltp_ros.runtime.session import Session


LOG = logging.getLogger(__name__)

UNRATED = ("adaptive", "keep_all")
"""Selectors that no rate is for."""


@dataclass
class Evaluate(ModelOptions, PrecisionOption, Command):
    """Measure gIoU, cIoU and GMACs of a model, dense and pruned, and pruned at random."""

    count: int | None = None
    """Number of scenes: of 300, one task each, drawn from the seeds 0, 1, 2, … of the split; or the
    first ones of --data, of all of them, all questions each. With --dataset: number of expressions,
    spread over the data set, all of them if not given."""
    data: Path | None = None
    """Data set of `vltp scenes --edition 2` to use instead of scenes that are rendered; all its
    questions are asked, and each family has a row. With --dataset: folder of the data sets."""
    dataset: str | None = None
    """Public data set in --data to use instead of scenes, e.g. rio-common or coco-tasks-test;
    docs/reproduce.md has all names, and says where the files belong."""
    skip_bad: bool = False
    """With --dataset: leave out bad entries and missing images; the JSON names them."""
    run: Path | None = None
    """With --dataset: directory to append each expression's result to, made if missing. The same
    command goes on where it was killed, and several processes share it."""
    shard: str | None = None
    """With --run: which part to measure, e.g. 2/8, where no launcher (torchrun, accelerate) starts
    the processes."""
    predictions: bool = False
    """With --run: also keep the masks, as run lengths in COCO's format."""
    control: tuple[Control, ...] = ("none",)
    """With --data of scenes: what is taken from the model, one or more. grey: LLaVA sees grey;
    swapped: LLaVA sees another scene; ranking: tokens are ranked by another question's <SEG>; none:
    nothing."""
    selector: tuple[
        Literal["prune_decoder", "adaptive", "random", "oracle", "attention", "keep_all"], ...
    ] = ()
    """What chooses the image tokens, one or more; the default table if not given."""
    rate: float | None = None
    """Share of tokens frozen at each stage, 0.5 if not given; with --selector only, not for
    adaptive or keep_all."""
    csp: tuple[CspName, ...] = ("off",)
    """Presets of LVLM_CSP, one or more: which image tokens LLaVA's layers see."""
    csp_selector: CspSelector | None = None
    """With --csp: how the tokens of the first layers are chosen, uniform if not given; cls: those
    that the vision tower's CLS token attends to most."""
    prune_after: tuple[int, ...] = ()
    """1-based global-attention layers after which tokens are selected; the model's own if not
    given."""
    no_return: bool = False
    """Tokens that a stage leaves out stay out at the next: without the first half of VLTP's
    reactivation."""
    no_merge: bool = False
    """The mask decoder sees zeros in place of the tokens that the last stage leaves out: without
    the second half of VLTP's reactivation."""
    split: Split | None = None
    """Split of the scenes that are rendered, test if not given; uncommon has looks and phrasings
    that no other split shows."""


def run(args: Evaluate) -> dict | None:
    """Evaluate; ValueError for a bad model, split, count, selector or rate, and for a bad --run.

    Of several processes that a launcher starts, only the first returns what came of it.
    """
    from vltp_ros.evaluation.machine import measured_on
    from vltp_ros.evaluation.tabletop import DEFAULT_SETTINGS, Setting, evaluate
    from vltp_ros.processes import own_device

    _refuse_what_has_no_effect(args)
    public, shard = _public(args), _shard(args)
    session = replace(args, device=own_device(args.device)).load(_inference(args))
    _refuse_reactivation_without_effect(args, session)
    rate = 0.5 if args.rate is None else args.rate
    chosen = [Setting(name, 0.0 if name in UNRATED else rate) for name in args.selector]
    settings = [replace(row, csp=csp) for row in chosen or DEFAULT_SETTINGS for csp in args.csp]
    about = {
        "model": session.name,
        "quantization": session.model.config.quantization,
        "precision": session.precision,
        **measured_on(session.device),
        "configuration": _configuration(args, session),
    }
    if public is not None:
        measured = _expressions(public, args, session, settings, shard)
        return None if measured is None else {**about, **measured}
    if args.data is not None:
        return {**about, "rows": _questions(args.data, args, session, settings)}
    count = 300 if args.count is None else args.count
    return {**about, "rows": evaluate(session, args.split or "test", count, settings)}


def _refuse_what_has_no_effect(args: Evaluate) -> None:
    """Raise ValueError naming an option that would change nothing."""
    chosen = f"with --selector {' '.join(args.selector)}" if args.selector else "without --selector"
    if args.dataset is None and args.skip_bad:
        raise ValueError("--skip-bad is given; it has no effect without --dataset")
    if args.dataset is None and args.run is not None:
        raise ValueError(f"--run is {args.run}; it has no effect without --dataset")
    for name in ("shard", "predictions"):
        if args.run is None and getattr(args, name):
            raise ValueError(f"--{name} is given; it has no effect without --run")
    if args.dataset is not None and args.control != ("none",):
        raise ValueError(f"--control is {' '.join(args.control)}; it has no effect with --dataset")
    if args.data is None and args.control != ("none",):
        raise ValueError(f"--control is {' '.join(args.control)}, which needs --data")
    if args.data is not None and args.split is not None:
        raise ValueError(f"--split is {args.split}; it has no effect with --data")
    if args.rate is not None and not set(args.selector) - set(UNRATED):
        raise ValueError(f"--rate is {args.rate}; it has no effect {chosen}")
    if "ranking" in args.control and args.selector and "prune_decoder" not in args.selector:
        raise ValueError(f"--control is ranking; it has no effect {chosen}; add prune_decoder")
    if args.csp_selector is not None and set(args.csp) == {"off"}:
        raise ValueError(f"--csp-selector is {args.csp_selector}; it has no effect without --csp")
    for name in ("prune_after", "no_return", "no_merge"):
        if getattr(args, name) and set(args.selector) == {"keep_all"}:
            raise ValueError(f"--{name.replace('_', '-')} is given; it has no effect {chosen}")


def _refuse_reactivation_without_effect(args: Evaluate, session: Session) -> None:
    """Raise ValueError where nothing could return, as there is no second stage."""
    stages = session.settings.prune_after
    if args.no_return and len(stages) < 2:
        where = " ".join(map(str, stages)) or "no layer"
        raise ValueError(f"--no-return is given; tokens are selected after {where} alone")


def _inference(args: Evaluate) -> InferenceSettings:
    """Return the settings that all rows have in common."""
    return InferenceSettings(
        prune_after=args.prune_after or None,
        rates=(0.5,) if args.prune_after else None,  # one that fits any stages; a row has its own
        precision=args.precision,
        csp_selector=args.csp_selector or "uniform",
        returns=not args.no_return,
        merges=not args.no_merge,
    )


def _configuration(args: Evaluate, session: Session) -> dict:
    """Return the options, with what the model chose where they leave it open."""
    options = {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()}
    used = {"prune_after": session.settings.prune_after, "threshold": session.settings.threshold}
    return options | used


def _public(args: Evaluate) -> Dataset | None:
    """Return the public data set; None for scenes."""
    from vltp_ros.data.registry import load_dataset

    if args.dataset is None:
        return None
    if args.data is None:
        raise ValueError(f"--dataset is {args.dataset}, which needs --data: the folder it lies in")
    return load_dataset(args.dataset, args.data, args.skip_bad)


def _shard(args: Evaluate) -> Shard:
    """Return the part of this process, which is one of a launcher's or says it itself."""
    from vltp_ros.evaluation.processes import launched_shard
    from vltp_ros.evaluation.sharded import Shard, parse_shard

    launched = launched_shard()
    if launched is None:
        return parse_shard(args.shard) if args.shard else Shard(1, 1)
    if args.run is None:
        raise ValueError(
            f"a launcher started {launched.count} processes, which need --dataset and --run"
        )
    if args.shard:
        raise ValueError(f"--shard is {args.shard}; a launcher gave this process {launched}")
    return launched


def _expressions(
    public: Dataset, args: Evaluate, session: Session, settings: list[Setting], shard: Shard
) -> dict | None:
    """Return the rows of a public data set, and what it takes to repeat them.

    There are no rows where shards are missing; None stands for what another process says.
    """
    from vltp_ros.evaluation.expressions import Evaluation
    from vltp_ros.evaluation.machine import code_commit, measured_on
    from vltp_ros.evaluation.processes import evaluate_shard
    from vltp_ros.runtime.caveat import caveat_of
    from vltp_ros.training.provenance import identity

    evaluation = Evaluation(session, public, settings, args.count, args.skip_bad, args.predictions)
    data = {"name": public.name, "root": str(args.data), "annotations_sha256": public.digest}
    about = {
        "commit": code_commit(),
        "weights": identity(args.model_directory),
        "data": data,
        "processes": shard.count,
        "caveat": caveat_of(args.model_directory),
    }
    if args.run is None:
        measured = list(evaluation.measure(range(len(evaluation.expressions))))
    else:
        options = _depends_on(args, session) | {
            "the expressions": evaluation.digest,
            "the annotations": public.digest,
            "the model": about["weights"],
            "the code": about["commit"],
        }
        hardware = measured_on(session.device)["hardware"]
        collected = evaluate_shard(evaluation, shard, args.run, options, hardware)
        if collected is None:
            return None
        about["hardware"] = "; ".join(collected.hardware)
        if collected.missing:
            return {**about, "rows": [], "missing": collected.missing}
        measured = collected.measured
    if about["caveat"]:
        LOG.warning(about["caveat"])
    summary = evaluation.summarise(measured)
    data["images_sha256"] = summary.pop("images_sha256")
    return {**about, **summary}


def _depends_on(args: Evaluate, session: Session) -> dict:
    """Return the options that change results, as the model completes them, by name."""
    names = (
        "dataset", "count", "skip_bad", "selector", "rate", "csp", "no_return", "no_merge",
        "predictions",
    )  # fmt: skip
    return {f"--{name.replace('_', '-')}": getattr(args, name) for name in names} | {
        "--csp-selector": session.settings.csp_selector,
        "--prune-after": session.settings.prune_after,
        "--precision": session.precision,
        "--quantization": session.model.config.quantization,
        "threshold": session.settings.threshold,
    }


def _questions(data: Path, args: Evaluate, session: Session, settings: list[Setting]) -> list[dict]:
    """Return the rows of a data set's questions; nothing ranks where all tokens are kept."""
    from vltp_ros.data.scenes import TabletopDataset
    from vltp_ros.evaluation.questions import Probe, evaluate_questions

    probes = [
        Probe(setting, control)
        for setting in settings
        for control in args.control
        if control != "ranking" or setting.selector == "prune_decoder"
    ]
    return evaluate_questions(session, TabletopDataset(data), probes, args.count)


def describe(answer: dict) -> str:
    """Return a table."""
    from vltp_ros.evaluation.words import SELECTORS

    if answer.get("missing"):
        parts = [f"{one['shard']} ({one['done']} of {one['count']})" for one in answer["missing"]]
        return f"shards that are not complete, with expressions done: {', '.join(parts)}"
    rows = answer["rows"]
    families = any("family" in row for row in rows)
    tasks = any(row.get("task_ciou") is not None for row in rows)
    timed = any("median_ms" in row for row in rows)
    width = max(map(len, SELECTORS.values()))
    lines = [
        ("control    family " if families else "")
        + f"{'image tokens':{width}} frozen  csp   gIoU          cIoU   GMACs"
        + ("      ms" if timed else "")
        + ("  gIoU and cIoU, means over tasks" if tasks else "")
    ]
    for row in rows:
        error = "" if row["giou_error"] is None else f"+- {row['giou_error']:.3f}"
        lines.append(
            (f"{row['control']:10} {row['family']:6} " if families else "")
            + f"{SELECTORS[row['selector']]:{width}} {row['rate']:6.0%} {row['csp']:>4} "
            f"{row['giou']:6.3f} {error:8} {row['ciou']:6.3f} {row['gmacs']:7.3g}"
            + (f" {row['median_ms']:7.1f}" if timed else "")
            + (f"  {row['task_giou']:.3f} {row['task_ciou']:.3f}" if tasks else "")
        )
    what = "expressions" if timed else "questions" if families else "scenes"
    lines.append(f"{max(row['count'] for row in rows)} {what}; +- is one standard error")
    if tasks:
        lines.append(f"means over {len(rows[0]['tasks'])} tasks")
    if answer.get("skipped", {}).get("count"):
        lines.append(f"{answer['skipped']['count']} entries were left out; --json names them")
    return "\n".join(lines)
