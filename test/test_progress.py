"""Bars are drawn where somebody sees them."""

from __future__ import annotations

import io
import logging
import sys

from vltp_ros.checkpoints.model_directory import load_model
from vltp_ros.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def write_to(monkeypatch, stream):
    """Stand in for stderr; in the test itself, as pytest has its own before and after."""
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch):
    terminal = write_to(monkeypatch, Terminal())
    assert list(progress_bar([1, 2], desc="rows")) == [1, 2]
    assert "rows: 100%" in terminal.getvalue()
    file = write_to(monkeypatch, io.StringIO())
    assert list(progress_bar([1, 2])) == [1, 2] and file.getvalue() == ""


def test_no_bar_where_it_is_not_wanted(monkeypatch):
    terminal = write_to(monkeypatch, Terminal())
    assert list(progress_bar([1, 2], shown=False)) == [1, 2]
    logging.disable(logging.WARNING)
    try:
        assert list(progress_bar([1, 2])) == [1, 2]
    finally:
        logging.disable(logging.NOTSET)
    assert terminal.getvalue() == ""


def test_loading_a_model_shows_a_bar(base, monkeypatch):
    terminal = write_to(monkeypatch, Terminal())
    load_model(base)
    text = terminal.getvalue()
    assert "Checksums" in text and "Loading weights" in text
    assert text.endswith("\r")  # gone when done
