"""Options that several commands have."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vltp_ros.network.config import AutoQuantization
from vltp_ros.paths import default_model
from vltp_ros.runtime.settings import InferenceSettings, Precision
from vltp_ros.simulation import Split

if TYPE_CHECKING:
    from vltp_ros.runtime.session import Session

LOG = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Command:
    """The options of every command."""

    json: bool = False
    """Print one JSON object on stdout."""
    quiet: bool = False
    """Print nothing but errors on stderr: no messages, no bars."""
    verbose: bool = False
    """Print on stderr what helps to find a fault."""


@dataclass(kw_only=True)
class DeviceOption:
    """Where a model runs."""

    device: str = "auto"
    """Device: auto (the GPU where there is one), cpu, cuda or cuda:N."""


@dataclass(kw_only=True)
class ModelOption:
    """Which model."""

    model: Path | None = None
    """Model directory; the tabletop model if not given."""

    @property
    def model_directory(self) -> Path:
        """The one that was given, or the tabletop model's."""
        return self.model or default_model()


@dataclass(kw_only=True)
class ModelOptions(ModelOption, DeviceOption):
    """Which model to load, and how."""

    quantization: AutoQuantization | None = None
    """LLaVA's weights in memory; auto: bfloat16 on a GPU where it fits, else nf4, on a CPU as the
    model says; as the model says if not given."""

    def load(self, settings: InferenceSettings) -> Session:
        """Load the model. Raises ValueError for a bad model, device or setting."""
        LOG.info("loading %s", self.model_directory)
        from vltp_ros.runtime.session import Session  # not before: its imports take seconds

        return Session.load(
            self.model_directory, self.device, quantization=self.quantization, **vars(settings)
        )


@dataclass(kw_only=True)
class PrecisionOption:
    """What SAM computes in."""

    precision: Precision = "auto"
    """What SAM computes in; auto: bfloat16 on a GPU that has it, else float32."""


@dataclass(kw_only=True)
class SplitOption:
    """Which tabletop scenes to use."""

    split: Split = "test"
    """Split of the scenes; uncommon has looks and phrasings that no other split shows."""
