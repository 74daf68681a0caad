"""CUDA graphs: the pruned stages are captured once per shape and replayed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from vltp_ros.network.run import Result, Run, eager
from vltp_ros.runtime.memory import clear_workspaces, release_memory

WARM_UPS = 3
"""Runs before the capture, for libraries that set themselves up at the first call."""

log = logging.getLogger(__name__)


class Captured(Protocol):
    """A function recorded for inputs of certain shapes."""

    def replay(self, tensors: tuple[Tensor, ...]) -> Any:
        """Return the function's result for these tensors."""


class FunctionCapturer(Protocol):
    """Records or compiles functions for inputs of certain shapes."""

    def capture(self, function: Callable[..., Result], tensors: tuple[Tensor, ...]) -> Captured:
        """Capture a function; CaptureError if that cannot be done."""

    def reset(self) -> None:
        """Free what captured functions share, once they are dropped."""


class GraphRunner:
    """Replays captured functions of tensors; a :class:`vltp_ros.network.run.Run`.

    A function that cannot be captured for some shapes runs as it is for those, after one warning.
    Not thread-safe: one thread owns it.
    """

    def __init__(
        self,
        device: torch.device,
        limit: int = 256,
        fall_back: bool = True,
        capturer: FunctionCapturer | None = None,
        patience: int = 0,
    ) -> None:
        """Hold no graphs yet.

        Args:
            device: where the functions run.
            limit: graphs to hold. One more, and all are dropped: resetting one graph alone may
                free what the others read (PyTorch issue 193402).
            fall_back: when a capture fails, run the function as it is; else raise the RuntimeError.
            capturer: default: records CUDA graphs, on a device that is a GPU.
            patience: how often a function runs as it is for some shapes before it is captured for
                them; what is seldom run is then not worth a capture.
        """
        self.device = device
        self.limit = limit
        self.fall_back = fall_back
        self.patience = patience
        self._capturer: FunctionCapturer = capturer or Capturer(device)
        self._graphs: dict[Hashable, Captured] = {}
        self._eager: set[Hashable] = set()  # what cannot be captured
        self._runs: Counter[Hashable] = Counter()  # of what is not captured yet

        self.captures = 0
        """How many captures there were; each took about a second from whoever waited."""

    def __len__(self) -> int:
        return len(self._graphs)

    def __deepcopy__(self, memo: dict) -> Run:
        """Return what runs functions as they are: captured ones read the original's weights."""
        return eager

    @property
    def failed(self) -> bool:
        """Whether anything could not be captured."""
        return bool(self._eager)

    def __call__(self, key: Hashable, function: Callable[..., Result], *tensors: Tensor) -> Result:
        """Return ``function(*tensors)``, from a graph unless it cannot be captured.

        Where gradients are wanted it runs as it is: weights may change, and graphs have none.
        """
        if torch.is_grad_enabled():
            return function(*tensors)
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        whole = (key, shapes)
        if whole in self._eager:
            return function(*tensors)
        if whole not in self._graphs:
            if self._runs[whole] < self.patience:
                self._runs[whole] += 1
                return function(*tensors)
            captured = self._capture(key, function, tensors)
            if captured is None:
                self._eager.add(whole)
                return function(*tensors)
            self._graphs[whole] = captured
        return self._graphs[whole].replay(tensors)

    def flush(self) -> None:
        """Drop all graphs and the memory that they share; later calls capture anew."""
        self._graphs.clear()
        self._capturer.reset()

    def _capture(
        self, key: Hashable, function: Callable[..., Result], tensors: tuple[Tensor, ...]
    ) -> Captured | None:
        """Capture a function; return None, after a warning, where that fails."""
        if len(self._graphs) >= self.limit:
            self.flush()
        self.captures += 1
        try:
            try:
                return self._capturer.capture(function, tensors)
            except torch.OutOfMemoryError:
                self.flush()  # other graphs' memory may be what is missing
                return self._capturer.capture(function, tensors)
        except CaptureError as error:
            self._capturer.reset()  # PyTorch 2.11 captures nothing more in the pool of a broken one
            if not self.fall_back:
                raise
            log.warning("%s runs as it is, as it cannot be captured: %s", key, error)
        except torch.OutOfMemoryError as error:
            if not self.fall_back:
                raise
            log.warning("%s runs as it is, for want of memory: %s", key, error)
            self.flush()
        return None


class CaptureError(RuntimeError):
    """A function runs, but cannot be captured."""


class Capturer:
    """Captures functions on a stream of its own, all of them in one memory pool.

    Inputs are copied into static buffers and outputs out of them, so that graphs can share the pool
    in whatever order they are replayed.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._begin()

    def capture(self, function: Callable[..., Result], tensors: tuple[Tensor, ...]) -> CudaGraph:
        """Run the function a few times, then record it.

        Raises:
            CaptureError: if it cannot be captured.
            torch.OutOfMemoryError: if memory runs out.
            RuntimeError: whatever the function raises also when it runs as it is.
        """
        torch.cuda.synchronize(self.device)  # other streams may read what is freed below
        inputs = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors]
        for static, tensor in zip(inputs, tensors, strict=True):
            static.copy_(tensor)
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                function(*inputs)
        current.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # cuBLAS keeps its workspace for each stream, and frees it whenever it likes. Without one,
        # the capture makes its own in the pool, which nobody frees before the graphs.
        clear_workspaces()
        try:
            with (
                torch.cuda.stream(current),  # sets it again: a failing capture leaves its own
                torch.cuda.graph(
                    graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
                ),
            ):
                outputs = function(*inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            cause = error.__context__ or error  # the end of a broken capture fails too
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from error
            raise CaptureError(str(cause)) from error
        finally:
            clear_workspaces()
        return CudaGraph(graph, inputs, outputs)

    def reset(self) -> None:
        """Begin another pool; the old one is freed with the last of its graphs."""
        torch.cuda.synchronize(self.device)
        release_memory(self.device)
        self._begin()

    def _begin(self) -> None:
        """Take a new memory pool and a new stream."""
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(self.device)


@dataclass(frozen=True)
class CudaGraph:
    """A captured function with its static buffers."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    outputs: Tensor | tuple[Tensor, ...]

    def replay(self, tensors: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        """Return the function's result for these tensors, in new memory."""
        for static, tensor in zip(self.inputs, tensors, strict=True):
            static.copy_(tensor)
        self.graph.replay()
        if isinstance(self.outputs, tuple):
            return tuple(output.clone() for output in self.outputs)
        return self.outputs.clone()
