"""The options of commands that train: on which data, and on which they validate meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vltp_ros.cli.validation import ValidationOptions

if TYPE_CHECKING:
    from vltp_ros.data.scenes import TabletopDataset
    from vltp_ros.training.batches import Source
    from vltp_ros.training.config import TrainConfig
    from vltp_ros.training.public_batches import ExpressionSource

LOG = logging.getLogger(__name__)


@dataclass(kw_only=True)
class TrainingDataOptions(ValidationOptions):
    """Public data sets to train on and to validate on, instead of scenes, and whose settings."""

    preset: Literal["paper", "authors"] | None = None
    """Settings of the paper or of its authors' code, which those given beside it override;
    docs/reproduce.md lists both. For `vltp finetune`, and the prune stage of `vltp train`."""
    dataset: tuple[str, ...] = ()
    """Public data sets in --data to train on instead of scenes, one or more, e.g. rio-train
    coco-tasks-train; docs/reproduce.md has all names, and says where the files belong."""
    skip_bad: bool = False
    """With --dataset: leave out bad entries, missing images and those that cannot be decoded."""
    val_dataset: tuple[str, ...] = ()
    """With --dataset: public data sets in --data to validate on as --val does on scenes, one or
    more, e.g. rio-val; images that are trained on are left out."""

    @property
    def trained_on(self) -> str:
        """What the model learns from, as model.yaml says it."""
        from vltp_ros.training.provenance import SCENES

        return ", ".join(self.dataset) or SCENES

    def sources(
        self,
        directory: Path,
        config: TrainConfig,
        of_scenes: Callable[[TabletopDataset], Source],
    ) -> tuple[Source, Source | None]:
        """Return what draws the batches to train on, and those to validate on; None for none.

        Args:
            directory: the scenes, or with ``dataset`` the folder of the public data sets.
            config: settings of the training.
            of_scenes: makes the source of a data set of scenes.

        Raises:
            ValueError: for options that have no effect, and data that does not fit or is bad.
        """
        if self.dataset:
            return self._public(directory, config)
        for name in ("skip_bad", "val_dataset"):
            if getattr(self, name):
                raise ValueError(f"--{name.replace('_', '-')} is given; it needs --dataset")
        from vltp_ros.data.scenes import TabletopDataset

        data = TabletopDataset(directory)
        return of_scenes(data), self.held_out(data, of_scenes)

    def _public(
        self, root: Path, config: TrainConfig
    ) -> tuple[ExpressionSource, ExpressionSource | None]:
        """Return the sources of public data sets."""
        from vltp_ros.data.expressions import ExpressionImages
        from vltp_ros.training.public_batches import ExpressionSource

        if self.val is not None:
            raise ValueError(f"--val is {self.val}; with --dataset give --val-dataset")
        self.check_counts()
        data = ExpressionImages(self.dataset, root, "train", self.skip_bad, option="--dataset")
        source, option = ExpressionSource(data, config), "--val-dataset"
        if not self.val_dataset:
            return source, None
        val = ExpressionImages(
            self.val_dataset, root, "val", self.skip_bad, data.paths, option=option
        )
        if val.left_out:
            words = " ".join(self.val_dataset)
            LOG.info("%s: %d images are trained on and left out of %s", option, val.left_out, words)
        return source, ExpressionSource(val, config)
