"""Write the tables in the documents from the result files in docs/benchmarks, and from the code.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``. With --check nothing is written
and the exit status is 1 where a document differs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial

from tables import gpu, hours, models, node, papers
from tables.markdown import ROOT

DOCUMENTS = (
    "README.md",
    "docs/benchmarks/README.md",
    "docs/reasoner.md",
    "docs/reliability.md",
    "docs/reproduce.md",
    "docs/ros.md",
    "models/crowded/README.md",
    "models/tabletop/README.md",
)
TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

TABLES: dict[str, Callable[[], str]] = {
    "parameters": node.parameters,
    "definitions": node.definitions,
    "accuracy": models.accuracy,
    "crowded": models.crowded,
    "methods": models.methods,
    "encoder": models.encoder,
    "gpu_encoder": gpu.encoder,
    "gpu_floors": gpu.floors,
    "gpu_frames": gpu.frames,
    "gpu_reasoner": gpu.reasoner,
    "frames": models.frames,
    "attention": models.attention,
    "csp": models.csp,
    "reasoner_speed": models.reasoner_speed,
    "demo": node.demo,
    "node": node.node,
    "node_outputs": partial(node.node, "node_outputs.json"),
    "reliability": models.reliability,
    "instances": models.instances,
    "chaos": node.chaos,
    "memory": node.memory,
    "unit_times": hours.unit_times,
    "hours": hours.hours,
    "rehearsal": hours.rehearsal,
    "papers": papers.papers,
    "hypotheses": papers.hypotheses,
}


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
