"""Deviations and the soft maximum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.judging.scoring import WEIGHTS, deviations, soft_maximum
from assay.references.snapshot import Spread

SCORES = st.lists(st.floats(-8, 8), min_size=6, max_size=6)


@pytest.mark.parametrize("items", [4, 8, 16, 64])
def test_genuine_items_have_normal_deviations_however_few_references_there_are(items: int) -> None:
    """Of a new item against the spread of so many: a normal distribution, in its tail too."""
    random = np.random.default_rng(items)
    known, new = random.standard_normal((40_000, items)), random.standard_normal(40_000)
    spreads = zip(known.mean(axis=1).tolist(), known.std(axis=1, ddof=1).tolist(), strict=True)
    found = np.array([deviations(x, Spread(m, s), items) for x, (m, s) in zip(new.tolist(), spreads, strict=True)])
    assert found.mean() == pytest.approx(0, abs=0.03)
    assert found.std() == pytest.approx(1, abs=0.05)
    assert (found > 2).mean() == pytest.approx(0.0228, abs=0.006)


@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(2, 100))
def test_deviations_grow_with_the_value(one: float, other: float, items: int) -> None:
    low, high = sorted((one, other))
    spread = Spread(0.1, 0.02)
    assert deviations(low, spread, items) <= deviations(high, spread, items)
    assert deviations(0.1, spread, items) == 0


def test_few_references_make_a_large_value_less_surprising() -> None:
    found = [deviations(0.2, Spread(0.1, 0.02), items) for items in (3, 5, 8, 16, 1000)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(5.0, abs=0.05)


def test_references_that_look_alike_by_chance_do_not_make_the_next_one_suspect() -> None:
    assert deviations(0.105, Spread(0.1, 0.0), 16) < 1.1
    assert math.isfinite(deviations(0.1, Spread(0.0, 0.0), 4))


@given(SCORES)
def test_the_soft_maximum_lies_between_mean_and_maximum(scores: list[float]) -> None:
    found = soft_maximum(scores)
    assert np.mean(scores) - 1e-9 <= found <= max(scores) + 1e-9
    assert found >= max(scores) - math.log(6) - 1e-9


@given(SCORES, st.integers(0, 5), st.floats(0.01, 5))
def test_a_view_that_looks_worse_never_helps(scores: list[float], which: int, worse: float) -> None:
    changed = list(scores)
    changed[which] += worse
    assert soft_maximum(changed) > soft_maximum(scores)
    assert soft_maximum(scores[::-1]) == pytest.approx(soft_maximum(scores))


def test_that_of_views_is_that_of_all_their_deviations() -> None:
    pairs = [(0.3, 1.0), (4.0, -1.0), (2.5, 2.0)]
    nested = soft_maximum([soft_maximum(pair) for pair in pairs])
    assert nested == pytest.approx(soft_maximum([value for pair in pairs for value in pair]))


def test_one_view_stands_out_and_two_stand_out_more() -> None:
    genuine = [0.0] * 6
    one, two = [6.0, *genuine[1:]], [6.0, 6.0, *genuine[2:]]
    assert soft_maximum(one) > 4
    assert soft_maximum(two) == pytest.approx(soft_maximum(one) + math.log(2) / WEIGHTS.sharpness, abs=0.01)
