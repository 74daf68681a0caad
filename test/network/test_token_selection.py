from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vltp_ros.network.token_selection import (
    adaptive_budget,
    fixed_budget,
    kept_count,
    map_scores,
    oracle_scores,
    random_scores,
    spread,
    top_k,
    with_prior,
)


@given(st.integers(1, 5000), st.integers(0, 999))
def test_kept_count_is_the_floor_of_the_exact_product(count, per_mille):
    assert kept_count(count, per_mille / 1000) == max(1, (1000 - per_mille) * count // 1000)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_rates_outside_the_range_are_refused(rate):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        kept_count(100, rate)


@given(st.integers(1, 64), st.data(), st.integers(0, 2**31))
def test_top_k_keeps_the_best_each_once(total, data, seed):
    count = data.draw(st.integers(1, total))
    scores = torch.rand(2, total, generator=torch.Generator().manual_seed(seed))
    kept = top_k(scores, count)
    assert kept.shape == (2, count)
    for row, indices in zip(scores, kept, strict=True):
        assert len(set(indices.tolist())) == count
        dropped = torch.ones(total, dtype=torch.bool)
        dropped[indices] = False
        if dropped.any():
            assert row[indices].min() >= row[dropped].max()


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_gather_then_scatter_is_the_identity(count, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.rand(2, count, 3, generator=generator)
    index = (
        top_k(torch.rand(2, count, generator=generator), (count + 1) // 2)
        .unsqueeze(-1)
        .expand(-1, -1, 3)
    )
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


@pytest.mark.parametrize(
    ("relevant", "expected"),
    [((0, 0), 10), ((10, 3), 10), ((3, 11), 30), ((30, 30), 30), ((31, 0), 60), ((99, 0), 60)],
)
def test_adaptive_budget_is_the_smallest_that_holds_what_matters(relevant, expected):
    scores = torch.full((2, 100), -3.0)  # relevance 0.047
    for row, count in zip(scores, relevant, strict=True):
        row[:count] = -2.0  # relevance 0.119
    assert adaptive_budget((0.1, 0.3, 0.6), 0.1)(0, scores) == expected


@pytest.mark.parametrize(
    ("rate", "multiple", "expected"), [(0.5, 1, 50), (0.5, 8, 56), (0.01, 8, 100), (0.0, 128, 100)]
)
def test_counts_can_be_rounded_up_to_a_multiple(rate, multiple, expected):
    scores = torch.zeros(1, 100)
    assert fixed_budget((rate,), multiple)(0, scores) == expected
    shares = (1 - rate,) if rate else (1.0,)
    assert adaptive_budget(shares, 0.9, multiple)(0, scores) == expected


@pytest.mark.parametrize(
    ("shares", "threshold", "reason"),
    [
        ((), 0.5, r"shares is \(\)"),
        ((0.5, 0.2), 0.5, "must ascend"),
        ((0.0, 0.5), 0.5, "above 0"),
        ((0.5, 1.1), 0.5, "up to 1"),
        ((0.5,), 0.0, "threshold is 0.0"),
        ((0.5,), 1.0, "threshold is 1.0"),
    ],
)
def test_bad_budgets_are_refused(shares, threshold, reason):
    with pytest.raises(ValueError, match=reason):
        adaptive_budget(shares, threshold)


def test_a_map_ranks_the_patches_under_it_and_the_padding_last():
    relevance = torch.zeros(1, 3, 4)
    relevance[0, 0, 3] = 1.0  # the upper right of the image
    relevance[0, 2, 0] = -1.0
    scores = map_scores(relevance, (480, 640), side=512, grid=32).view(32, 32)
    assert scores[:8, 24:].min() > scores[:, :16].max()
    assert (scores[24:] == scores.min()).all()


def test_the_last_mask_lifts_its_patches_and_their_neighbours():
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 16:32, 16:32] = True  # patch (1, 1) of 4 x 4
    score = with_prior(lambda stage, tokens: torch.zeros(1, 16), mask, (4, 4), 2.0)
    lifted = score(0, torch.zeros(1, 16, 8)).view(4, 4)
    assert (lifted[:3, :3] == 2).all() and lifted.sum() == 9 * 2


def test_spreading_gives_neighbours_a_share_and_keeps_what_is_even():
    peak = torch.zeros(2, 4, 5)
    peak[0, 1, 2] = 9.0
    mean = spread(peak)
    assert mean.shape == peak.shape and mean[0, 1, 2] == mean[0, 0, 1] == 1.0
    assert mean[0, 3].sum() == 0 and mean[1].sum() == 0
    assert torch.allclose(spread(torch.ones(1, 3, 3)), torch.ones(1, 3, 3))
