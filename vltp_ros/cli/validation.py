"""The options of commands that validate while they train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn

    from vltp_ros.data.scenes import TabletopDataset
    from vltp_ros.network.vltp import Vltp
    from vltp_ros.training.batches import Source
    from vltp_ros.training.validation import Validation


@dataclass(kw_only=True)
class ValidationOptions:
    """Whether and how to validate while training; none of it changes what is learnt."""

    val: Path | None = None
    """Data set of held-out scenes, e.g. of `vltp scenes --split val`; losses.jsonl gets what is
    measured on them: the losses and, of stages that draw masks, gIoU on all questions, pruned at
    the prune stage's first rate."""
    val_every: int = 500
    """Steps between validations; there is one after the last step too."""
    val_count: int = 32
    """Number of scenes to validate on, the first ones, or of images of --val-dataset, spread over
    it; all of them if there are fewer."""

    keep: Literal["last", "best"] = "last"
    """Weights that --out gets: those of the last step, or of the best validation (the highest gIoU,
    of stages that draw no masks the lowest loss), which a run keeps in best.pt."""

    def kept(self, stage: nn.Module, run: Path) -> str:
        """Give a trained stage the weights to keep; return what model.yaml says of it, if anything.

        Raises:
            ValueError: for a run whose best weights are missing or damaged.
        """
        if self.keep == "last":
            return ""
        from vltp_ros.training.best import take_best

        return f"; kept after step {take_best(stage, run)}, the best validation"

    def check_counts(self) -> None:
        """Raise ValueError for a number of steps or scenes below 1."""
        for name in ("val_every", "val_count"):
            if getattr(self, name) < 1:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(f"{option} is {getattr(self, name)}; it must be at least 1")

    def held_out(
        self, training: TabletopDataset, source_of: Callable[[TabletopDataset], Source]
    ) -> Source | None:
        """Return what draws the scenes to validate on, made by ``source_of``; None for none.

        Raises:
            ValueError: for scenes of another edition, or those to train on.
        """
        self.check_counts()
        if self.val is None:
            return None
        from vltp_ros.data.scenes import TabletopDataset

        data = TabletopDataset(self.val)
        if data.edition != training.edition:
            raise ValueError(
                f"--val {self.val} has edition {data.edition}; it must have that of --data, "
                f"{training.edition}"
            )
        if data.identity == training.identity:
            raise ValueError(f"--val {self.val} has the scenes of --data; give others")
        return source_of(data)

    def validation(
        self, source: Source | None, model: Vltp, rate: float | None
    ) -> Validation | None:
        """Return what validates a model that is being trained; None for nothing.

        Args:
            source: of what is held out.
            model: of the stage.
            rate: share of tokens to freeze; None: the stage draws no masks.

        Raises:
            ValueError: where the best weights are to be kept, and nothing says which these are.
        """
        if source is None:
            if self.keep == "best":
                raise ValueError("--keep is best; it needs --val, or with --dataset --val-dataset")
            return None
        from vltp_ros.data.expressions import ExpressionImages
        from vltp_ros.data.scenes import TabletopDataset
        from vltp_ros.evaluation.validation import expressions_giou, scenes_giou
        from vltp_ros.training.validation import Validation

        data = source.data
        count = min(self.val_count, len(data))
        if rate is None:
            return Validation(source, self.val_every, count)
        config = source.config
        csp, reactivation = config.reasoning, {"returns": not config.no_return}
        reactivation["merges"] = not config.no_merge

        def measure() -> dict[str, float]:
            if isinstance(data, ExpressionImages):
                return {"giou": expressions_giou(model, data, count, rate, csp, **reactivation)}
            assert isinstance(data, TabletopDataset)
            return {"giou": scenes_giou(model, data, count, rate, csp, **reactivation)}

        return Validation(source, self.val_every, count, measure)
