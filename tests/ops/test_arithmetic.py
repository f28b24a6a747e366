"""Numbers that samples do not reach: infinities, ties, overflow, empty axes, narrow types."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fusee.base.errors import ShapeError
from fusee.base.types import BOOL, F32, DType, TensorType
from fusee.ir.graph import Op
from fusee.ops.binary import Add, BitShift, Div, Equal, Max, Pow, Where
from fusee.ops.cast import Cast, converted
from fusee.ops.elementwise import Celu, Gelu, IsInf, Round, Sigmoid, Softplus
from fusee.ops.erf import erf
from fusee.ops.quantize import Dequantize, Quantize
from fusee.ops.reduce import ArgReduce, Cumulative, LogSoftmax, Normalize, Reduce, Softmax


def f32(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def test_erf_is_exact_to_the_last_bits_of_f64():
    x = np.concatenate((np.linspace(-7, 7, 5001), [1e-300, -1e-12, 0.0, np.inf, -np.inf]))
    expected = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), expected, rtol=6e-16, atol=0)
    assert math.isnan(erf(np.array(np.nan)))


def test_gelu_keeps_relative_precision_where_it_vanishes():
    x = np.linspace(-4, -0.1, 200).astype(np.float32)
    exact = np.array([0.5 * float(v) * math.erfc(-float(v) / math.sqrt(2)) for v in x])
    np.testing.assert_allclose(Gelu().reference(x), exact, rtol=1e-6)


def test_sigmoid_and_softplus_do_not_overflow():
    x = f32(-1000, -100, 0, 100, 1000)
    assert Sigmoid().reference(x).tolist() == [0, pytest.approx(3.78e-44, rel=0.1), 0.5, 1, 1]
    assert Softplus().reference(x).tolist() == [
        0,
        pytest.approx(3.78e-44, rel=0.1),
        pytest.approx(math.log(2)),
        100,
        1000,
    ]


def test_celu_of_a_large_number_is_that_number():
    assert Celu(0.5).reference(f32(1000)).tolist() == [1000]


def test_round_takes_halves_to_the_even_one():
    assert Round().reference(f32(0.5, 1.5, 2.5, -0.5, -1.5)).tolist() == [0, 2, 2, 0, -2]


def test_is_inf_of_one_sign():
    x = f32(np.inf, -np.inf, 1, np.nan)
    assert IsInf(negative=False).reference(x).tolist() == [True, False, False, False]
    assert IsInf(positive=False).reference(x).tolist() == [False, True, False, False]


def test_integer_division_drops_the_fraction_and_survives_zero():
    a, b = np.array([7, -7, 7, -7, 5], np.int32), np.array([2, 2, -2, -2, 0], np.int32)
    assert Div().reference(a, b).tolist() == [3, -3, -3, 3, 0]
    low = np.array([np.iinfo(np.int64).min], np.int64)
    assert Div().reference(low, np.array([-1])).tolist() == low.tolist()


def test_integer_powers():
    a, b = np.array([2, -2, 3, 1, -1, 2], np.int64), np.array([10, 3, 0, -5, -3, -1], np.int64)
    assert Pow().reference(a, b).tolist() == [1024, -8, 1, 1, -1, 0]


def test_arithmetic_of_four_bits_wraps():
    a = np.array([7, -8], DType.I4.numpy)
    assert Add().reference(a, np.array([1, -1], DType.I4.numpy)).astype(int).tolist() == [-8, 7]


def test_shifts_beyond_the_width():
    a, b = np.array([-16, 16, 5], np.int8), np.array([9, 9, -1], np.int8)
    assert BitShift(left=False).reference(a, b).tolist() == [-1, 0, 0]
    assert BitShift(left=True).reference(a, b).tolist() == [0, 0, 0]


def test_nan_is_the_larger_one_and_equals_nothing():
    assert np.isnan(Max().reference(f32(np.nan, 1), f32(1, np.nan))).all()
    assert Equal().reference(f32(np.nan), f32(np.nan)).tolist() == [False]


F8 = {
    DType.F8E4M3FN: ([448, 448, 448, -448], [448, math.nan, math.nan, math.nan]),
    DType.F8E4M3FNUZ: ([240, 240, 240, -240], [math.nan, math.nan, math.nan, math.nan]),
    DType.F8E5M2: ([448, 57344, 57344, -57344], [448, math.inf, math.inf, -math.inf]),
    DType.F8E5M2FNUZ: ([448, 57344, 57344, -57344], [448, math.nan, math.nan, math.nan]),
}


@pytest.mark.parametrize("to", F8, ids=str)
def test_casts_to_8_bit_floats_saturate_or_not(to: DType):
    x = f32(448, 1e6, np.inf, -np.inf)
    for saturate, expected in zip((True, False), F8[to], strict=True):
        found = Cast(to, saturate).reference(x).astype(np.float32)
        np.testing.assert_array_equal(found, np.array(expected, np.float32))
    assert math.isnan(Cast(to).reference(f32(np.nan)).astype(np.float32)[0])


@pytest.mark.parametrize(
    ("rounding", "expected"), [("up", [1, 2, 2, 4]), ("down", [1, 1, 1, 2]), ("nearest", [1, 1, 2, 4])]
)
def test_casts_to_powers_of_two(rounding: str, expected: list[float]):
    found = Cast(DType.F8E8M0FNU, rounding=rounding).reference(f32(1, 1.4, 1.6, 3.1))
    assert found.astype(np.float32).tolist() == expected


def test_casts_of_floats_to_integers():
    x = np.array([2.9, -2.9, 3e9, -3e9, np.nan])
    assert converted(x, DType.I32).tolist() == [2, -2, 2**31 - 1, -(2**31), 0]
    assert converted(x, DType.U32).tolist() == [2, 2**32 - 2, 3000000000, 2**32 - 3000000000, 0]
    assert converted(x, DType.U64).tolist() == [2, 0, 3000000000, 0, 0]
    assert converted(f32(9, -9), DType.I4).astype(int).tolist() == [-7, 7]
    assert converted(f32(0.5, 0, np.nan), BOOL).tolist() == [True, False, True]


def test_quantisation_rounds_halves_to_even_then_limits():
    x = f32(0.5, 1.5, 2.5, 1000, -1000)
    found = Quantize(DType.U8).reference(x, f32(1)[0:1].reshape(()), np.array(10, np.uint8))
    assert found.tolist() == [10, 12, 12, 255, 0]


def test_dequantisation_of_i32_subtracts_before_it_rounds():
    x, zero = np.array([2**30 + 1], np.int32), np.array(2**30, np.int32)
    assert Dequantize().reference(x, np.array(0.5, np.float32), zero).tolist() == [0.5]


def test_blocks_that_do_not_divide_the_axis():
    x = np.arange(10, dtype=np.int8)
    found = Dequantize(axis=0, block=4).reference(x, f32(1, 10, 100), np.zeros(3, np.int8))
    assert found.tolist() == [0, 1, 2, 3, 40, 50, 60, 70, 800, 900]


EMPTY = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf, "l1": 0.0, "l2": 0.0, "sum_square": 0.0}
EMPTY |= {"log_sum": -math.inf, "log_sum_exp": -math.inf}


@pytest.mark.parametrize("kind", EMPTY)
def test_reductions_of_nothing(kind: str):
    assert Reduce(kind, (1,), keepdims=False).reference(np.zeros((2, 0), np.float32)).tolist() == [EMPTY[kind]] * 2


def test_extremes_of_no_integers():
    nothing = np.zeros((0,), np.int8)
    assert Reduce("max", (0,), keepdims=False).reference(nothing) == -128
    assert Reduce("min", (0,), keepdims=False).reference(nothing) == 127


def test_log_sum_exp_does_not_overflow():
    assert Reduce("log_sum_exp", (0,), keepdims=False).reference(f32(1000, 1000)) == pytest.approx(1000 + math.log(2))


def test_sums_of_many_floats_do_not_drift():
    x = np.full((1 << 20, 2), 0.1, np.float32)
    found = Reduce("sum", (0,), keepdims=False).reference(x)
    assert found.tolist() == [pytest.approx((1 << 20) * float(np.float32(0.1)), rel=1e-7)] * 2


def test_softmax_of_large_numbers_and_of_minus_infinity():
    assert Softmax(0).reference(f32(1000, 1000, -np.inf)).tolist() == [0.5, 0.5, 0]
    assert LogSoftmax(0).reference(f32(1000, 0)).tolist() == [0, -1000]


def test_normalize_of_a_constant_row_is_zero():
    assert Normalize((0,), 1e-5).reference(f32(3, 3, 3)).tolist() == [0, 0, 0]


def test_arg_reduction_of_ties():
    x = f32(1, 5, 5, 0)
    assert ArgReduce("max", 0, keepdims=False).reference(x) == 1
    assert ArgReduce("max", 0, keepdims=False, select_last=True).reference(x) == 2


def test_running_totals():
    x = np.array([1, 2, 3], np.int32)
    assert Cumulative("sum", 0, exclusive=True).reference(x).tolist() == [0, 1, 3]
    assert Cumulative("sum", 0, exclusive=True, reverse=True).reference(x).tolist() == [5, 3, 0]
    assert Cumulative("prod", 0, reverse=True).reference(x).tolist() == [6, 6, 3]


A, B = TensorType(F32, (2, 3)), TensorType(DType.I64, (3,))
REFUSED: list[tuple[Op, tuple[TensorType, ...], str]] = [
    (Add(), (A, B), "the operands have different element types: f32[2,3], i64[3]"),
    (Add(), (A, A.with_shape((4,))), "cannot broadcast [2,3] with [4]: sizes [3, 4] differ"),
    (Where(), (A, A, A), "the condition is f32[2,3]; it must be bool"),
    (Softmax(2), (A,), "axis 2 is not one of the 2 axes"),
    (Softmax(0), (B,), "the operand is i64[3]; it must be a float"),
    (Reduce("median", (0,), True), (A,), "kind 'median' is not one of sum, mean, max, min, prod, l1, l2, log_sum"),
    (Reduce("sum", (0, 0), True), (A,), "axes (0, 0) repeat one"),
    (ArgReduce("max", 0, True), (A.with_shape((0, 3)),), "the operand is f32[0,3]; axis 0 is empty"),
    (Quantize(DType.I8, axis=1), (A, A.with_shape((2,)), TensorType(DType.I8, (2,))), "scales and axis 1 of f32[2,3]"),
    (Quantize(DType.I32), (A, A.with_shape(()), TensorType(DType.I32, ())), "the zero point is i32[], the result i32"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c[0].text_name())
def test_wrong_operands_are_named(case: tuple[Op, tuple[TensorType, ...], str]):
    op, types, message = case
    with pytest.raises(ShapeError) as caught:
        op.infer(*types)
    assert message in str(caught.value)
