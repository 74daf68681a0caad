"""The <SEG> embedding of each task: LLaVA's for this image, or an earlier one of its stream."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vltp_ros.network.csp import csp_config
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.runtime.reuse import CachedSeg, SegCache, View
from vltp_ros.runtime.settings import ResolvedSettings


class Embeddings:
    """Asks LLaVA only for the tasks of which no embedding serves again."""

    def __init__(self, reasoner: Reasoner) -> None:
        self._reasoner = reasoner
        self._cache = SegCache()

    def get(
        self,
        pixels: Tensor,
        tasks: Sequence[str],
        view: View | None,
        stream: str,
        settings: ResolvedSettings,
    ) -> list[CachedSeg]:
        """Return the embedding of each task.

        Args:
            pixels: the image, uint8 [1, 3, H, W] on the device.
            tasks: sentences; what is there twice is computed once.
            view: of the image; None: it stands for itself.
            stream: name of the camera.
            settings: for this image.
        """
        segs = {}
        for task in tasks:
            cached = self._cache.get(stream, task, view, settings.reuse)
            if cached is not None:
                segs[task] = cached
        missing = [task for task in dict.fromkeys(tasks) if task not in segs]
        if missing:
            segs |= self._compute(pixels, missing, view, settings)
        if view is not None:  # an image that stands for itself leaves the stream's alone
            self._cache.put(stream, segs)
        return [segs[task] for task in tasks]

    def _compute(
        self, pixels: Tensor, tasks: list[str], view: View | None, settings: ResolvedSettings
    ) -> dict[str, CachedSeg]:
        """Run LLaVA for some tasks, each different from the others."""
        csp = csp_config(settings.csp, settings.csp_selector)
        by_cls = csp is not None and csp.selector == "cls"
        output = self._reasoner.reason(
            self._reasoner.encode_image(pixels, cls=by_cls),
            [tasks],
            csp=csp,
            output_attentions=settings.selector == "attention",
        )
        return {
            task: CachedSeg(
                output.seg[i : i + 1],
                None if output.attention is None else output.attention[i : i + 1],
                view,
            )
            for i, task in enumerate(tasks)
        }
