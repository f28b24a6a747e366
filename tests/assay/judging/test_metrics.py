"""Metrics against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.judging.metrics import auroc, pointing_hit, risk_coverage

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_auroc_counts_pairs(genuine: list[float], altered: list[float]) -> None:
    pairs = [1.0 if a > g else 0.5 if a == g else 0.0 for a in altered for g in genuine]
    assert auroc(genuine, altered) == pytest.approx(np.mean(pairs))
    assert auroc(genuine, altered) == pytest.approx(1 - auroc(altered, genuine))


@given(st.lists(st.tuples(st.integers(0, 5).map(float), st.booleans()), min_size=1, max_size=30))
def test_risk_coverage_counts_cases(cases: list[tuple[float, bool]]) -> None:
    found = risk_coverage([c for c, _ in cases], [wrong for _, wrong in cases])
    thresholds = sorted({c for c, _ in cases}, reverse=True)
    decided = [[wrong for c, wrong in cases if c >= threshold] for threshold in thresholds]
    np.testing.assert_allclose(found.coverage, [len(d) / len(cases) for d in decided])
    np.testing.assert_allclose(found.risk, [sum(d) / len(d) for d in decided])
    assert found.coverage[-1] == 1


def test_the_peak_has_to_lie_in_the_mask() -> None:
    heat = np.zeros((6, 8), np.float32)
    heat[2, 5] = 1.0
    mask = np.zeros((6, 8), bool)
    mask[2, 4] = True
    assert not pointing_hit(heat, mask)
    mask[2, 5] = True
    assert pointing_hit(heat, mask)
