"""Load a model, warm it up, segment images: what the node, the commands and the tests all use."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vltp_ros.config import MAX_TASK_CHARACTERS, check_stages
from vltp_ros.network.checkpoint import load_model
from vltp_ros.network.preprocessing import (
    from_llava_frame,
    to_image_frame,
    to_square_frame,
    valid_grid,
)
from vltp_ros.network.token_selection import (
    Budget,
    Score,
    adaptive_budget,
    fixed_budget,
    with_prior,
)
from vltp_ros.network.vltp import Vltp, directly
from vltp_ros.runtime.graphs import GraphRunner
from vltp_ros.runtime.timing import StageTimes
from vltp_ros.types import Segmentation

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Session:
    """A loaded model and its settings. Not thread-safe: one thread owns it."""

    def __init__(self, model: Vltp, device: torch.device) -> None:
        """Take a model that is on ``device`` already; most callers want :meth:`load`."""
        self.model = model
        self.device = device
        self.prune_after: tuple[int, ...] = model.config.pruning.prune_after
        self.rates: tuple[float, ...] = model.config.pruning.rates
        self.adaptive = model.config.pruning.adaptive
        self.threshold = model.config.threshold
        self.precision = torch.float32
        self._run = GraphRunner(device) if device.type == "cuda" else directly

    @classmethod
    def load(
        cls,
        model_dir: Path | str,
        device: str = "cpu",
        *,
        threads: int = 0,
        **settings: object,
    ) -> Session:
        """Load a model directory.

        Args:
            model_dir: see :mod:`vltp_ros.network.checkpoint`.
            device: ``auto`` (the GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
            threads: CPU threads of the process; 0 leaves torch's default.
            **settings: as for :meth:`configure`.

        Raises:
            ModelError: for a missing, truncated or mismatching file.
            ValueError: for a bad device or setting.
        """
        place = resolve_device(device)
        if threads:
            torch.set_num_threads(threads)
        session = cls(load_model(model_dir, place), place)
        session.configure(**settings)
        return session

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.config.name

    @property
    def device_name(self) -> str:
        """The device in words."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"cpu ({torch.get_num_threads()} threads)"

    def configure(
        self,
        *,
        rates: Sequence[float] | None = None,
        prune_after: Sequence[int] | None = None,
        adaptive: bool | None = None,
        threshold: float | None = None,
        precision: str | None = None,
    ) -> None:
        """Change settings for the next :meth:`segment`; None leaves one as it is.

        Args:
            rates: share of tokens frozen at each stage, 0 <= rate < 1; one value serves all
                stages; () goes back to the model's own. All zero: nothing is pruned.
            prune_after: 1-based global-attention layers after which tokens are selected.
            adaptive: keep as many tokens as matter, by the model's shares, whatever the rates.
            threshold: mask where the probability exceeds this, 0..1.
            precision: float32, bfloat16 or float16 (autocast).

        Raises:
            ValueError: naming the value and what is allowed; nothing has changed then.
        """
        own = self.model.config.pruning
        stages = self.prune_after if prune_after is None else tuple(prune_after)
        shares = self.rates if rates is None else tuple(rates) or own.rates
        shares = shares * len(stages) if len(shares) == 1 else shares
        check_stages(stages, shares)
        self.model.encoder(stages)
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; it must be between 0 and 1")
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}; allowed: {', '.join(PRECISIONS)}")
        self.prune_after, self.rates = stages, shares
        self.adaptive = self.adaptive if adaptive is None else adaptive
        self.threshold = self.threshold if threshold is None else threshold
        self.precision = self.precision if precision is None else PRECISIONS[precision]

    def warm_up(self) -> None:
        """Run once on a blank image, so that the first real one takes no longer than the rest."""
        self.segment(np.zeros((480, 640, 3), np.uint8), ["warm up"])

    @torch.inference_mode()
    def segment(
        self,
        image: np.ndarray,
        tasks: Sequence[str],
        score: Score | None = None,
        prior: np.ndarray | None = None,
    ) -> list[Segmentation]:
        """Find what serves each task.

        Args:
            image: uint8 [H, W, 3] RGB.
            tasks: sentences; the work that does not depend on the task is shared.
            score: ranks image tokens instead of the prune decoder, for baselines.
            prior: bool [T, H, W], the last mask of each task in a video; what was part of it, or
                is next to it, is more likely to be kept.

        Returns:
            One result per task, in their order, at the size of the image.

        Raises:
            ValueError: for an image, a task or a prior that is not of that form.
        """
        check_image(image)
        tasks = [check_task(task) for task in tasks]
        if not tasks:
            return []
        model, times = self.model, StageTimes(self.device)
        stages = self.prune_after if self.adaptive or any(self.rates) else ()
        with self._autocast():
            with times.stage("preprocess"):
                pixels = self._pixels(image)
                square = model.preprocess(pixels)
            with times.stage("reasoner"):
                seg = model.reasoner(pixels, [tasks]).float()
            with times.stage("stem"):
                tokens = model.stem(square, stages, self._run).expand(len(tasks), -1, -1)
            with times.stage("pruned blocks" if stages else "stem"):
                score = score or model.score(seg, self._run)
                if prior is not None:
                    score = self._with_prior(score, prior, (len(tasks), *image.shape[:2]))
                encoded = model.encode(tokens, stages, self._budget(), score, self._run)
            with times.stage("mask decoder"):
                logits = model.draw(encoded, seg, self._run)
        with times.stage("postprocess"):
            side = model.config.encoder.img_size
            drawn = to_image_frame(logits.float(), side, image.shape[:2])
            probability = drawn.sigmoid().cpu().numpy()
            kept = [self._kept_map(index, image.shape[:2]) for index in encoded.kept]
            counts = tuple(index.shape[1] for index in encoded.kept)
        spent = times.milliseconds()
        return [
            self._result(task, probability[i], tuple(stage[i] for stage in kept), spent, counts)
            for i, task in enumerate(tasks)
        ]

    @torch.inference_mode()
    def attention(self, image: np.ndarray, tasks: Sequence[str]) -> Tensor:
        """LLaVA's attention to the image: float [T, h, w] over it, h and w smaller than its own.

        Arguments and errors as for :meth:`segment`.
        """
        check_image(image)
        reasoner = self.model.reasoner
        with self._autocast():
            image_tokens = reasoner.see(self._pixels(image))
            seen = reasoner.attention(image_tokens, [[check_task(task) for task in tasks]])
        return from_llava_frame(seen, image.shape[:2], reasoner.framing)

    def close(self) -> None:
        """Let go of the model and the memory that it holds; the session cannot be used after."""
        self.model = self._run = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _pixels(self, image: np.ndarray) -> Tensor:
        """uint8 [1, 3, H, W] on the device."""
        channels_last = torch.from_numpy(np.ascontiguousarray(image))
        return channels_last.permute(2, 0, 1).unsqueeze(0).to(self.device)

    def _budget(self) -> Budget:
        pruning = self.model.config.pruning
        if self.adaptive:
            return adaptive_budget(pruning.shares, pruning.relevance, pruning.multiple)
        return fixed_budget(self.rates, pruning.multiple)

    def _with_prior(self, score: Score, prior: np.ndarray, shape: tuple[int, int, int]) -> Score:
        if prior.shape != shape or prior.dtype != bool:
            raise ValueError(f"prior is {prior.dtype} {prior.shape}; allowed: bool {shape}")
        config = self.model.config
        square = to_square_frame(torch.from_numpy(prior), config.encoder.img_size)
        grid = (config.encoder.grid, config.encoder.grid)
        return with_prior(score, square.to(self.device), grid, config.pruning.hysteresis)

    def _autocast(self) -> AbstractContextManager:
        reduced = self.precision is not torch.float32
        return torch.autocast(
            self.device.type,
            self.precision if reduced else torch.bfloat16,
            enabled=reduced,
            cache_enabled=False,  # a captured graph would outlive the cache
        )

    def _kept_map(self, index: Tensor, size: tuple[int, int]) -> np.ndarray:
        """bool [T, rows, columns] of the patches that hold some of the image."""
        config = self.model.config.encoder
        kept = torch.zeros(len(index), config.grid**2, dtype=torch.bool, device=index.device)
        kept.scatter_(1, index, True)
        rows, columns = valid_grid(size, config.img_size, config.patch_size)
        return kept.unflatten(1, (config.grid,) * 2)[:, :rows, :columns].cpu().numpy()

    def _result(
        self,
        task: str,
        probability: np.ndarray,
        kept: tuple[np.ndarray, ...],
        times_ms: dict[str, float],
        counts: tuple[int, ...],
    ) -> Segmentation:
        mask = probability > self.threshold
        score = probability[mask].mean() if mask.any() else 1 - probability.max()
        return Segmentation(task, mask, probability, float(score), kept, dict(times_ms), counts)


def resolve_device(name: str) -> torch.device:
    """``auto`` -> the GPU where there is one; ValueError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device is {name!r}; allowed: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {name!r}; this machine has {torch.cuda.device_count()} CUDA devices"
        )
    return device


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless ``image`` is uint8 [H, W, 3] with H, W > 0."""
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
        raise ValueError(f"image is {kind} {shape}; allowed: uint8 (height, width, 3), not empty")


def check_task(task: str) -> str:
    """The task without surrounding space; ValueError if nothing is left or it is too long."""
    if not isinstance(task, str) or not task.strip():
        raise ValueError(f"task is {task!r}; it must be a sentence")
    if len(task) > MAX_TASK_CHARACTERS:
        raise ValueError(
            f"task has {len(task)} characters; at most {MAX_TASK_CHARACTERS} are allowed "
            f"(it starts {task[:40]!r})"
        )
    return task.strip()
