"""Bars for what takes more than two seconds."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LOG = logging.getLogger(__name__)


def progress_bar(items: Iterable | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """Return a bar on stderr over ``items``, or to be updated by hand.

    It is drawn on a terminal only, and not where warnings are not logged either.

    Args:
        items: what it counts; with None, ``update`` does.
        shown: whether it may be drawn at all.
        options: of tqdm: total, unit, desc and others.
    """
    drawn = shown and LOG.isEnabledFor(logging.WARNING)
    return tqdm(items, disable=None if drawn else True, **options)  # None: unless it is a terminal
