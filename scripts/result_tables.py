"""Write the tables in the documents from the result files in docs/benchmarks, and from the code.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``. With --check nothing is written
and the exit status is 1 where a document differs.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from vltp_ros.node.config import NodeConfig

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "benchmarks"
DOCUMENTS = (
    "README.md",
    "docs/benchmarks/README.md",
    "docs/reasoner.md",
    "docs/reliability.md",
    "docs/ros.md",
    "models/crowded/README.md",
    "models/tabletop/README.md",
)
TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

SELECTORS = {
    "keep_all": "all tokens (dense)",
    "prune_decoder": "VLTP",
    "random": "random",
    "adaptive": "VLTP, adaptive",
    "oracle": "ground truth (oracle)",
    "attention": "LLaVA's attention",
}


def accuracy() -> str:
    """Tabulate accuracy on scenes with looks and phrasings seen in training, and unseen ones."""
    test, uncommon = (_read(f"tabletop_{split}.json") for split in ("test", "uncommon"))
    rows = [
        [
            SELECTORS[row["selector"]],
            f"{row['rate']:.0%}" if row["rate"] else "",
            *(f"{split[key]:.3f}" for split in (row, uncommon_row) for key in ("giou", "ciou")),
            f"{row['gmacs']:.2f}",
        ]
        for row, uncommon_row in zip(test["rows"], uncommon["rows"], strict=True)
    ]
    head = ["tokens", "frozen", "gIoU", "cIoU", "uncommon gIoU", "uncommon cIoU", "GMACs"]
    return _table(head, rows) + _measured(test, f"{test['rows'][0]['count']} scenes each")


FAMILIES = {
    "all": "all questions",
    "A": "A, the best thing present",
    "B": "B, states",
    "B+C": "B and C",
    "C": "C, comparison, colour, negation",
    "D": "D, relations",
    "E": "E, nothing serves",
}


def crowded() -> str:
    """Tabulate a model on crowded scenes by family, and what is left without the image."""
    answer = _read("crowded_val.json")
    dense = [row for row in answer["rows"] if row["selector"] == "keep_all"]
    controls = ("none", "grey", "swapped")
    by_family = {(row["family"], row["control"]): row for row in dense}
    rows = [
        [words, str(by_family[family, "none"]["count"]),
         *(f"{by_family[family, control]['giou']:.3f}" for control in controls)]
        for family, words in FAMILIES.items()
    ]  # fmt: skip
    head = ["family", "questions", "gIoU", "LLaVA sees grey", "LLaVA sees another scene"]
    return _table(head, rows) + _measured(answer, "Scenes of val, SAM dense")


def methods() -> str:
    """Tabulate the paper's Table 7 on tabletop scenes."""
    answer = _read("baselines.json")
    rows = [
        [r["method"], f"{r['rate']:.0%}" if r["rate"] else "", f"{r['giou']:.3f}",
         f"{r['ciou']:.3f}", f"{r['gmacs']:.2f}",
         f"{r['vltp_gain']:+.3f} ± {r['vltp_gain_error']:.3f}"
         if r.get("vltp_gain") is not None else ""]
        for r in answer["rows"]
    ]  # fmt: skip
    head = ["method", "tokens saved", "gIoU", "cIoU", "GMACs", "VLTP's gain at no more GMACs"]
    return _table(head, rows) + _measured(answer, f"{answer['rows'][0]['count']} scenes")


def encoder() -> str:
    """Tabulate the encoder against the official one, on a CPU."""
    return _encoder("cpu")


def encoder_gpu() -> str:
    """Tabulate the encoder against the official one, on a GPU."""
    return _encoder("h200")


def _encoder(machine: str) -> str:
    answers = [_read(path.name) for path in sorted(RESULTS.glob(f"encoder_*_{machine}_*.json"))]
    rows = [
        [
            row["name"],
            row["dtype"],
            f"{row['rate']:.0%}" if row["rate"] else "dense",
            "" if row["gmacs"] is None else f"{row['gmacs']:.0f}",
            *(_ms(row[key]) for key in ("median_ms", "baseline_ms")),
            f"{row['ratio']:.2f}",
            *(_mib(row[key]) for key in ("peak_mib", "baseline_peak_mib")),
            _device(answer),
        ]
        for answer in answers
        for row in answer["rows"]
    ]
    head = ["", "computed in", "frozen", "GMACs", "ms", "official ms", "ratio", "MiB"]
    return _table([*head, "official MiB", "on"], rows)


def frames() -> str:
    """Tabulate whole images, from pixels to masks."""
    answer = _read("check_cpu.json")
    rows = [
        [
            row["name"].removeprefix("frame ").replace("<SEG>", "`<SEG>`"),
            f"{row['rate']:.0%}" if row["rate"] else "dense",
            _ms(row["median_ms"]),
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            ", ".join(f"{stage} {_ms(value)}" for stage, value in row["stages_ms"].items()),
        ]
        for row in answer["rows"]
        if row["name"].startswith("frame ")
    ]
    head = ["frame", "frozen", "ms", "times as fast as dense", "stages, ms"]
    return _table(head, rows) + _measured(answer, "Medians of seven, in turns")


def csp() -> str:
    """Tabulate LVLM_CSP on tabletop scenes."""
    answer = _read("tabletop_csp.json")
    rows = [
        [
            SELECTORS[r["selector"]],
            f"{r['rate']:.0%}" if r["rate"] else "",
            {"off": "all"}.get(r["csp"], f"preset {r['csp']}"),
            f"{r['giou']:.3f}",
            f"{r['ciou']:.3f}",
        ]
        for r in answer["rows"]
    ]
    head = ["SAM's tokens", "frozen", "LLaVA's tokens", "gIoU", "cIoU"]
    return _table(head, rows) + _measured(answer, f"{answer['rows'][0]['count']} test scenes")


def attention() -> str:
    """Tabulate attention-guided pruning on tabletop scenes."""
    answer = _read("tabletop_attention.json")
    rows = [
        [SELECTORS[r["selector"]], f"{r['rate']:.0%}", f"{r['giou']:.3f}", f"{r['ciou']:.3f}"]
        for r in answer["rows"]
    ]
    head = ["ranked by", "frozen", "gIoU", "cIoU"]
    return _table(head, rows) + _measured(answer, f"{answer['rows'][0]['count']} test scenes")


def reasoner_speed() -> str:
    """Tabulate LLaVA against transformers' own forward."""
    answers = [_read(path.name) for path in sorted(RESULTS.glob("reasoner_*.json"))]
    rows = [
        [
            f"{row['name']}, {answer['quantization']}",
            str(row["tasks"]),
            f"{row['average_tokens']:.0f}",
            *(_ms(row[key]) for key in ("median_ms", "baseline_ms")),
            f"{row['ratio']:.2f}",
            *(_mib(mib) for mib in (row["peak_mib"], answer["load_peak_mib"])),
            _device(answer),
        ]
        for answer in answers
        for row in answer["rows"]
    ]
    head = ["", "tasks", "image tokens in a layer", "ms", "transformers ms", "ratio", "MiB"]
    return _table([*head, "MiB to load", "on"], rows)


def demo() -> str:
    """Tabulate the demo's stages."""
    answer = _read("demo.json")
    rows = [[stage["name"], f"{stage['median_ms']:.1f}"] for stage in answer["stages"]]
    rate = f"{answer['masks_per_second']:.1f} masks a second from a 640x480 camera"
    return _table(["stage", "median ms"], rows) + _measured(answer, rate)


def node(file: str = "node.json") -> str:
    """Tabulate the node between camera and listener."""
    answer = _read(file)
    rows = [
        [
            f"{row['width']}x{row['height']}",
            f"{row['rate']:g}",
            row.get("outputs", "mask"),  # all that older files listened to
            row["model"],
            "process" if row["model_process"] else "thread",
            f"{row['masks_per_second']:.1f}",
            *(
                " / ".join(f"{row[key][share]:.1f}" for share in ("p50", "p99"))
                for key in ("latency_ms", "inference_ms", "queue_ms", "overhead_ms")
            ),
            *(f"{row[key]}" for key in ("dropped", "lost")),
            f"{row['cpu_ms_per_mask']:.1f}",
            f"{row['memory_mib'][-1]:.0f}",
        ]
        for row in answer["rows"]
    ]
    head = [
        "image",
        "Hz",
        "heard",
        "model",
        "in a",
        "masks/s",
        "age",
        "inference",
        "waiting",
        "overhead",
    ]
    head += ["dropped", "lost", "CPU ms a mask", "MiB"]
    return _table(head, rows) + _measured(answer, f"{answer['seconds']:.0f} s each")


KINDS = {"found": "a mask", "nothing": "nothing serves", "instance": "an instance"}


def reliability() -> str:
    """Tabulate how often answers are right by how sure they are."""
    answer = _read("reliability.json")
    rows = [
        [KINDS[row["answer"]], f"{one['score']:.2f}", f"{one['right']:.2f}", str(one["count"])]
        for row in answer["reliability"]
        for one in row["bins"]
    ]
    errors = ", ".join(
        f"{KINDS[row['answer']]} {row['error']:.3f}" for row in answer["reliability"]
    )
    line = f"{answer['scenes']} scenes of {answer['split']}; expected calibration error: {errors}"
    return _table(["answer", "score", "right", "answers"], rows) + _measured(answer, line)


def instances() -> str:
    """Tabulate how often instances are the objects that serve a task."""
    answer = _read("reliability.json")
    keys = ("precision", "recall", "right", "several_right")
    rows = [
        [
            "by mask and depth" if row["depth"] else "by mask",
            *(f"{row[key]:.3f}" for key in keys),
            str(row["questions"]),
            str(row["several"]),
        ]
        for row in answer["instances"]
    ]
    head = ["apart", "are an object", "of the objects", "as many", "as many, of several"]
    return _table([*head, "questions", "with several"], rows)


def chaos() -> str:
    """Tabulate what happened in a long run of chaos."""
    answer = _read("chaos.json")
    counts = [key for key, value in answer.items() if isinstance(value, int) and key != "seed"]
    line = f"{answer['seconds']:.0f} s, seed {answer['seed']}"
    return _table(counts, [[str(answer[key]) for key in counts]]) + _measured(answer, line)


def memory() -> str:
    """Tabulate what the node's two processes hold over a long run."""
    answer = _read("node_memory.json")
    (row,) = answer["rows"]
    minutes = np.linspace(0, answer["seconds"] / 60, len(row["memory_mib"]))
    head = ["minutes", *(f"{minute:.0f}" for minute in minutes)]
    rows = [["MiB", *(f"{mib:.0f}" for mib in row["memory_mib"])]]
    line = f"{row['model']} model, {row['width']}x{row['height']} at {row['rate']:g} Hz"
    return _table(head, rows) + _measured(answer, line)


def parameters() -> str:
    """Tabulate the node's parameters."""
    rows = []
    for spec in dataclasses.fields(NodeConfig):
        data = spec.metadata
        bounds = [
            f"{word} {data[key]:g}"
            for key, word in (("low", "from"), ("high", "to"))
            if key in data
        ]
        allowed = ", ".join(map(str, data.get("choices", ()))) or " ".join(bounds)
        live = "" if data.get("read_only") else "yes"
        default = f"`{json.dumps(spec.default)}`"
        rows.append([f"`{spec.name}`", default, allowed, live, data["description"]])
    return _table(["parameter", "default", "allowed", "live", ""], rows)


def definitions() -> str:
    """Return messages, service and action as they are defined."""
    paths = [path for kind in ("msg", "srv", "action") for path in sorted(ROOT.glob(f"{kind}/*"))]
    return "\n".join(
        f"**{path.parent.name}/{path.stem}**\n\n```\n{path.read_text().strip()}\n```\n"
        for path in paths
    )


TABLES: dict[str, Callable[[], str]] = {
    "parameters": parameters,
    "definitions": definitions,
    "accuracy": accuracy,
    "crowded": crowded,
    "methods": methods,
    "encoder": encoder,
    "encoder_gpu": encoder_gpu,
    "frames": frames,
    "attention": attention,
    "csp": csp,
    "reasoner_speed": reasoner_speed,
    "demo": demo,
    "node": node,
    "node_outputs": partial(node, "node_outputs.json"),
    "reliability": reliability,
    "instances": instances,
    "chaos": chaos,
    "memory": memory,
}


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _mib(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _read(name: str) -> dict:
    return json.loads((RESULTS / name).read_text())


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _measured(answer: dict, what: str) -> str:
    return f"\n{what}; {_device(answer)}.\n"


def _device(answer: dict) -> str:
    return f"{answer['hardware']}, torch {answer['versions']['torch']}"


def filled(text: str) -> str:
    """Return a document with its tables as the result files have them."""
    return TABLE.sub(lambda m: m[1] + "\n" + TABLES[m[2]]() + "\n" + m[3], text)


def main() -> int:
    """Write or check the documents; return the exit status."""
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text()
        if filled(text) != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(filled(text))
    if stale and "--check" in sys.argv:
        print(f"out of date: {', '.join(stale)}; run scripts/result_tables.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
