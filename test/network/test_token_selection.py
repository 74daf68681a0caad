from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vltp_ros.network.token_selection import kept_count, oracle_scores, random_scores, top_k


@given(st.integers(1, 5000), st.integers(0, 999))
def test_kept_count_is_the_floor_of_the_exact_product(count, per_mille):
    assert kept_count(count, per_mille / 1000) == max(1, (1000 - per_mille) * count // 1000)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_rates_outside_the_range_are_refused(rate):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        kept_count(100, rate)


@given(st.integers(1, 64), st.floats(0, 0.999), st.integers(0, 2**31))
def test_top_k_keeps_the_best_each_once(count, rate, seed):
    scores = torch.rand(2, count, generator=torch.Generator().manual_seed(seed))
    kept = top_k(scores, rate)
    assert kept.shape == (2, kept_count(count, rate))
    for row, indices in zip(scores, kept, strict=True):
        assert len(set(indices.tolist())) == len(indices)
        dropped = torch.ones(count, dtype=torch.bool)
        dropped[indices] = False
        if dropped.any():
            assert row[indices].min() >= row[dropped].max()


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_gather_then_scatter_is_the_identity(count, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.rand(2, count, 3, generator=generator)
    index = top_k(torch.rand(2, count, generator=generator), 0.5).unsqueeze(-1).expand(-1, -1, 3)
    assert torch.equal(tokens.scatter(1, index, tokens.gather(1, index)), tokens)


def test_oracle_marks_patches_with_any_positive_pixel():
    mask = torch.zeros(1, 64, 64)
    mask[0, 15, 16] = 1  # last row of the first patch row, first column of the second patch
    scores = oracle_scores(mask, (4, 4))
    assert scores.nonzero().tolist() == [[0, 1]]


def test_random_scores_follow_their_generator():
    tokens = torch.zeros(2, 50, 3)
    a, b = (random_scores(tokens, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b) and a.shape == (2, 50) and a.unique().numel() == 100
