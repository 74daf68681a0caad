"""Load a model, warm it up, segment images: what the node, the commands and the tests all use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vltp_ros.checkpoints.model_directory import load_model
from vltp_ros.checkpoints.quantization import UNCAPTURABLE
from vltp_ros.network.config import Quantization
from vltp_ros.network.csp import csp_config
from vltp_ros.network.preprocessing import (
    from_llava_frame,
    to_image_frame,
    to_square_frame,
    valid_grid,
)
from vltp_ros.network.run import eager
from vltp_ros.network.sam import Encoded
from vltp_ros.network.token_selection import (
    Budget,
    Score,
    adaptive_budget,
    fixed_budget,
    map_scores,
    spread,
    with_prior,
)
from vltp_ros.network.vltp import Vltp
from vltp_ros.runtime.checks import check_image, check_task
from vltp_ros.runtime.device import autocast, dtype_name, resolve_device, resolve_precision
from vltp_ros.runtime.graphs import GraphRunner
from vltp_ros.runtime.memory import gpu_memory_mib, release_memory
from vltp_ros.runtime.reuse import CachedSeg, SegCache, View
from vltp_ros.runtime.settings import InferenceSettings, ResolvedSettings
from vltp_ros.runtime.timing import StageTimes
from vltp_ros.types import Segmentation


class Session:
    """A loaded model and its settings. Not thread-safe: one thread owns it."""

    def __init__(
        self, model: Vltp, device: torch.device, settings: InferenceSettings | None = None
    ) -> None:
        """Take a model that is on ``device`` already; most callers want :meth:`load`."""
        self.model = model
        self.device = device
        self.settings: ResolvedSettings
        self.configure(settings or InferenceSettings())
        if device.type == "cuda":
            model.run = GraphRunner(device)
            if model.config.quantization not in UNCAPTURABLE:
                # A pool of its own: a language model that breaks captures leaves SAM's alone.
                model.reasoner.run = GraphRunner(device)

    @classmethod
    def load(
        cls,
        model_dir: Path | str,
        device: str = "cpu",
        *,
        threads: int = 0,
        quantization: Quantization | None = None,
        **settings: Any,
    ) -> Session:
        """Load a model directory.

        Args:
            model_dir: see :mod:`vltp_ros.checkpoints.model_directory`.
            device: ``auto`` (the GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
            threads: CPU threads of the process; 0 leaves torch's default.
            quantization: of LLaVA, one of QUANTIZATIONS; None: the model's own.
            **settings: fields of InferenceSettings.

        Raises:
            ModelError: for a missing, truncated or mismatching file.
            ValueError: for a bad device or setting.
        """
        torch_device = resolve_device(device)
        if torch_device.type == "cuda":
            # Graphs are captured on the thread's current device.
            torch.cuda.set_device(torch_device)
        if threads:
            torch.set_num_threads(threads)
        model = load_model(model_dir, torch_device, quantization)
        return cls(model, torch_device, InferenceSettings(**settings))

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.config.name

    @property
    def gpu_memory_mib(self) -> float | None:
        """GPU memory that the process holds, MiB; None on a CPU."""
        return gpu_memory_mib(self.device)

    @property
    def precision(self) -> str:
        """Name of the type that SAM computes in."""
        return dtype_name(self._dtype)

    @property
    def device_name(self) -> str:
        """The device in words, with the type that SAM computes in."""
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)} ({self.precision})"
        return f"cpu ({torch.get_num_threads()} threads, {self.precision})"

    def configure(self, settings: InferenceSettings) -> None:
        """Use other settings from the next :meth:`segment` on.

        Raises:
            ValueError: naming what the model or the device does not have; nothing has changed then.
        """
        settings = settings.for_model(self.model.config)
        self.model.encoder(settings.prune_after)
        self._dtype = resolve_precision(settings.precision, self.device)
        self._csp = csp_config(settings.csp)
        self._seg_cache = SegCache(settings.reuse)
        self.settings = settings

    def warm_up(self) -> None:
        """Segment a blank image, so that the first real one takes no longer than the rest."""
        self.segment(np.zeros((480, 640, 3), np.uint8), ["warm up"])

    @torch.inference_mode()
    def segment(
        self,
        image: np.ndarray,
        tasks: Sequence[str],
        score: Score | None = None,
        prior: np.ndarray | None = None,
        *,
        stamp: float | None = None,
        stream: str = "",
    ) -> list[Segmentation]:
        """Segment what can be used for each task.

        Args:
            image: uint8 [H, W, 3] RGB.
            tasks: sentences; the work that does not depend on the task is shared.
            score: ranks image tokens instead of the selector, for baselines.
            prior: bool [T, H, W], the last mask of each task in a video; what was part of it, or
                is next to it, is more likely to be kept.
            stamp: when the image was taken, seconds; the embedding of an earlier image of the
                stream is used again where ``reuse`` allows it. None: LLaVA runs for this image.
            stream: name of the camera, where there are several.

        Returns:
            One result per task, in their order, at the size of the image.

        Raises:
            ValueError: for an image, a task or a prior that is not of that form.
        """
        check_image(image)
        tasks = [check_task(task) for task in tasks]
        if not tasks:
            return []
        height, width = image.shape[:2]
        size = (height, width)
        times = StageTimes(self.device)
        with autocast(self.device, self._dtype):
            with times.stage("preprocess"):
                pixels = self._pixels(image)
                square = self.model.preprocess(pixels)
            with times.stage("reasoner"):
                view = self._seg_cache.view(image, stamp)
                segs = self._segs(pixels, tasks, view, stream)
            encoded, logits = self._draw(square, segs, size, score, prior, times)
        with times.stage("postprocess"):
            drawn = to_image_frame(logits.float(), self.model.config.encoder.img_size, size)
            probability = drawn.sigmoid().cpu().numpy()
            kept = [self._kept_map(index, size) for index in encoded.kept]
        tokens = tuple(index.shape[1] for index in encoded.kept)
        ages = [cached.age(view) for cached in segs]
        return self._results(tasks, probability, kept, tokens, ages, times.milliseconds())

    def close(self) -> None:
        """Drop the model and free the memory that it holds; a closed session cannot be used."""
        if hasattr(self, "model"):  # closing twice does no harm
            self.model.run = self.model.reasoner.run = eager
            del self.model, self._seg_cache
        release_memory(self.device)

    def _draw(
        self,
        square: Tensor,
        segs: list[CachedSeg],
        size: tuple[int, int],
        score: Score | None,
        prior: np.ndarray | None,
        times: StageTimes,
    ) -> tuple[Encoded, Tensor]:
        """Encode an image for each of T tasks, and draw its mask logits [T, S/4, S/4].

        Args:
            square: the encoder's input [1, 3, S, S].
            segs: one for each of T tasks.
            size: of the image, rows and columns, pixels.
            score: as for :meth:`segment`.
            prior: as for :meth:`segment`.
            times: to which the stages are added.
        """
        model, settings = self.model, self.settings
        stages = settings.prune_after if settings.adaptive or any(settings.rates) else ()
        seg = torch.cat([cached.seg for cached in segs]).float()
        with times.stage("stem"):
            tokens = model.stem(square, stages).expand(len(segs), -1, -1)
        with times.stage("pruned blocks" if stages else "stem"):
            score = score or self._score(segs, seg, size)
            if prior is not None:
                score = self._with_prior(score, prior, (len(segs), *size))
            encoded = model.encode(tokens, stages, self._budget(), score)
        with times.stage("mask decoder"):
            return encoded, model.draw(encoded, seg)

    def _segs(
        self, pixels: Tensor, tasks: list[str], view: View | None, stream: str
    ) -> list[CachedSeg]:
        """Return each task's embedding, of this image or of an earlier one of the stream."""
        segs = {}
        for task in tasks:
            cached = self._seg_cache.get(stream, task, view)
            if cached is not None:
                segs[task] = cached
        missing = [task for task in dict.fromkeys(tasks) if task not in segs]
        if missing:
            segs |= self._new_segs(pixels, missing, view)
        if view is not None:  # an image that stands for itself leaves the stream's alone
            self._seg_cache.put(stream, segs)
        return [segs[task] for task in tasks]

    def _new_segs(
        self, pixels: Tensor, tasks: list[str], view: View | None
    ) -> dict[str, CachedSeg]:
        """Run LLaVA for some tasks, each different from the others."""
        reasoner = self.model.reasoner
        by_cls = self._csp is not None and self._csp.selector == "cls"
        output = reasoner.reason(
            reasoner.encode_image(pixels, cls=by_cls),
            [tasks],
            csp=self._csp,
            output_attentions=self.settings.selector == "attention",
        )
        return {
            task: CachedSeg(
                output.seg[i : i + 1],
                None if output.attention is None else output.attention[i : i + 1],
                view,
            )
            for i, task in enumerate(tasks)
        }

    def _score(self, segs: list[CachedSeg], seg: Tensor, size: tuple[int, int]) -> Score:
        """Return the selector's ranking of the tokens of an image of ``size``."""
        if self.settings.selector == "prune_decoder":
            return self.model.score(seg)
        encoder = self.model.config.encoder
        attention = spread(torch.cat([_attention(cached) for cached in segs]))
        attention = from_llava_frame(attention, size, self.model.reasoner.framing)
        scores = map_scores(attention, size, encoder.img_size, encoder.grid)
        return lambda stage, tokens: scores

    def _pixels(self, image: np.ndarray) -> Tensor:
        """Return uint8 [1, 3, H, W] on the device."""
        # A copy: PyTorch warns of an array that nobody may write to, as a message's is.
        channels_last = torch.tensor(np.ascontiguousarray(image))
        return channels_last.permute(2, 0, 1).unsqueeze(0).to(self.device)

    def _budget(self) -> Budget:
        """Return the budget of the settings: how many tokens each stage keeps."""
        pruning = self.model.config.pruning
        if self.settings.adaptive:
            return adaptive_budget(pruning.shares, pruning.relevance, pruning.multiple)
        return fixed_budget(self.settings.rates, pruning.multiple)

    def _with_prior(self, score: Score, prior: np.ndarray, shape: tuple[int, int, int]) -> Score:
        """Add hysteresis for the last masks [T, H, W]; ValueError for another form."""
        if prior.shape != shape or prior.dtype != bool:
            raise ValueError(f"prior is {prior.dtype} {prior.shape}; allowed: bool {shape}")
        config = self.model.config
        square = to_square_frame(torch.from_numpy(prior), config.encoder.img_size)
        grid = (config.encoder.grid, config.encoder.grid)
        return with_prior(score, square.to(self.device), grid, config.pruning.hysteresis)

    def _kept_map(self, index: Tensor, size: tuple[int, int]) -> np.ndarray:
        """Return which patches were kept, bool [T, rows, columns] of those with some image."""
        config = self.model.config.encoder
        kept = torch.zeros(len(index), config.grid**2, dtype=torch.bool, device=index.device)
        kept.scatter_(1, index, True)
        rows, columns = valid_grid(size, config.img_size, config.patch_size)
        return kept.unflatten(1, (config.grid,) * 2)[:, :rows, :columns].cpu().numpy()

    def _results(
        self,
        tasks: list[str],
        probabilities: np.ndarray,
        kept: list[np.ndarray],
        tokens: tuple[int, ...],
        ages: list[float],
        times_ms: dict[str, float],
    ) -> list[Segmentation]:
        """Return one result for each of T tasks.

        Args:
            tasks: sentences.
            probabilities: float32 [T, H, W].
            kept: per stage, bool [T, rows, columns] of patches.
            tokens: per stage, how many ran.
            ages: of each <SEG> embedding, seconds.
            times_ms: of each stage of the inference.
        """
        results = []
        for i, (task, probability) in enumerate(zip(tasks, probabilities, strict=True)):
            mask = probability > self.settings.threshold
            result = Segmentation(
                task,
                mask,
                probability,
                score=float(probability[mask].mean() if mask.any() else 1 - probability.max()),
                kept=tuple(stage[i] for stage in kept),
                times_ms=dict(times_ms),
                tokens=tokens,
                seg_age_s=ages[i],
            )
            results.append(result)
        return results


def _attention(cached: CachedSeg) -> Tensor:
    """Return LLaVA's attention [1, g, g]; RuntimeError if LLaVA ran without returning it."""
    if cached.attention is None:
        raise RuntimeError("LLaVA has run without returning its attention")
    return cached.attention
