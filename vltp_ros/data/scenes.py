"""Data sets written by ``vltp scenes``."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from vltp_ros.data.samples import Sample


@dataclass(frozen=True)
class LabelledScene:
    """One rendered scene with every label that it carries."""

    image: np.ndarray  # uint8 [H, W, 3] RGB
    labels: np.ndarray  # uint8 [H, W]: 0 = no object, i = the i-th object
    objects: tuple[dict, ...]  # {"label", "kind", "colour", "area", ...}, in the order of labels
    queries: tuple[dict, ...]  # {"task", "text", "objects": labels that serve}

    @property
    def kinds(self) -> tuple[str | None, ...]:
        """Return the kinds of the objects; None for a distractor, which has none."""
        return tuple(one["kind"] for one in self.objects)

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the sentences of the queries."""
        return tuple(query["text"] for query in self.queries)

    def mask(self, query: dict) -> np.ndarray:
        """Return bool [H, W]: the visible pixels of the objects that serve the query."""
        return np.isin(self.labels, query["objects"])


class TabletopDataset:
    """A directory of rendered scenes."""

    def __init__(self, directory: Path | str) -> None:
        """Open a finished or growing data set; ValueError for a directory that is none."""
        self.directory = Path(directory)
        path = self.directory / "dataset.json"
        if not path.is_file():
            raise ValueError(f"{path} does not exist; `vltp scenes` writes a data set")
        self.description = json.loads(path.read_text())
        self.kinds: tuple[str, ...] = tuple(self.description["kinds"])
        self.edition: int = self.description.get("edition", 1)

    @cached_property
    def scenes(self) -> list[Path]:
        """Return the scenes' JSON files, in the order of their seeds."""
        return sorted((self.directory / "scenes").glob("*.json"))

    @cached_property
    def identity(self) -> str:
        """Return what tells these scenes from others, in words and with a digest of the index."""
        about = {k: v for k, v in self.description.items() if k not in ("count", "rendering")}
        index = json.dumps([about, [path.stem for path in self.scenes]], sort_keys=True)
        digest = hashlib.sha256(index.encode()).hexdigest()[:12]
        return (
            f"{len(self)} {about['split']} scenes of edition {self.edition} from seed "
            f"{about['seed']} ({digest})"
        )

    def __len__(self) -> int:
        """Return the number of scenes so far."""
        return len(self.scenes)

    def __getitem__(self, index: int) -> LabelledScene:
        """Read a scene; ValueError for files that cannot be read."""
        scene = json.loads(self.scenes[index].read_text())
        image = cv2.imread(str(self.directory / scene["image"]), cv2.IMREAD_COLOR)
        labels = cv2.imread(str(self.directory / scene["mask"]), cv2.IMREAD_UNCHANGED)
        if image is None or labels is None:
            raise ValueError(f"{self.scenes[index]}: its image or mask cannot be read")
        return LabelledScene(
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB),
            labels,
            tuple(scene["objects"]),
            tuple(scene["queries"]),
        )

    def size(self, index: int) -> tuple[int, int]:
        """Return a scene's height and width, pixels, from the first bytes of its mask."""
        path = self.directory / "masks" / f"{self.scenes[index].stem}.png"
        with path.open("rb") as file:
            width, height = struct.unpack(">II", file.read(24)[16:])
        return height, width

    def sample(self, index: int) -> Sample:
        """Return a scene's first query, which is drawn to be representative."""
        scene = self[index]
        query = scene.queries[0]
        return Sample(scene.image, query["text"], scene.mask(query))
