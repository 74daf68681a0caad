"""Which image tokens a model keeps, and what it answers: the paper's Figures 4, 5 and 6."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from vltp_ros.data.registry import Dataset
from vltp_ros.data.samples import Sample
from vltp_ros.evaluation.drawing import (
    BACKGROUND,
    EDGE,
    FAINT,
    GAP,
    PANEL_WIDTH,
    TEXT,
    dim,
    shrink,
    verdict,
)
from vltp_ros.evaluation.results_sheet import draw_results
from vltp_ros.evaluation.tabletop import rendered_samples
from vltp_ros.imaging.overlay import tint
from vltp_ros.imaging.pictures import write_png
from vltp_ros.network.config import EncoderConfig
from vltp_ros.network.preprocessing import fitted_size, to_square_frame, valid_grid
from vltp_ros.network.token_selection import oracle_scores
from vltp_ros.progress import progress_bar
from vltp_ros.runtime.session import Session
from vltp_ros.simulation import Split
from vltp_ros.types import Segmentation

RATES = (0.0, 0.5, 0.7, 0.8)  # of Figure 4, and dense
RATES_EVERYWHERE = (0.7,)  # of Figure 5
MOST_SCENES = 10**6  # looked through for answerable tasks

LEFT, TOP = 106, 70  # pixels around the pictures: row labels, task and column titles


def draw_figures(
    session: Session, out: Path, samples: Sequence[Sample], progress: bool = True
) -> list[Path]:
    """Write figure4_1.png, figure5_1.png, figure4_2.png, …, two for each sample, and figure6.png.

    Figure 4 shows the model's own stages at several rates, Figure 5 a stage after every
    global-attention layer but the last block, Figure 6 the answers to all samples.

    Args:
        session: its stages and rates are replaced.
        out: directory, made if missing.
        samples: one or more.
        progress: show a bar on stderr.
    """
    config = session.model.config
    paths = [out / "figure6.png"]
    write_png(paths[0], draw_results(session, samples))
    figures = {
        "figure4": (config.pruning.prune_after, RATES),
        "figure5": (every_stage(config.encoder), RATES_EVERYWHERE),
    }
    for number, sample in enumerate(progress_bar(samples, shown=progress), 1):
        for name, (stages, rates) in figures.items():
            paths.append(out / f"{name}_{number}.png")
            sheet = draw_sheet(session, sample.image, sample.text, stages, rates, sample.mask)
            write_png(paths[-1], sheet)
    return sorted(paths)


def served_scenes(count: int, split: Split, seed: int = 0) -> list[Sample]:
    """Render scenes until ``count`` have a task that something serves, from a seed on.

    Raises:
        ValueError: for an unknown split, a negative seed or a count below 1.
    """
    check_count(count)
    with closing(rendered_samples(split, MOST_SCENES, seed)) as samples:
        return list(islice((sample for sample in samples if sample.mask.any()), count))


def served_entries(datasets: Sequence[Dataset], count: int) -> list[Sample]:
    """Return ``count`` samples that something serves of each data set, spread evenly over it.

    Raises:
        ValueError: for a count that a data set does not have.
        DataError: for an image that cannot be read.
    """
    check_count(count)
    samples = []
    for dataset in datasets:
        served = [entry for entry in dataset.entries if not entry.truth.is_empty]
        if len(served) < count:
            raise ValueError(
                f"count is {count}; {dataset.name} has {len(served)} expressions that are served"
            )
        samples += [served[n * len(served) // count].sample() for n in range(count)]
    return samples


def check_count(count: int) -> None:
    """Raise ValueError for a count below 1."""
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")


def draw_picture(
    session: Session, image: np.ndarray, task: str, rates: Sequence[float] = RATES
) -> np.ndarray:
    """Draw which tokens of anybody's picture are kept at several rates, as Figure 4 does.

    Args:
        session: its rates are replaced.
        image: uint8 [H, W, 3] RGB.
        task: a sentence.
        rates: of pruning, 0..1; 0 is dense.

    Returns:
        uint8 [h, w, 3] RGB.
    """
    return draw_sheet(session, image, task, session.model.config.pruning.prune_after, rates)


def every_stage(config: EncoderConfig) -> tuple[int, ...]:
    """Return all global-attention layers below the last layer, 1-based."""
    return tuple(i + 1 for i in config.global_attn_indexes if i + 1 < config.depth)


def draw_sheet(
    session: Session,
    image: np.ndarray,
    task: str,
    stages: tuple[int, ...],
    rates: Sequence[float],
    truth: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one answer, a row for each rate: uint8 [H, W, 3] RGB.

    Args:
        session: its stages and rates are replaced.
        image: uint8 [H, W, 3] RGB.
        task: a sentence.
        stages: numbers of the layers after which tokens are pruned.
        rates: of pruning, 0..1; 0 is dense.
        truth: bool [H, W], the mask as it should be; None: nobody knows.
    """
    kept = [f"kept after layer {layer}" for layer in stages]
    titles = ["image", *(() if truth is None else ("ground truth",)), *kept, "mask"]
    labels, rows = [], []
    for rate in rates:
        settings = replace(session.settings, prune_after=stages, rates=(rate,), adaptive=False)
        session.configure(settings)
        result = session.segment(image, [task])[0]
        name = f"{rate:.0%} pruned" if rate else "dense"
        labels.append((name, verdict(result, truth)))
        panels = _panels(image, result, len(stages), session.model.config.encoder)
        if truth is not None:
            panels.insert(1, _true_tokens(image, truth, session.model.config.encoder))
        rows.append(panels)
    return _lay_out(task, titles, labels, rows)


def light_patches(image: np.ndarray, patches: np.ndarray, config: EncoderConfig) -> np.ndarray:
    """Draw a small copy of an image in which only some patches are lit.

    Args:
        image: uint8 [H, W, 3] RGB.
        patches: bool [rows, columns], those of the encoder's grid that hold some of the image.
        config: of the encoder.

    Returns:
        uint8 [h, PANEL_WIDTH, 3].
    """
    panel = shrink(image)
    # A patch at the lower or right end may hold less of the image than the others.
    height, width = image.shape[:2]
    fitted = fitted_size(height, width, config.img_size)
    rows, columns = (
        ((np.arange(pixels) + 0.5) * side / pixels / config.patch_size).astype(int)
        for pixels, side in zip(panel.shape[:2], fitted, strict=True)
    )
    return dim(panel, patches[np.ix_(rows, columns)])


def _panels(
    image: np.ndarray, result: Segmentation, stages: int, config: EncoderConfig
) -> list[np.ndarray]:
    """Draw image, what each of so many stages kept, and mask."""
    height, width = image.shape[:2]
    grid = valid_grid((height, width), config.img_size, config.patch_size)
    kept = result.kept or (np.ones(grid, bool),) * stages  # a dense encoder keeps everything
    painted = image.copy()
    tint(painted, result.mask)
    lit = [light_patches(image, patches, config) for patches in kept]
    return [shrink(image), *lit, shrink(painted)]


def _true_tokens(image: np.ndarray, truth: np.ndarray, config: EncoderConfig) -> np.ndarray:
    """Draw the tokens that the true mask, bool [H, W], lies on."""
    masks = torch.from_numpy(truth).unsqueeze(0)
    grid = (config.grid, config.grid)
    scores = oracle_scores(to_square_frame(masks, config.img_size), grid).view(grid).numpy()
    height, width = truth.shape
    rows, columns = valid_grid((height, width), config.img_size, config.patch_size)
    return light_patches(image, scores[:rows, :columns] > 0, config)


def _lay_out(
    task: str,
    titles: Sequence[str],
    labels: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[np.ndarray]],
) -> np.ndarray:
    """Lay pictures out in rows and columns, with the task on top and two lines at each row."""
    height = rows[0][0].shape[0]
    corners_x = [LEFT + column * (PANEL_WIDTH + GAP) for column in range(len(titles))]
    corners_y = [TOP + row * (height + GAP) for row in range(len(rows))]
    size = (corners_x[-1] + PANEL_WIDTH + EDGE, corners_y[-1] + height + EDGE)
    sheet = Image.new("RGB", size, BACKGROUND)
    canvas = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(22), ImageFont.load_default(15)
    canvas.text((LEFT, 24), f"“{task}”", TEXT, large, "lm")
    for x, title in zip(corners_x, titles, strict=True):
        canvas.text((x, TOP - 14), title, FAINT, small, "lm")
    for y, row, (first, second) in zip(corners_y, rows, labels, strict=True):
        canvas.text((EDGE, y + height // 2 - 10), first, TEXT, small, "lm")
        canvas.text((EDGE, y + height // 2 + 10), second, FAINT, small, "lm")
        for x, panel in zip(corners_x, row, strict=True):
            sheet.paste(Image.fromarray(panel), (x, y))
    return np.asarray(sheet)
