"""Load a model, warm it up, segment images: what the node, the commands and the tests all use."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vltp_ros.checkpoints.golden import Golden, read_golden
from vltp_ros.checkpoints.model_directory import load_model
from vltp_ros.network.config import AutoQuantization
from vltp_ros.network.sam import Encoded
from vltp_ros.network.token_selection import Score
from vltp_ros.network.vltp import Vltp
from vltp_ros.runtime.checks import check_finite, check_request, check_task
from vltp_ros.runtime.deadline import DeadlineConfig, Planner
from vltp_ros.runtime.device import dtype_name, resolve_device, resolve_precision
from vltp_ros.runtime.embeddings import Embeddings
from vltp_ros.runtime.masks import finish_masks, kept_maps
from vltp_ros.runtime.memory import empty_cache, gpu_memory_mib, release_memory
from vltp_ros.runtime.ranking import encode_as, score_of, with_last_masks
from vltp_ros.runtime.reuse import CachedSeg, view_of
from vltp_ros.runtime.runners import Runners
from vltp_ros.runtime.self_test import self_test
from vltp_ros.runtime.settings import InferenceSettings, ResolvedSettings
from vltp_ros.runtime.streams import SideStream
from vltp_ros.runtime.timing import StageTimes
from vltp_ros.runtime.transfer import download, upload
from vltp_ros.types import Segmentation

WARM_UP_TASKS = {"cuda": (1, 2, 3, 4), "cpu": (1,)}
"""Numbers of tasks that :meth:`Session.warm_up` prepares for, where parts are compiled."""

WARM_UP_WORDS = {"cuda": (2, 16), "cpu": (2,)}
"""Lengths of their sentences. A CPU takes seconds for each; the others run as they are."""


class Session:
    """A loaded model and its settings. Not thread-safe: one thread owns it."""

    def __init__(
        self, model: Vltp, device: torch.device, settings: InferenceSettings | None = None
    ) -> None:
        """Take a model that is on ``device`` already; most callers want :meth:`load`.

        SAM's weights are cast to the precision of the settings, and LLaVA's laid out.
        """
        self.model = model
        self.device = device
        self.fault = ""
        """Why the device cannot be used any more; empty: it can."""
        self._side = SideStream(device)
        self._captures_before = 0  # when it was warm
        self.golden: Golden | None = None
        """An answer that the model gave before; :meth:`warm_up` asks it again."""
        settings = settings or InferenceSettings()
        model.cast(resolve_precision(settings.precision, device))
        model.reasoner.lay_out()
        empty_cache(device)  # of where the weights were
        self._runners = Runners(settings.runner, model, device)
        self.configure(settings)

    @classmethod
    def load(
        cls,
        model_dir: Path | str,
        device: str = "cpu",
        *,
        threads: int = 0,
        quantization: AutoQuantization | None = None,
        **settings: Any,
    ) -> Session:
        """Load a model directory.

        Args:
            model_dir: see :mod:`vltp_ros.checkpoints.model_directory`.
            device: ``auto`` (the GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
            threads: CPU threads of the process; 0 leaves torch's default.
            quantization: of LLaVA, one of AUTO_QUANTIZATIONS; None: the model's own.
            **settings: fields of InferenceSettings.

        Raises:
            ModelError: for a missing, truncated or mismatching file.
            ValueError: for a bad device or setting.
        """
        chosen = InferenceSettings(**settings)
        torch_device = resolve_device(device)
        if torch_device.type == "cuda":
            # Graphs are captured on the thread's current device.
            torch.cuda.set_device(torch_device)
        if threads:
            torch.set_num_threads(threads)
        dtype = resolve_precision(chosen.precision, torch_device)
        model = load_model(model_dir, torch_device, quantization, dtype)
        session = cls(model, torch_device, chosen)
        session.golden = read_golden(Path(model_dir))
        return session

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
        return dtype_name(self.model.dtype)

    @property
    def device_name(self) -> str:
        """The device in words, with the type that SAM computes in."""
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)} ({self.precision})"
        return f"cpu ({torch.get_num_threads()} threads, {self.precision})"

    @property
    def compiles(self) -> bool:
        """Whether parts of the network are compiled for their shapes."""
        return self._runners.compiles

    @property
    def captures(self) -> int:
        """How often something was captured or compiled."""
        return self._runners.captures

    @property
    def late_captures(self) -> int:
        """How often something was captured or compiled since :meth:`warm_up`, an image waiting."""
        return self.captures - self._captures_before

    @property
    def missed_deadlines(self) -> int:
        """Images since :meth:`configure` or :meth:`warm_up` that took longer than the deadline."""
        return self._planner.missed

    def configure(self, settings: InferenceSettings) -> None:
        """Use other settings from the next :meth:`segment` on.

        Raises:
            ValueError: naming what the model or the device does not have, or a precision other than
                the weights'; nothing has changed then.
        """
        settings = self.validate(settings)
        if settings.runner != self._runners.name:
            self._runners = Runners(settings.runner, self.model, self.device)
        self._embeddings = Embeddings(self.model.reasoner)
        self._planner = Planner(settings, side_by_side=self.device.type == "cuda")
        self._reuses = any(choice.reuse.max_age for choice in self._planner.choices)
        self.settings: ResolvedSettings = settings

    def validate(self, settings: InferenceSettings) -> ResolvedSettings:
        """Return settings as :meth:`configure` would use them; changes nothing.

        Raises ValueError for what the model does not have. Whether the device has another runner
        shows only when it is made.
        """
        settings = settings.for_model(self.model.config)
        self.model.encoder(settings.prune_after)
        dtype = resolve_precision(settings.precision, self.device)
        if dtype != self.model.dtype:
            raise ValueError(
                f"precision is {dtype_name(dtype)!r}; the model was loaded in {self.precision}, "
                "and its weights are cast only then"
            )
        return settings

    def refusal(self, task: str) -> str:
        """Return why a task is refused, alone and whatever the image; empty: it is not."""
        try:
            task = check_task(task)
        except ValueError as error:
            return str(error)
        reasoner = self.model.reasoner
        return reasoner.prompts.refusal(task, reasoner.image_tokens)

    def compiling_at_once(self) -> AbstractContextManager[None]:
        """Return a context in which parts are compiled when they first run, where they are."""
        return self._runners.impatient()

    def warm_up(self) -> None:
        """Segment blank images, so that the first real one takes no longer than the rest.

        Where the parts are compiled for their shapes, those that are likely to occur are prepared.

        Raises:
            RuntimeError: when the model's golden answer is another one than it was.
        """
        if self.golden is not None:
            self_test(self, self.golden)
        blank = np.zeros((480, 640, 3), np.uint8)
        if not self.compiles:
            self.segment(blank, ["warm up"])
            return
        with self.compiling_at_once():
            for count in WARM_UP_TASKS[self.device.type]:
                for words in WARM_UP_WORDS[self.device.type]:
                    tasks = [" ".join(["warm"] * words + [str(number)]) for number in range(count)]
                    self.segment(blank, tasks)
            self._warm_up_choices(blank)
        self._runners.settle()
        self.configure(self.settings)  # forget how long this took
        self._captures_before = self.captures

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
            ValueError: for what is not of that form, or an image too large for so many tasks.
            RuntimeError: when the device fails (:attr:`fault` says whether for good), and as
                NotFiniteError when the network computes values that are not finite.
        """
        if not (tasks := check_request(image, tasks)):
            return []
        size, times = (image.shape[0], image.shape[1]), StageTimes(self.device)
        began, settings = time.perf_counter(), self._planner.pick()
        with self._minding_the_device():
            with times.stage("preprocess"):
                pixels = upload(image, self.device).permute(2, 0, 1).unsqueeze(0)
                square = self._runners.pixels(("sam_input",), self.model.preprocess, pixels)
            view = view_of(image, stamp) if self._reuses and stamp is not None else None
            with self._side.beside(), times.stage("reasoner"):
                segs = self._embeddings.get(pixels, tasks, view, stream, settings)
            encoded, logits = self._draw(square, segs, size, settings, score, prior, times)
            with times.stage("postprocess"):
                side = self.model.config.encoder.img_size
                masks = finish_masks(self._runners.pixels, logits, side, size, settings.threshold)
                kept = [download(positions) for positions in encoded.kept]
                finite = [download(scores.isfinite().all()) for scores in encoded.scores]
            times_ms = times.milliseconds()  # the only wait
        check_finite(masks.measures, finite, f"{self.name} (in {self.precision})")
        reused = all(cached.view is not view for cached in segs)
        self._planner.observe(times_ms, 1e3 * (time.perf_counter() - began), reused)
        maps = kept_maps(kept, len(tasks), size, self.model.config.encoder)
        common = {
            "times_ms": times_ms,
            "tokens": tuple(positions.shape[1] for positions in kept),
            "rates": settings.rates,
            "csp": settings.csp,
        }
        ages = [cached.age(view) for cached in segs]
        return [
            masks.answer(i, task, maps[i], ages[i], common, self.model.config)
            for i, task in enumerate(tasks)
        ]

    def close(self) -> None:
        """Drop the model and free the memory that it holds; a closed session cannot be used."""
        if hasattr(self, "model"):  # closing twice does no harm
            self._runners.detach()
            del self.model, self._embeddings, self._runners
        release_memory(self.device)

    def _draw(
        self,
        square: Tensor,
        segs: list[CachedSeg],
        size: tuple[int, int],
        settings: ResolvedSettings,
        score: Score | None,
        prior: np.ndarray | None,
        times: StageTimes,
    ) -> tuple[Encoded, Tensor]:
        """Encode an image for each of T tasks, and draw its mask logits [T, S/4, S/4].

        Args:
            square: the encoder's input [1, 3, S, S].
            segs: one for each of T tasks.
            size: of the image, rows and columns, pixels.
            settings: for this image.
            score: as for :meth:`segment`.
            prior: as for :meth:`segment`.
            times: to which the stages are added.
        """
        model = self.model
        stages = settings.prune_after if settings.adaptive or any(settings.rates) else ()
        with times.stage("stem"):
            tokens = model.stem(square, stages).expand(len(segs), -1, -1)
        self._side.join()
        seg = torch.cat([cached.seg for cached in segs]).float()
        with times.stage("pruned blocks" if stages else "stem"):
            score = score or score_of(settings, model, segs, seg, size)
            if prior is not None:
                score = with_last_masks(score, prior, (len(segs), *size), model)
            encoded = encode_as(settings, model, tokens, stages, score)
        with times.stage("mask decoder"):
            return encoded, model.draw(encoded, seg)

    def _warm_up_choices(self, blank: np.ndarray) -> None:
        """Run whatever numbers of tokens the adaptive budget or the deadline may choose."""
        settings, choices = self.settings, self._planner.choices[1:]
        if settings.adaptive:
            for share in self.model.config.pruning.shares:
                rates = (min(1 - share, 0.99),) * len(settings.prune_after)
                choices.append(replace(settings, adaptive=False, rates=rates))
        for choice in choices:
            self.configure(replace(choice, deadline=DeadlineConfig()))
            for count in WARM_UP_TASKS[self.device.type]:
                self.segment(blank, [f"warm up {number}" for number in range(count)])
        self.configure(settings)

    @contextmanager
    def _minding_the_device(self) -> Iterator[None]:
        """Give back memory when it runs out, and notice a device that is lost.

        What follows the error costs this image alone, unless the device is lost.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            self._runners.flush()
            release_memory(self.device)
            raise
        except torch.AcceleratorError as error:
            self.fault = f"{self.device} is lost: {error}"
            raise
