"""Random ops: the same seed draws the same, and the draws have the distribution asked for."""

from __future__ import annotations

import numpy as np

from fusee.base.types import F32, I64, DType
from fusee.ops.random import Bernoulli, Multinomial, RandomNormal, RandomUniform


def test_a_seed_repeats_and_another_differs() -> None:
    first, again, other = (RandomUniform((50,), 0.0, 1.0, F32, seed).compute()[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_uniform_fills_its_interval() -> None:
    (drawn,) = RandomUniform((10_000,), -3.0, 5.0, DType.F64, 1).compute()
    assert -3 <= drawn.min() < -2.9
    assert 4.9 < drawn.max() < 5
    assert abs(drawn.mean() - 1) < 0.1


def test_normal_has_mean_and_deviation() -> None:
    (drawn,) = RandomNormal((10_000,), 2.0, 0.5, DType.F64, 1).compute()
    assert abs(drawn.mean() - 2) < 0.02
    assert abs(drawn.std() - 0.5) < 0.02


def test_bernoulli_follows_its_probabilities() -> None:
    (drawn,) = Bernoulli(I64, 1).compute(np.repeat(np.array([0.0, 0.3, 1.0], np.float32), 5000).reshape(3, -1))
    np.testing.assert_allclose(drawn.mean(axis=1), [0, 0.3, 1], atol=0.02)


def test_multinomial_follows_its_log_probabilities() -> None:
    logits = np.log(np.array([[0.1, 0.6, 0.3], [1e-30, 1.0, 1e-30]], np.float32)) + 7
    (drawn,) = Multinomial(20_000, I64, 1).compute(logits)
    np.testing.assert_allclose([np.mean(drawn[0] == c) for c in range(3)], [0.1, 0.6, 0.3], atol=0.02)
    assert (drawn[1] == 1).all()
