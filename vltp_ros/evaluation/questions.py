"""Accuracy on all questions about stored scenes, by family, and whether a model looks at them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import Tensor

from vltp_ros.data.expressions import ImageExpressions
from vltp_ros.data.scenes import LabelledScene, TabletopDataset
from vltp_ros.evaluation.controls import Control
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.evaluation.tabletop import Setting, mean_cost, score_of
from vltp_ros.network.csp import CspName, csp_config
from vltp_ros.network.run import eager
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.progress import progress_bar
from vltp_ros.runtime.masks import finish_masks
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.transfer import upload

SELECTORS = ("keep_all", "prune_decoder", "random", "oracle")
"""What may choose the tokens here."""

ALL = "all"
"""In place of a family: every question."""


@dataclass(frozen=True)
class Probe:
    """A setting, and what is taken from the model in it."""

    setting: Setting
    control: Control = "none"


@dataclass
class Results:
    """What is measured of a probe."""

    metrics: defaultdict[str, MaskMetrics] = field(default_factory=lambda: defaultdict(MaskMetrics))
    """By family, and of ALL."""
    changes: list[float] = field(default_factory=list)
    """How far <SEG> is from that of the right image, in its length."""
    tokens: list[tuple[int, ...]] = field(default_factory=list)


def evaluate_questions(
    session: Session,
    data: TabletopDataset,
    probes: Sequence[Probe],
    count: int | None = None,
    progress: bool = True,
) -> list[dict]:
    """Ask a model all questions about some scenes, in some settings.

    What settings share is computed once for a scene: <SEG>, and the tokens before the first stage.

    Args:
        session: its stages and its precision are used.
        data: scenes with questions, of edition 2.
        probes: what to compare.
        count: number of scenes, the first ones; None: all of them.
        progress: show a bar on stderr.

    Returns:
        Rows of ``{"split", "family", "selector", "rate", "csp", "control", "giou", "giou_error",
        "ciou", "gmacs", "seg_change", "count"}``, of each family and of all; ``count`` is of
        questions, the error a standard one over them.

    Raises:
        ValueError: for a data set of edition 1 or with too few scenes, or an unknown selector.
    """
    _check(data, probes, count)
    count = len(data) if count is None else count
    results = [Results() for _ in probes]
    for index in progress_bar(range(count), shown=progress, unit="scene"):
        asked = _Asked(session, data[index], data[(index + 1) % len(data)].image, index)
        for probe, result in zip(probes, results, strict=True):
            asked.add(probe, result)
    split = data.description["split"]
    return [
        {
            "split": split,
            "family": family,
            "selector": probe.setting.selector,
            "rate": probe.setting.rate,
            "csp": probe.setting.csp,
            "control": probe.control,
            "giou": metrics.giou,
            "giou_error": metrics.giou_error,
            "ciou": metrics.ciou,
            "gmacs": mean_cost(session, probe.setting.selector, result.tokens),
            "seg_change": float(np.mean(result.changes)),
            "count": len(metrics.ious),
        }
        for probe, result in zip(probes, results, strict=True)
        for family, metrics in sorted(result.metrics.items(), key=lambda row: row[0] != ALL)
    ]


def _check(data: TabletopDataset, probes: Sequence[Probe], count: int | None) -> None:
    if data.edition != 2:
        raise ValueError(f"{data.directory} has edition {data.edition}; it must have edition 2")
    if not 1 <= (len(data) if count is None else count) <= len(data):
        raise ValueError(f"count is {count} and {data.directory} has {len(data)} scenes")
    for probe in probes:
        if probe.setting.selector not in SELECTORS:
            raise ValueError(
                f"selector is {probe.setting.selector!r}; allowed for questions about stored "
                f"scenes: {', '.join(SELECTORS)}"
            )


@dataclass(frozen=True)
class RightAnswer:
    """What a question about an image is to be answered with."""

    family: str  # of the question, the task of a public data set; "" where there is none
    mask: np.ndarray  # bool [H, W]
    ignored: np.ndarray | None = None  # bool [H, W]: what counts neither way; None: nothing


def right_answers(image: LabelledScene | ImageExpressions) -> list[RightAnswer]:
    """Return the right answers to all questions about an image."""
    if isinstance(image, LabelledScene):
        return [RightAnswer(query["family"], image.mask(query)) for query in image.queries]
    return [
        RightAnswer(entry.task, *image.draw(number)) for number, entry in enumerate(image.entries)
    ]


def count_answers(
    metrics: dict[str, MaskMetrics],
    right: Sequence[RightAnswer],
    logits: Tensor,
    side: int,
    threshold: float,
) -> None:
    """Count the answers to all questions about an image, by family and for ALL.

    Args:
        metrics: by family, to which they are added; makes those that are missing.
        right: answers to its Q questions.
        logits: of the answers, [Q, S/4, S/4].
        side: S, pixels.
        threshold: probability above which a pixel belongs to a mask.
    """
    size = right[0].mask.shape[0], right[0].mask.shape[1]
    masks = finish_masks(eager, logits, side, size, threshold)
    if logits.is_cuda:  # what comes down is there once the queue has got so far
        torch.cuda.synchronize(logits.device)
    for number, answer in enumerate(right):
        for family in [ALL, *([answer.family] if answer.family else [])]:
            metrics[family].add(masks.mask(number), answer.mask, answer.ignored)


class _Asked:
    """A scene and a model: what probes share is computed when the first of them needs it."""

    def __init__(
        self, session: Session, scene: LabelledScene, other: np.ndarray, number: int
    ) -> None:
        self.session, self.scene, self.number = session, scene, number
        self.right = right_answers(scene)
        grey = np.full_like(scene.image, 128)
        self.images = {"none": scene.image, "swapped": other, "grey": grey}
        self.segs: Callable[[str, CspName], Tensor] = cache(self._segs)
        self.stem: Callable[[tuple[int, ...]], Tensor] = cache(self._stem)

    @torch.inference_mode()
    def add(self, probe: Probe, result: Results) -> None:
        """Answer the scene's questions in a probe's way, and count the answers."""
        model, setting = self.session.model, probe.setting
        stages = () if setting.selector == "keep_all" else self.session.settings.prune_after
        right = self.segs("none", setting.csp)
        seg = right if probe.control == "ranking" else self.segs(probe.control, setting.csp)
        right_masks = np.stack([answer.mask for answer in self.right])
        score = score_of(self.session, setting.selector, right_masks, self.number)
        score = score or model.score(seg.roll(1, 0) if probe.control == "ranking" else seg)
        tokens = self.stem(stages).expand(len(seg), -1, -1)
        budget = fixed_budget([setting.rate] * len(stages))
        used = self.session.settings
        encoded = model.encode(
            tokens, stages, budget, score, returns=used.returns, merges=used.merges
        )
        logits = model.draw(encoded, seg)
        side, threshold = model.config.encoder.img_size, self.session.settings.threshold
        count_answers(result.metrics, self.right, logits, side, threshold)
        change = (seg - right).norm(dim=2) / right.norm(dim=2)
        result.changes += change.flatten().tolist()
        result.tokens.append(tuple(positions.shape[1] for positions in encoded.kept))

    def _segs(self, view: str, csp: CspName) -> Tensor:
        """Return <SEG> [Q, 1, 256] of all questions, LLaVA seeing one of the images."""
        reasoner = self.session.model.reasoner
        config = csp_config(csp, self.session.settings.csp_selector)
        by_cls = config is not None and config.selector == "cls"
        features = reasoner.encode_image(self._pixels(self.images[view]), cls=by_cls)
        tasks = [query["text"] for query in self.scene.queries]
        return reasoner.reason(features, [tasks], csp=config).seg.float()

    def _stem(self, stages: tuple[int, ...]) -> Tensor:
        model = self.session.model
        return model.stem(model.preprocess(self._pixels(self.scene.image)), stages)

    def _pixels(self, image: np.ndarray) -> Tensor:
        return upload(image, self.session.device).permute(2, 0, 1).unsqueeze(0)
