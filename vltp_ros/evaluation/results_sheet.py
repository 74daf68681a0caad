"""A sheet of answers beside the truth, as in the paper's Figure 6."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vltp_ros.data.samples import Sample
from vltp_ros.evaluation.drawing import (
    BACKGROUND,
    EDGE,
    FAINT,
    GAP,
    PANEL_WIDTH,
    TEXT,
    shrink,
    verdict,
)
from vltp_ros.imaging.overlay import tint
from vltp_ros.runtime.session import Session

RATES = (0.0, 0.5)
"""Of Figure 6, and dense."""

HEAD, LINE = 24, 52
"""Pixels above the pictures for the columns' titles, and above each row for task and scores."""


@dataclass(frozen=True)
class AnsweredSample:
    """A row of the sheet."""

    task: str
    panels: Sequence[np.ndarray]  # uint8 [h, PANEL_WIDTH, 3], all of one height
    verdicts: Sequence[str]  # below which panel they belong to; "" for none


def draw_results(
    session: Session, samples: Iterable[Sample], rates: Sequence[float] = RATES
) -> np.ndarray:
    """Draw image, truth and the answers at several rates, a row for each sample.

    Args:
        session: its rates are replaced.
        samples: one or more.
        rates: of pruning, 0..1; 0 is dense.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    rows = [_answered(session, sample, rates) for sample in samples]
    answers = [f"VLTP, {rate:.0%} pruned" if rate else "dense" for rate in rates]
    return _lay_out(rows, ["image", "ground truth", *answers])


def _answered(session: Session, sample: Sample, rates: Sequence[float]) -> AnsweredSample:
    masks, verdicts = [sample.mask], ["", ""]
    for rate in rates:
        session.configure(replace(session.settings, rates=(rate,), adaptive=False))
        result = session.segment(sample.image, [sample.text])[0]
        masks.append(result.mask)
        verdicts.append(verdict(result, sample.mask, sample.ignored))
    panels = [shrink(sample.image)]
    for mask in masks:
        painted = sample.image.copy()
        tint(painted, mask)
        panels.append(shrink(painted))
    return AnsweredSample(sample.text, panels, verdicts)


def _lay_out(rows: Sequence[AnsweredSample], titles: Sequence[str]) -> np.ndarray:
    """Lay rows out below each other, with task and verdicts above the pictures."""
    corners = [EDGE + column * (PANEL_WIDTH + GAP) for column in range(len(titles))]
    height = HEAD + sum(LINE + row.panels[0].shape[0] for row in rows) + EDGE
    sheet = Image.new("RGB", (corners[-1] + PANEL_WIDTH + EDGE, height), BACKGROUND)
    canvas = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(17), ImageFont.load_default(13)
    for x, title in zip(corners, titles, strict=True):
        canvas.text((x, HEAD // 2 + 6), title, FAINT, small, "lm")
    y = HEAD
    for row in rows:
        canvas.text((EDGE, y + 22), f"“{shorten(row.task, 80)}”", TEXT, large, "lm")
        for x, panel, said in zip(corners, row.panels, row.verdicts, strict=True):
            canvas.text((x, y + LINE - 10), said, FAINT, small, "lm")
            sheet.paste(Image.fromarray(panel), (x, y + LINE))
        y += LINE + row.panels[0].shape[0]
    return np.asarray(sheet)
