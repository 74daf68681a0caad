"""Two queues of a GPU's work, so that LLaVA's prefill runs beside SAM's stem."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class SideStream:
    """A second queue of a GPU; on a CPU, where there are none, work runs in its order."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Put the work of a ``with`` statement beside what the current queue gets next.

        It begins after what the current queue holds already.
        """
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield

    def join(self) -> None:
        """Let the current queue go on only after what was put beside it."""
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
