"""vltp scenes: render a dataset of tabletop scenes."""

import time
from dataclasses import dataclass
from pathlib import Path

from vltp_ros.cli.options import Command
from vltp_ros.simulation import EditionNumber, Split


@dataclass
class Scenes(Command):
    """Render tabletop scenes with masks of objects and queries; a stopped run can be continued."""

    count: int
    """Number of scenes, those that are in --out already included."""
    out: Path
    """Directory to write to, made if missing."""
    seed: int = 0
    """Seed of the first scene in --out, 0 or more; the other scenes have the seeds after it."""
    split: Split = "train"
    """Split of the scenes; uncommon has looks and phrasings that no other split shows."""
    workers: int | None = None
    """Number of processes; one per core if not given."""
    edition: EditionNumber = 1
    """Edition of the scenes: 1 has a few objects each, 2 is crowded."""


def run(args: Scenes) -> dict:
    """Render the dataset; ValueError if an argument is out of range."""
    from vltp_ros.simulation import generate_dataset

    start = time.perf_counter()
    generate_dataset(
        args.out, args.count, args.seed, args.split, args.workers, edition=args.edition
    )
    return {
        "out": str(args.out),
        "split": args.split,
        "seed": args.seed,
        "count": args.count,
        "seconds": round(time.perf_counter() - start, 3),
    }
