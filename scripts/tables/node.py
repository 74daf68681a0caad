"""Tables about the node: its speed, what it survives, its parameters and definitions."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from tables.markdown import ROOT, measured, read, table
from vltp_ros.node.config import NodeConfig


def demo() -> str:
    """Tabulate the demo's stages."""
    answer = read("demo.json")
    rows = [[stage["name"], f"{stage['median_ms']:.1f}"] for stage in answer["stages"]]
    rate = f"{answer['masks_per_second']:.1f} masks a second from a 640x480 camera"
    return table(["stage", "median ms"], rows) + measured(answer, rate)


def node(file: str = "node.json") -> str:
    """Tabulate the node between camera and listener."""
    answer = read(file)
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
    return table(head, rows) + measured(answer, f"{answer['seconds']:.0f} s each")


def chaos() -> str:
    """Tabulate what happened in a long run of chaos."""
    answer = read("chaos.json")
    counts = [key for key, value in answer.items() if isinstance(value, int) and key != "seed"]
    line = f"{answer['seconds']:.0f} s, seed {answer['seed']}"
    return table(counts, [[str(answer[key]) for key in counts]]) + measured(answer, line)


def memory() -> str:
    """Tabulate what the node's two processes hold over a long run."""
    answer = read("node_memory.json")
    (row,) = answer["rows"]
    minutes = np.linspace(0, answer["seconds"] / 60, len(row["memory_mib"]))
    head = ["minutes", *(f"{minute:.0f}" for minute in minutes)]
    rows = [["MiB", *(f"{mib:.0f}" for mib in row["memory_mib"])]]
    line = f"{row['model']} model, {row['width']}x{row['height']} at {row['rate']:g} Hz"
    return table(head, rows) + measured(answer, line)


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
    return table(["parameter", "default", "allowed", "live", ""], rows)


def definitions() -> str:
    """Return messages, service and action as they are defined."""
    paths = [path for kind in ("msg", "srv", "action") for path in sorted(ROOT.glob(f"{kind}/*"))]
    return "\n".join(
        f"**{path.parent.name}/{path.stem}**\n\n```\n{path.read_text().strip()}\n```\n"
        for path in paths
    )
