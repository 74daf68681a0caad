"""How sure a model's answers are, in its description."""

from __future__ import annotations

from pathlib import Path

from vltp_ros.checkpoints.model_directory import read_description
from vltp_ros.checkpoints.text_files import read_yaml, write_yaml
from vltp_ros.network.config import CalibrationConfig
from vltp_ros.settings import as_plain


def write_calibration(directory: Path, calibration: CalibrationConfig) -> None:
    """Put a calibration into ``model.yaml``, in place of the one that it has.

    Raises ModelError for a directory that has no valid one.
    """
    read_description(directory)
    path = directory / "model.yaml"
    description = read_yaml(path)
    description["config"]["calibration"] = as_plain(calibration)
    write_yaml(path, description)
