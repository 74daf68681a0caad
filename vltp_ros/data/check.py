"""Whether data sets are complete and right: counts, images, polygons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vltp_ros.data.entries import DataError, Entry
from vltp_ros.data.registry import Dataset, read_dataset, reader_of
from vltp_ros.data.truths import Size
from vltp_ros.progress import progress_bar

Checked = dict[tuple[Path, Size | None], DataError | None]
"""Image and stated size -> what is wrong with it; None: nothing."""


def check_datasets(names: Sequence[str], root: Path) -> Iterator[dict]:
    """Read data sets, decode all their images, and say what is wrong.

    A bar on a terminal shows how far it is. An image that several data sets have is decoded once.

    Args:
        names: of the data sets.
        root: folder of all data sets.

    Yields:
        For each ``{"dataset", "images", "expressions", "tasks", "empty", "bad", "missing",
        "publisher"}``: how many images and expressions can be used, for how many tasks, how many of
        the expressions nothing serves; what is wrong and what is missing, a line each; and where
        the owners publish it.

    Raises:
        ValueError: for an unknown name or a root that is no folder.
    """
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; data sets lie in folders of it")
    checked: Checked = {}
    for reader, name in [(reader_of(name)[0], name) for name in names]:
        try:
            dataset = read_dataset(name, root)
        except DataError as error:
            dataset = Dataset(name, (), (error,), 0, ())
        _decode(dataset, checked)
        good = [e for e in dataset.entries if checked[e.image, e.size] is None]
        images = dict.fromkeys((e.image, e.size) for e in dataset.entries)
        problems = [*dataset.problems, *(p for key in images if (p := checked[key]) is not None)]
        yield {
            "dataset": name,
            "images": len({entry.image for entry in good}),
            "expressions": len(good),
            "tasks": len({entry.task for entry in good if entry.task}),
            "empty": sum(entry.truth.is_empty for entry in good),
            "bad": [str(problem) for problem in problems if not problem.missing],
            "missing": [str(problem) for problem in problems if problem.missing],
            "publisher": reader.publisher,
        }


def _decode(dataset: Dataset, checked: Checked) -> None:
    """Decode the images that are not in ``checked`` yet, and add them."""
    by_image = {(entry.image, entry.size): entry for entry in dataset.entries}
    new = {key: entry for key, entry in by_image.items() if key not in checked}
    with ThreadPoolExecutor() as pool:
        results = progress_bar(
            pool.map(_image_problem, new.values()), total=len(new), desc=dataset.name, unit="image"
        )
        checked.update(zip(new, results, strict=True))


def _image_problem(entry: Entry) -> DataError | None:
    try:
        entry.pixels()
    except DataError as error:
        return error
    return None
