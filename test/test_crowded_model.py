"""The model for crowded scenes: its answers depend on the image that LLaVA sees."""

from __future__ import annotations

from pathlib import Path

from builders import crowded_scenes

from vltp_ros.evaluation.questions import Probe, evaluate_questions
from vltp_ros.evaluation.tabletop import Setting
from vltp_ros.runtime.session import Session

MODEL = Path(__file__).parents[1] / "models" / "crowded"


def test_the_model_looks(tmp_path):
    scenes = crowded_scenes(tmp_path, 6, "val", seed=5000)
    session, dense = Session.load(MODEL), Setting("keep_all")
    probes = [Probe(dense, control) for control in ("none", "grey", "swapped")]
    rows = evaluate_questions(session, scenes, probes, progress=False)
    right, grey, swapped = (row["giou"] for row in rows if row["family"] == "all")
    assert right > 0.3 and right > grey + 0.1 and right > swapped + 0.05
