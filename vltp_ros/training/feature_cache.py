"""What a trained model computes of images and of what is asked about them, stored once.

The encoder before the first stage and LLaVA stay as they are while a pruned half is trained, so
what they give for an image and its questions is the same in every run. A training that reads it
runs neither.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from vltp_ros.data.expressions import ExpressionImages, ImageExpressions
from vltp_ros.data.scenes import LabelledScene, TabletopDataset
from vltp_ros.network.csp import CspConfig
from vltp_ros.network.vltp import Vltp
from vltp_ros.processes import ALONE, Process
from vltp_ros.progress import progress_bar
from vltp_ros.training.public_batches import reduced

TEXTS_AT_ONCE = 16
"""Questions about an image that LLaVA is asked together, which bounds its memory."""

STALE_S = 3600.0
"""Age of a file half written that nobody can be writing any more: to write one takes seconds."""

EARLIER = {"lvlm_csp": None}
"""What was so when records did not name it yet."""


@dataclass(frozen=True)
class Features:
    """What is stored of an image."""

    tokens: Tensor  # float16 [N, C], after the blocks before the first stage
    segs: Tensor  # float32 [Q, 256], <SEG> of each question


class FeatureCache:
    """A directory of :class:`Features`, computed when they are first asked for.

    A file in it is whole, whenever a process that writes is killed; several may fill it at once.
    """

    def __init__(
        self,
        directory: Path,
        model: Vltp,
        data: TabletopDataset | ExpressionImages,
        after: int,
        csp: CspConfig | None = None,
    ) -> None:
        """Open a directory, or make one.

        Args:
            directory: a cache of this model and data, or nothing yet.
            model: in evaluation mode, in the precision to store for.
            data: scenes with questions, or images with expressions.
            after: 1-based layer of the image encoder whose output is stored.
            csp: which image tokens LLaVA's layers process, nothing being drawn; None: all.

        Raises:
            ValueError: for a cache of another model, other data, another layer or ``csp``.
            OSError: naming the file, where nothing can be written.
        """
        self.directory, self.model, self.data, self.after = directory, model, data, after
        directory.mkdir(parents=True, exist_ok=True)
        self.csp = csp
        settings = {"after": after, "lvlm_csp": None if csp is None else asdict(csp)}
        record(directory / "cache.json", describe_inputs(model, data) | settings)
        _remove_leftovers(directory)

    def __getitem__(self, index: int) -> Features:
        """Return what is stored of an image, computed now if nothing is.

        Raises:
            ValueError: for a damaged file, by name.
        """
        path = self._path(index)
        if not path.is_file():
            self._write(path, self.data[index])
        try:
            with np.load(path) as arrays:
                return Features(*(torch.from_numpy(arrays[name]) for name in ("tokens", "segs")))
        except (ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is damaged ({error}); remove it, and it is computed again"
            ) from error

    def fill(self, indices: Iterable[int], process: Process = ALONE, progress: bool = True) -> None:
        """Compute what is missing of some images; images that are skipped as bad stay missing.

        Each process begins with a share of its own and goes on with what others have left, from
        the end, so that all is there when it returns and hardly anything is computed twice.

        Args:
            indices: of the images.
            process: which of those that do the same.
            progress: show a bar on stderr, of the first process.

        Raises:
            ValueError: for tokens that float16 cannot hold.
            DataError: for an image that cannot be read, unless bad ones are skipped.
            OSError: naming the file that cannot be written, as on a full disk.
        """
        wanted = sorted(set(indices))
        own = wanted[process.rank :: process.count]
        others = sorted(set(wanted) - set(own), reverse=True)
        missing = [index for index in (*own, *others) if not self._path(index).is_file()]
        shown = progress and process.is_first
        for index in progress_bar(missing, desc="storing", shown=shown, unit="image"):
            number, image = index, None
            if isinstance(self.data, ExpressionImages):
                number, image = self.data.readable(index)
            if not (path := self._path(number)).is_file():
                self._write(path, image or self.data[number])

    def _path(self, index: int) -> Path:
        return self.directory / f"{index:06d}.npz"

    def _write(self, path: Path, image: LabelledScene | ImageExpressions) -> None:
        features = self._compute(reduced(image.image), list(image.texts))
        if not features.tokens.isfinite().all():
            raise ValueError(
                f"{path}: tokens after layer {self.after} are not finite in float16; train without "
                "stored features"
            )
        content = io.BytesIO()
        arrays = {name: tensor.cpu().numpy() for name, tensor in vars(features).items()}
        np.savez(content, **arrays)
        write_whole(path, content.getvalue())

    @torch.inference_mode()
    def _compute(self, image: np.ndarray, texts: list[str]) -> Features:
        """Return what is to be stored of uint8 [H, W, 3] and the questions about it."""
        model = self.model
        pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
        pixels = pixels.to(model.pixel_mean.device)
        tokens = model.stem(model.preprocess(pixels), (self.after,))[0]
        segs = [
            model.reasoner(pixels, [texts[start : start + TEXTS_AT_ONCE]], self.csp)[:, 0]
            for start in range(0, len(texts), TEXTS_AT_ONCE)
        ]
        return Features(tokens.half(), torch.cat(segs).float())


def describe_inputs(model: Vltp, data: TabletopDataset | ExpressionImages) -> dict[str, Any]:
    """Return what tells a dense model and a data set from others, for :func:`record`."""
    digest = hashlib.sha256()
    for part in (model.image_encoder, model.mask_decoder, model.reasoner):
        for tensor in part.state_dict().values():
            digest.update(tensor.float().cpu().numpy().tobytes())
    about = {"model": digest.hexdigest(), "prompt": model.config.prompt}
    about |= {"framing": model.config.framing}
    if isinstance(data, ExpressionImages):
        return {**about, "data": data.identity}
    return {**about, **{name: data.description[name] for name in ("seed", "split")}}


def record(path: Path, settings: dict[str, Any]) -> None:
    """Write what a directory's files were made with, once; ValueError where it was something else.

    What an earlier record does not name is taken to be as it was, or as in EARLIER.
    """
    own = json.loads(json.dumps(settings))  # as it is read: no tuples
    if not path.is_file():
        write_whole(path, json.dumps(own).encode())
        return
    try:
        stored = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); give another directory") from error
    for name, value in own.items():
        if (before := stored.get(name, EARLIER.get(name, value))) != value:
            raise ValueError(
                f"{path}: {name} is {before!r}; it is {value!r} now; give another directory"
            )


def write_whole(path: Path, content: bytes) -> None:
    """Write under a name that no other process has, then rename: a file that exists is whole.

    Raises:
        OSError: naming the file, where that fails, as on a full disk; nothing is left of it then.
    """
    partial_file = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        partial_file.write_bytes(content)
        os.replace(partial_file, path)
    except OSError as error:
        partial_file.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def _remove_leftovers(directory: Path) -> None:
    """Remove what killed processes have half written; it would stay for ever."""
    for path in directory.glob("*.part"):
        try:
            if time.time() - path.stat().st_mtime > STALE_S:
                path.unlink()
        except FileNotFoundError:
            continue  # another process has removed it, or it is whole now
