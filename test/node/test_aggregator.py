"""config/diagnostics_aggregator.yaml puts every status of the node into one group."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from bench import start
from diagnostic_msgs.msg import DiagnosticArray

FILE = Path(__file__).parents[2] / "config" / "diagnostics_aggregator.yaml"
GENERIC = "diagnostic_aggregator/GenericAnalyzer"


def analyzers() -> dict[str, dict]:
    group = yaml.safe_load(FILE.read_text())["analyzers"]["ros__parameters"]["affordances"]
    assert group["type"] == "diagnostic_aggregator/AnalyzerGroup"
    return group["analyzers"]


def matches(analyzer: dict, name: str) -> bool:
    """What diagnostic_aggregator's GenericAnalyzer says."""
    assert analyzer["type"] == GENERIC
    assert analyzer.keys() <= {"type", "path", "contains", "regex", "timeout"}
    assert isinstance(analyzer["timeout"], float)
    return any(part in name for part in analyzer.get("contains", ())) or any(
        re.fullmatch(pattern, name) for pattern in analyzer.get("regex", ())
    )


def test_every_status_is_in_one_group(bench, make_vltp):
    start(make_vltp(cameras=["front", "arm/wrist"]))
    arrays = bench.listen(DiagnosticArray, "/diagnostics")
    bench.wait(lambda: any(len(array.status) == 3 for array in arrays))
    names = {status.name for array in arrays for status in array.status}
    assert len(names) == 3
    for name in [*names, "/vltp: image", *(f"/lab/robot{name}" for name in names)]:
        groups = [key for key, analyzer in analyzers().items() if matches(analyzer, name)]
        assert groups == ["model" if "inference" in name else "cameras"], name
    assert not any(matches(a, "/other: image") for a in analyzers().values())
