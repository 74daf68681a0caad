"""Rendering many scenes to disk."""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from tqdm import tqdm

from vltp_ros.simulation.camera import HEIGHT, WIDTH
from vltp_ros.simulation.sampling import sample_scene
from vltp_ros.simulation.scene import ObjectInstance
from vltp_ros.simulation.shapes import KINDS
from vltp_ros.simulation.splits import Split, generator
from vltp_ros.simulation.tasks import TASKS

if TYPE_CHECKING:  # MuJoCo is imported when the first scene is rendered
    from vltp_ros.simulation.render import SceneRenderer

VERSION = 1  # of the files written here: raise it whenever a seed no longer gives the same scene


def generate_dataset(
    out: Path,
    count: int,
    seed: int,
    split: Split,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Render the scenes seed to seed + count - 1 of a split.

    Writes images/<seed>.jpg, masks/<seed>.png (uint8 labels, 0 for no object) and, once these are
    there, scenes/<seed>.json, the seed with six digits. A scene whose JSON exists is not rendered
    again, so a run that was stopped anywhere can be continued, and a later one can add seeds.

    Args:
        out: directory, made if missing.
        count: number of scenes, 1 or more.
        seed: of the first scene, 0 or more.
        split: one of SPLITS.
        workers: processes; None for one per core.
        progress: show a bar on stderr.

    Raises:
        ValueError: for a bad count, seed, split or number of workers, or if out holds a dataset
            of another split or version.
        OSError: if a file cannot be written.
    """
    generator(seed, split, stream=0)
    if count < 1:
        raise ValueError(f"count {count} is not positive")
    workers = os.cpu_count() or 1 if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers {workers} is not positive")
    for folder in ("images", "masks", "scenes"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    _describe(out, count, seed, split)
    seeds = range(seed, seed + count)
    missing = [number for number in seeds if not _scene_path(out, number).exists()]
    bar = tqdm(total=count, initial=count - len(missing), unit="scene", disable=not progress)
    with bar:
        for _ in _render_all(out, split, missing, min(workers, len(missing))):
            bar.update()


def _render_all(out: Path, split: Split, seeds: list[int], workers: int) -> Iterator[int]:
    """Render seeds in worker processes and yield each once it is done; end these if interrupted."""
    if not seeds:
        return
    # Forking would copy threads and OpenGL state that do not survive it.
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(workers, initializer=_start_worker) as pool:
        try:
            yield from pool.imap_unordered(partial(_render_one, out, split), seeds, chunksize=4)
        except BaseException:
            pool.terminate()
            raise


def _start_worker() -> None:
    """Leave an interrupt to the parent, which ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The workers share the cores: Mesa's own threads would only get in each other's way.
    os.environ.setdefault("LP_NUM_THREADS", "1")


@cache
def _renderer() -> "SceneRenderer":
    """Return the renderer of this worker process.

    It is opened for the first scene: only then can a failure to open one reach the parent.
    """
    from vltp_ros.simulation.render import SceneRenderer

    return SceneRenderer()


def _render_one(out: Path, split: Split, seed: int) -> int:
    """Write the image, mask and description of a scene, and return its seed."""
    rendered = _renderer().render(sample_scene(seed, split))
    image, mask = f"images/{seed:06d}.jpg", f"masks/{seed:06d}.png"
    _write_image(out / image, rendered.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    _write_image(out / mask, rendered.labels, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    areas = np.bincount(rendered.labels.ravel(), minlength=len(rendered.objects) + 1)
    record = {
        "seed": seed,
        "split": split,
        "image": image,
        "mask": mask,
        "objects": [
            _describe_object(label, item, int(areas[label]))
            for label, item in enumerate(rendered.objects, 1)
        ],
        "queries": [
            {"task": query.task, "text": query.text, "objects": list(query.objects)}
            for query in rendered.queries
        ],
    }
    _write_json(_scene_path(out, seed), record)
    return seed


def _write_image(path: Path, pixels: np.ndarray, options: list[int]) -> None:
    if not cv2.imwrite(str(path), pixels, options):
        raise OSError(f"{path} cannot be written")


def _describe_object(label: int, item: ObjectInstance, area: int) -> dict:
    return {
        "label": label,
        "kind": item.kind,
        "shape": item.shape,
        "colour": item.colour,
        "material": item.material,
        "area": area,
    }


def _describe(out: Path, count: int, seed: int, split: Split) -> None:
    """Write dataset.json for these seeds and those of earlier runs; refuse another kind of data."""
    path = out / "dataset.json"
    if path.exists():
        earlier = json.loads(path.read_text())
        for key, value in (("split", split), ("version", VERSION)):
            if earlier.get(key) != value:
                raise ValueError(f"{path} has {key} {earlier.get(key)!r}, not {value!r}")
        stop = max(seed + count, earlier["seed"] + earlier["count"])
        seed = min(seed, earlier["seed"])
        count = stop - seed
    tasks = [{"name": task.name, "kinds": sorted(task.kinds)} for task in TASKS]
    _write_json(path, {
        "version": VERSION, "split": split, "seed": seed, "count": count, "width": WIDTH,
        "height": HEIGHT, "kinds": list(KINDS), "tasks": tasks,
    })  # fmt: skip


def _scene_path(out: Path, seed: int) -> Path:
    return out / "scenes" / f"{seed:06d}.json"


def _write_json(path: Path, content: dict) -> None:
    """Write under another name, then rename: a file that exists is whole."""
    partial_file = path.with_suffix(".partial")
    partial_file.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial_file, path)
