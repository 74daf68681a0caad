"""Rendering many scenes to disk."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vltp_ros.progress import progress_bar
from vltp_ros.simulation.editions import Edition, edition_of
from vltp_ros.simulation.splits import Split, generator


def generate_dataset(
    out: Path,
    count: int,
    seed: int,
    split: Split,
    workers: int | None = None,
    progress: bool = True,
    edition: int = 1,
) -> None:
    """Render the scenes seed to seed + count - 1 of a split.

    Writes images/<seed>.jpg, masks/<seed>.png (uint8 labels, 0 for no object) and, once these are
    there, scenes/<seed>.json, the seed with six digits. A scene whose JSON exists is not rendered
    again, so a run that was stopped anywhere can be continued, and a later one with a larger count
    adds seeds.

    Args:
        out: directory, made if missing.
        count: number of scenes, 1 or more.
        seed: of the first scene, 0 or more.
        split: one of SPLITS.
        workers: processes; None for one per core.
        progress: show a bar on stderr.
        edition: a key of EDITIONS.

    Raises:
        ValueError: for a bad count, seed, split, edition or number of workers, or if out holds a
            dataset of another split, edition or version, or from another seed on.
        OSError: if a file cannot be written.
    """
    generator(seed, split, stream=0)
    content = edition_of(edition)
    if count < 1:
        raise ValueError(f"count {count} is not positive")
    workers = os.cpu_count() or 1 if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers {workers} is not positive")
    _describe(out, count, seed, split, edition, content)
    seeds = range(seed, seed + count)
    missing = [number for number in seeds if not _scene_path(out, number).exists()]
    bar = progress_bar(total=count, initial=count - len(missing), unit="scene", shown=progress)
    start, seconds = time.perf_counter(), 0.0
    with bar:
        for spent in _render_all(out, split, edition, missing, min(workers, len(missing))):
            seconds += spent
            bar.update()
    if missing:
        _record_speed(out, len(missing), seconds, time.perf_counter() - start)


def _record_speed(out: Path, scenes: int, core_seconds: float, wall_seconds: float) -> None:
    """Add what the latest run took to dataset.json; its opening of renderers is in the latter."""
    path = out / "dataset.json"
    rendering = {
        "scenes": scenes,
        "core_seconds": round(core_seconds, 2),
        "wall_seconds": round(wall_seconds, 2),
    }
    _write_json(path, {**json.loads(path.read_text()), "rendering": rendering})


def _render_all(
    out: Path, split: Split, edition: int, seeds: list[int], workers: int
) -> Iterator[float]:
    """Render seeds in worker processes; yield what each took once it is done.

    The workers end if this is interrupted.
    """
    if not seeds:
        return
    # Forking would copy threads and OpenGL state that do not survive it.
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(workers, initializer=_start_worker) as pool:
        try:
            work = partial(_render_one, out, split, edition)
            yield from pool.imap_unordered(work, seeds, chunksize=4)
        except BaseException:
            pool.terminate()
            raise


def _start_worker() -> None:
    """Leave an interrupt to the parent, which ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The workers share the cores: Mesa's own threads would only get in each other's way.
    os.environ.setdefault("LP_NUM_THREADS", "1")


@cache
def _renderer(edition: int) -> Any:
    """Return the renderer of this worker process.

    It is opened for the first scene: only then can a failure to open one reach the parent.
    """
    return edition_of(edition).open_renderer()


def _render_one(out: Path, split: Split, edition: int, seed: int) -> float:
    """Write the image, mask and description of a scene; return the seconds that a core took."""
    content, renderer = edition_of(edition), _renderer(edition)
    start = time.process_time()
    rendered = renderer.render(content.sample_scene(seed, split))
    image, mask = f"images/{seed:06d}.jpg", f"masks/{seed:06d}.png"
    quality = [cv2.IMWRITE_JPEG_QUALITY, content.quality]
    _write_image(out / image, rendered.image[..., ::-1], quality)
    _write_image(out / mask, rendered.labels, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    record = {"seed": seed, "split": split, "image": image, "mask": mask}
    _write_json(_scene_path(out, seed), {**record, **content.record(rendered)})
    return time.process_time() - start


def _write_image(path: Path, pixels: np.ndarray, options: list[int]) -> None:
    if not cv2.imwrite(str(path), pixels, options):
        raise OSError(f"{path} cannot be written")


def _describe(
    out: Path, count: int, seed: int, split: Split, edition: int, content: Edition
) -> None:
    """Write dataset.json, and make the folders; refuse another kind of data, or other seeds.

    Seeds that do not begin where those of earlier runs do would leave a gap that nothing tells.
    """
    path = out / "dataset.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    own = {"edition": edition, "version": content.version, "split": split, "seed": seed}
    for key, value in own.items() if earlier else ():
        was = {"edition": 1, **earlier}.get(key)
        if was != value:
            raise ValueError(
                f"{path} has {key} {was!r}, not {value!r}; give another directory, or the same "
                "edition, split and first seed and a larger count to add scenes"
            )
    for folder in ("images", "masks", "scenes"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    description = {**own, "count": max(count, earlier.get("count", 0)), **content.describe()}
    if "rendering" in earlier:
        description["rendering"] = earlier["rendering"]
    _write_json(path, description)


def _scene_path(out: Path, seed: int) -> Path:
    return out / "scenes" / f"{seed:06d}.json"


def _write_json(path: Path, content: dict) -> None:
    """Write under another name, then rename: a file that exists is whole."""
    partial_file = path.with_suffix(".partial")
    partial_file.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    os.replace(partial_file, path)
