"""A few seconds of chaos; `python test/node/chaos.py` is for more."""

from __future__ import annotations

import pytest
from chaos import chaos


@pytest.mark.slow
def test_whatever_happens_every_request_is_answered_and_the_node_works_on():
    counts = chaos(seconds=10.0, seed=5)
    assert counts["lost answers"] == 0
    for name in ("transitions", "answers", "refusals", "masks", "clock jumps"):
        assert counts[name], counts
