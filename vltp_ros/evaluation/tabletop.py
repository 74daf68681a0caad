"""Accuracy and cost of a model on tabletop scenes, for several rates and selectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from vltp_ros.data.samples import Sample
from vltp_ros.evaluation.flops import encoder_gmacs
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.network.preprocessing import to_square_frame
from vltp_ros.network.token_selection import SELECTORS, Score, oracle_scores, random_scores
from vltp_ros.runtime.session import Session
from vltp_ros.simulation import SceneRenderer, sample_scene


@dataclass(frozen=True)
class Setting:
    """One row of a table."""

    selector: str
    rate: float  # share of tokens frozen at every stage; 0 for ``keep_all``


DEFAULT_SETTINGS = (
    Setting("keep_all", 0.0),
    Setting("prune_decoder", 0.5),
    Setting("prune_decoder", 0.7),
    Setting("prune_decoder", 0.8),
    Setting("random", 0.5),
)


def rendered_samples(split: str, count: int, seed: int = 0) -> Iterator[Sample]:
    """The first query of ``count`` scenes of a split, from ``seed`` on."""
    with SceneRenderer() as renderer:
        for number in range(seed, seed + count):
            rendered = renderer.render(sample_scene(number, split))
            query = rendered.queries[0]
            mask = torch.isin(
                torch.from_numpy(rendered.labels), torch.tensor(query.objects, dtype=torch.uint8)
            )
            yield Sample(rendered.image, query.text, mask.numpy())


def evaluate(
    session: Session,
    split: str,
    count: int,
    settings: Sequence[Setting] = DEFAULT_SETTINGS,
    progress: bool = True,
) -> list[dict]:
    """Rows of ``{"split", "selector", "rate", "giou", "ciou", "gmacs", "count"}``.

    Args:
        session: its stages are used, its rates are replaced.
        split: of the scenes: train, val, test or uncommon.
        count: number of scenes, one task each.
        settings: what to compare, all on the same samples.
        progress: show a bar on stderr.

    Raises:
        ValueError: for an unknown split or selector, or a count below 1.
    """
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    for setting in settings:
        if setting.selector not in SELECTORS:
            raise ValueError(f"selector is {setting.selector!r}; allowed: {', '.join(SELECTORS)}")
    metrics = [MaskMetrics() for _ in settings]
    samples = rendered_samples(split, count)
    for number, sample in enumerate(tqdm(samples, total=count, disable=not progress)):
        for setting, metric in zip(settings, metrics, strict=True):
            session.configure(rates=(setting.rate,))
            score = _score(session, setting, sample, number)
            result = session.segment(sample.image, [sample.text], score)[0]
            metric.add(result.mask, sample.mask)
    return [
        {
            "split": split,
            "selector": setting.selector,
            "rate": setting.rate,
            "giou": metric.giou,
            "ciou": metric.ciou,
            "gmacs": _cost(session, setting),
            "count": count,
        }
        for setting, metric in zip(settings, metrics, strict=True)
    ]


def _score(session: Session, setting: Setting, sample: Sample, number: int) -> Score | None:
    """The ranking that a selector stands for; None is the prune decoder's."""
    encoder = session.model.config.encoder
    if setting.selector == "random":
        generator = torch.Generator().manual_seed(number)
        return lambda stage, tokens: random_scores(tokens, generator)
    if setting.selector == "oracle":
        mask = torch.from_numpy(sample.mask).unsqueeze(0)
        square = to_square_frame(mask, encoder.img_size)
        scores = oracle_scores(square, (encoder.grid,) * 2).to(session.device)
        return lambda stage, tokens: scores
    return None


def _cost(session: Session, setting: Setting) -> float:
    """GMACs of the encoder; only the prune decoder's own ranking costs anything on top."""
    config = session.model.config
    stages = session.prune_after if setting.rate else ()
    counted = encoder_gmacs(
        config.encoder, config.prune_decoder, stages, (setting.rate,) * len(stages)
    )
    if setting.selector == "prune_decoder":
        return counted["gmacs"]
    return counted["gmacs"] - len(stages) * counted["prune_decoder_gmacs"]
