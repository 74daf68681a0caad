"""Accuracy and cost of a model on tabletop scenes, for several rates and selectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from vltp_ros.data.samples import Sample
from vltp_ros.evaluation.flops import model_gmacs
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.network.csp import CspName
from vltp_ros.network.preprocessing import to_square_frame
from vltp_ros.network.token_selection import (
    SELECTORS,
    Score,
    oracle_scores,
    random_scores,
)
from vltp_ros.progress import progress_bar
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import ResolvedSettings
from vltp_ros.simulation import Split, edition_of
from vltp_ros.types import Segmentation


@dataclass(frozen=True)
class Setting:
    """One row of a table."""

    selector: str
    rate: float = 0.0  # share frozen at every stage; not for ``keep_all`` and ``adaptive``
    csp: CspName = "off"  # image tokens of LLaVA's layers


DEFAULT_SETTINGS = (
    Setting("keep_all"),
    Setting("prune_decoder", 0.5),
    Setting("prune_decoder", 0.7),
    Setting("prune_decoder", 0.8),
    Setting("random", 0.5),
)


def rendered_samples(
    split: Split, count: int, seed: int = 0, edition: int = 1
) -> Generator[Sample, None, None]:
    """Render ``count`` scenes of a split, from ``seed`` on, and yield their first queries."""
    content = edition_of(edition)
    with content.open_renderer() as renderer:
        for number in range(seed, seed + count):
            rendered = renderer.render(content.sample_scene(number, split))
            query = rendered.queries[0]
            yield Sample(rendered.image, query.text, np.isin(rendered.labels, query.objects))


def evaluate(
    session: Session,
    split: Split,
    count: int,
    settings: Sequence[Setting] = DEFAULT_SETTINGS,
    progress: bool = True,
) -> list[dict]:
    """Measure accuracy and cost of a model in some settings, all on the same samples.

    Args:
        session: its stages are used, its rates are replaced.
        split: of the scenes.
        count: number of scenes, one task each.
        settings: what to compare.
        progress: show a bar on stderr.

    Returns:
        Rows of ``{"split", "selector", "rate", "csp", "giou", "giou_error", "ciou", "gmacs",
        "count"}``; the error is a standard one over the scenes, None for one scene.

    Raises:
        ValueError: for an unknown split or selector, or a count below 1.
    """
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    check_settings(settings)
    metrics = [MaskMetrics() for _ in settings]
    tokens: list[list[tuple[int, ...]]] = [[] for _ in settings]
    samples = rendered_samples(split, count)
    for number, sample in enumerate(progress_bar(samples, total=count, shown=progress)):
        for setting, metric, ran in zip(settings, metrics, tokens, strict=True):
            result = answer(session, setting, sample, number)
            metric.add(result.mask, sample.mask)
            ran.append(result.tokens)
    return [
        {
            "split": split,
            "selector": setting.selector,
            "rate": mean_rate(session, ran) if setting.selector == "adaptive" else setting.rate,
            "csp": setting.csp,
            "giou": metric.giou,
            "giou_error": metric.giou_error,
            "ciou": metric.ciou,
            "gmacs": mean_cost(session, setting.selector, ran),
            "count": count,
        }
        for setting, metric, ran in zip(settings, metrics, tokens, strict=True)
    ]


def check_settings(settings: Sequence[Setting]) -> None:
    """Raise ValueError for an unknown selector."""
    for setting in settings:
        if setting.selector not in SELECTORS:
            raise ValueError(f"selector is {setting.selector!r}; allowed: {', '.join(SELECTORS)}")


def answer(session: Session, setting: Setting, sample: Sample, seed: int) -> Segmentation:
    """Answer a sample in a setting, which stays the session's.

    Args:
        session: its stages are used, its rates are replaced.
        setting: a row of a table.
        sample: its mask is what an oracle knows.
        seed: of what is drawn.
    """
    session.configure(_settings(session, setting))
    score = score_of(session, setting.selector, sample.mask[None], seed)
    return session.segment(sample.image, [sample.text], score)[0]


def _settings(session: Session, setting: Setting) -> ResolvedSettings:
    """Return the session's settings for a row of the table."""
    return replace(
        session.settings,
        rates=(setting.rate,),
        adaptive=setting.selector == "adaptive",
        selector="attention" if setting.selector == "attention" else "prune_decoder",
        csp=setting.csp,
    )


def score_of(session: Session, selector: str, masks: np.ndarray, seed: int) -> Score | None:
    """Return the ranking that a selector stands for; None for one of the session's own.

    Args:
        session: whose model and device are used.
        selector: one of SELECTORS.
        masks: bool [T, H, W], the right answers of T tasks on an image.
        seed: of what is drawn.
    """
    config = session.model.config.encoder
    if selector == "random":
        generator = torch.Generator().manual_seed(seed)
        return lambda stage, tokens: random_scores(tokens, generator)
    if selector == "oracle":
        square = to_square_frame(torch.from_numpy(masks), config.img_size)
        scores = oracle_scores(square, (config.grid, config.grid)).to(session.device)
        return lambda stage, tokens: scores
    return None


def mean_rate(session: Session, ran: list[tuple[int, ...]]) -> float:
    """Return the share of tokens frozen, mean over samples and stages."""
    return 1 - float(np.mean(ran)) / session.model.config.encoder.grid**2


def mean_cost(session: Session, selector: str, ran: list[tuple[int, ...]]) -> float:
    """Return the encoder's GMACs, mean over samples, with the prune decoder's where that ranks.

    Args:
        session: whose model and stages are counted.
        selector: one of SELECTORS.
        ran: for each sample, how many tokens each stage ran; () where nothing was pruned.
    """
    config = session.model.config
    total = 0.0
    for tokens, times in Counter(ran).items():
        stages = session.settings.prune_after if tokens else ()
        rates = tuple(1 - count / config.encoder.grid**2 for count in tokens)
        counted = model_gmacs(config, stages, rates)
        cost = counted["gmacs"]
        if selector not in ("prune_decoder", "adaptive"):
            cost -= len(stages) * counted["prune_decoder_gmacs"]
        total += times * cost
    return total / len(ran)
