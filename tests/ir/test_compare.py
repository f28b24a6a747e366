"""How equal is equal: the error measure, its tolerances, and what noise excuses."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from fusee.base.types import Array
from fusee.ir.compare import compare, difference


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def test_errors_are_shares_of_the_range() -> None:
    found = difference("y", f32(0, 50, 100), f32(0, 50.005, 100))
    assert found.is_equal
    assert found.error == pytest.approx(5e-5, rel=1e-2)
    assert not difference("y", f32(0, 50, 100), f32(0, 50.05, 100)).is_equal
    assert not difference("y", f32(0.0, 0.5), f32(0.0, 0.501)).is_equal


def test_a_constant_result_is_judged_by_its_size() -> None:
    assert difference("y", f32(100, 100), f32(100, 100.001)).is_equal
    assert not difference("y", f32(100, 100), f32(100, 100.1)).is_equal
    assert not difference("y", f32(0, 0), f32(0, 1e-30)).is_equal


@pytest.mark.parametrize(("dtype", "step"), [(np.float16, 1e-3), (ml_dtypes.bfloat16, 8e-3), (np.float64, 1e-7)])
def test_narrow_types_may_round_and_wide_ones_less(dtype: type, step: float) -> None:
    assert difference("y", np.array([0, 1], dtype), np.array([0, 1 + step], dtype)).is_equal
    assert not difference("y", np.array([0, 1], dtype), np.array([0, 1 + 30 * step], dtype)).is_equal


def test_eight_bit_results_may_be_one_step_off_and_indices_none() -> None:
    assert difference("y", np.array([7], np.uint8), np.array([8], np.uint8)).is_equal
    assert not difference("y", np.array([0], np.uint8), np.array([255], np.uint8)).is_equal
    assert not difference("y", np.array([7], np.int64), np.array([8], np.int64)).is_equal
    assert not difference("y", np.array([True]), np.array([False])).is_equal


def test_nan_and_infinity_must_be_where_they_belong() -> None:
    nan, inf = np.nan, np.inf
    assert difference("y", f32(nan, inf, 1), f32(nan, inf, 1)).is_equal
    for wrong in (f32(1, inf, 1), f32(nan, -inf, 1), f32(nan, inf, nan), f32(nan, inf, inf)):
        found = difference("y", f32(nan, inf, 1), wrong)
        assert not found.is_equal
        assert "1 of 3 elements differ in being NaN or infinite" in str(found)


def test_types_and_shapes_come_first() -> None:
    expected = {"a": f32(1, 2), "b": f32(1), "c": np.zeros((0, 3), np.float32)}
    found = {"a": f32(1, 2).reshape(2, 1), "b": np.array([1.0]), "c": np.zeros((0, 3), np.float32)}
    a, b, c = compare(expected, found)
    assert "float32[2, 1] instead of float32[2]" in str(a)
    assert "float64[1] instead of float32[1]" in str(b)
    assert c.is_equal
    (missing,) = compare({"y": f32(1)}, {})
    assert str(missing) == "output y (f32): missing"


def test_noise_widens_the_tolerance_but_excuses_no_wrong_shape() -> None:
    off = difference("y", f32(0, 1), f32(0, 1.01))
    assert not off.is_equal
    assert off.with_noise(1e-3).is_equal
    assert not off.with_noise(1e-5).is_equal
    assert not difference("y", f32(1), f32(1, 2)).with_noise(1.0).is_equal
