"""The model for crowded scenes: its answers depend on the image that LLaVA sees."""

from __future__ import annotations

from pathlib import Path

from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.evaluation.questions import Probe, evaluate_questions
from vltp_ros.evaluation.tabletop import Setting
from vltp_ros.runtime.session import Session
from vltp_ros.simulation import generate_dataset

MODEL = Path(__file__).parents[1] / "models" / "crowded"


def test_the_model_looks(tmp_path):
    generate_dataset(tmp_path, 6, seed=5000, split="val", workers=1, progress=False, edition=2)
    session, dense = Session.load(MODEL), Setting("keep_all")
    probes = [Probe(dense, control) for control in ("none", "grey", "swapped")]
    rows = evaluate_questions(session, TabletopDataset(tmp_path), probes, progress=False)
    right, grey, swapped = (row["giou"] for row in rows if row["family"] == "all")
    assert right > 0.3 and right > grey + 0.1 and right > swapped + 0.05
