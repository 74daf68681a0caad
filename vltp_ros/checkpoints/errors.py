"""What goes wrong with models."""

from __future__ import annotations


class ModelError(ValueError):
    """A model that cannot be loaded or written; the message names the file and what is wrong."""
