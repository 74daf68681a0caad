"""How a session runs the parts of a network: as they are, or compiled for their shapes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vltp_ros.checkpoints.quantization import UNCAPTURABLE
from vltp_ros.network.run import Run, eager
from vltp_ros.network.vltp import Vltp
from vltp_ros.paths import pip_command
from vltp_ros.runtime import openvino
from vltp_ros.runtime.graphs import GraphRunner
from vltp_ros.runtime.settings import Runner

CPU_PATIENCE = 8
"""How often a part runs on a CPU before it is compiled, for about a second."""


class Runners:
    """Runs a model's parts in one of RUNNERS' ways.

    SAM and LLaVA have a runner each: a language model that breaks captures leaves SAM's alone, and
    what runs side by side shares no memory.
    """

    def __init__(self, name: Runner, model: Vltp, device: torch.device) -> None:
        """Take the model's parts over.

        Args:
            name: of the way.
            model: whose ``run`` and ``reasoner.run`` are set.
            device: where it is.

        Raises:
            ValueError: for a way that the device does not have.
        """
        self.name = name
        self._model = model
        model.run = _make(name, device)
        capturable = model.config.quantization not in UNCAPTURABLE
        model.reasoner.run = _make(name, device) if capturable else eager
        self.pixels: Run = model.run if device.type == "cuda" else eager
        """Prepares pixels and finishes masks; on a CPU, compiling that gains nothing."""

    @property
    def compiles(self) -> bool:
        """Whether anything is compiled."""
        return bool(self._compiling)

    @property
    def captures(self) -> int:
        """How often something was captured or compiled."""
        return sum(run.captures for run in self._compiling)

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Compile whatever runs in a ``with`` statement at once, however seldom it may run."""
        before = [run.patience for run in self._compiling]
        for run in self._compiling:
            run.patience = 0
        try:
            yield
        finally:
            for run, patience in zip(self._compiling, before, strict=True):
                run.patience = patience

    def settle(self) -> None:
        """Compile nothing more on a CPU: a part takes seconds, for which an image would wait."""
        for run in self._compiling:
            if run.device.type == "cpu":
                run.patience = sys.maxsize

    def flush(self) -> None:
        """Drop all that was captured or compiled, and its memory."""
        for run in self._compiling:
            run.flush()

    def detach(self) -> None:
        """Leave the model to itself."""
        self._model.run = self._model.reasoner.run = self.pixels = eager

    @property
    def _compiling(self) -> list[GraphRunner]:
        runs = (self._model.run, self._model.reasoner.run)
        return [run for run in runs if isinstance(run, GraphRunner)]


def _make(name: Runner, device: torch.device) -> Run:
    if name == "eager":
        return eager
    if device.type == "cuda":
        return GraphRunner(device)
    if openvino.is_installed():
        compiler = openvino.OpenVinoCompiler()
        return GraphRunner(device, capturer=compiler, patience=CPU_PATIENCE)
    if name == "compiled":
        raise ValueError(f"runner is {name!r}, which on a CPU needs OpenVINO: {pip_command('cpu')}")
    return eager
