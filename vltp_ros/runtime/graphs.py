"""CUDA graphs: the pruned stages are captured once per shape and replayed."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 3
"""Runs before the capture, for libraries that set themselves up at the first call."""

log = logging.getLogger(__name__)


class GraphRunner:
    """Replays functions of tensors as CUDA graphs; a :data:`vltp_ros.network.run.Run`.

    Inputs are copied into static buffers and outputs out of them, so that graphs can share one
    memory pool in whatever order they are replayed. Of one thread only.
    """

    def __init__(self, device: torch.device, limit: int = 64, fall_back: bool = True) -> None:
        """
        Args:
            device: a GPU.
            limit: graphs to hold; the one that was not used for longest makes room.
            fall_back: when a capture fails, everything runs as it is from then on, with one
                warning; else its RuntimeError is the caller's.
        """
        self.device = device
        self.limit = limit
        self.fall_back = fall_back
        self.failed = False
        self._graphs: OrderedDict[Hashable, _Captured] = OrderedDict()
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def __len__(self) -> int:
        return len(self._graphs)

    def __call__(self, key: Hashable, function: Callable, *tensors: Tensor) -> Any:
        """``function(*tensors)``, a tensor or a tuple of them."""
        if self.failed:
            return function(*tensors)
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        reduced = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda")
        whole = (key, shapes, reduced)
        captured = self._graphs.pop(whole, None)
        if captured is None:
            inputs = self._warm_up(function, tensors)  # what fails here would fail anyway
            try:
                captured = self._capture(function, inputs)
            except RuntimeError as error:
                if not self.fall_back:
                    raise
                self.failed = True
                self._graphs.clear()
                cause = error.__context__ or error  # the end of a broken capture fails too
                log.warning("CUDA graphs are off, as %s cannot be captured: %s", key, cause)
                return function(*tensors)
            while len(self._graphs) >= self.limit:
                self._graphs.popitem(last=False)
        self._graphs[whole] = captured
        return captured.replay(tensors)

    def _warm_up(self, function: Callable, tensors: tuple[Tensor, ...]) -> list[Tensor]:
        """The static inputs, which ``function`` has run on."""
        inputs = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors]
        for static, tensor in zip(inputs, tensors, strict=True):
            static.copy_(tensor)
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                function(*inputs)
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
        return inputs

    def _capture(self, function: Callable, inputs: list[Tensor]) -> _Captured:
        graph = torch.cuda.CUDAGraph()
        with (
            # Sets it again at the end: a failing capture leaves its own.
            torch.cuda.stream(torch.cuda.current_stream(self.device)),
            torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ),
        ):
            outputs = function(*inputs)
        return _Captured(graph, inputs, outputs)


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    outputs: Tensor | tuple[Tensor, ...]

    def replay(self, tensors: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        for static, tensor in zip(self.inputs, tensors, strict=True):
            static.copy_(tensor)
        self.graph.replay()
        if isinstance(self.outputs, tuple):
            return tuple(output.clone() for output in self.outputs)
        return self.outputs.clone()
