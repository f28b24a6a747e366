"""Arithmetic, activations, reductions, softmax, normalisation: lowered, they give what ONNX Runtime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from against_ort import assert_like_ort, both, one_node

from fusee.base.errors import ModelError, UnsupportedModel
from fusee.base.types import Array
from fusee.ir import reference
from fusee.onnx.importer import import_model

RNG = np.random.default_rng(3)
SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, 0.5, 2.5, np.inf, -np.inf, np.nan, 1e-30, 3e38, -88.5], np.float32)


def real(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


UNARY = (
    *("Abs", "Neg", "Sign", "Ceil", "Floor", "Round", "Sqrt", "Reciprocal", "Exp", "Log", "Relu", "Sigmoid", "Tanh"),
    *("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Erf", "Softplus"),
    *("Softsign", "Elu", "Selu", "LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Celu", "HardSwish", "Mish", "Gelu"),
    *("IsNaN", "IsInf", "Shrink"),
)


@pytest.mark.parametrize("op", UNARY)
def test_unary(op: str):
    assert_like_ort(*one_node(op, [real(5, 7) * 3]))


@pytest.mark.parametrize(
    "op", ["Abs", "Neg", "Sign", "Ceil", "Floor", "Round", "Sqrt", "Exp", "Relu", "IsNaN", "IsInf"]
)
def test_unary_of_special_values(op: str):
    assert_like_ort(*one_node(op, [SPECIAL]))


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Tanh", "Exp", "Sqrt", "Abs"])
@pytest.mark.parametrize("version", [7, 13])
def test_unary_in_older_opsets(op: str, version: int):
    assert_like_ort(*one_node(op, [real(3, 4)], version=version))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "Equal", "Less", "Greater", "PRelu", "Min", "Max"])
@pytest.mark.parametrize("shapes", [((3, 5), (3, 5)), ((2, 3, 5), (5,)), ((2, 3, 5), (3, 1)), ((4,), ())])
def test_binary(op: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]):
    assert_like_ort(*one_node(op, [np.abs(real(*shapes[0])), real(*shapes[1])]))


@pytest.mark.parametrize("op", ["Min", "Max"])
def test_extremes_spread_nan(op: str):
    other = np.roll(SPECIAL, 3)
    assert_like_ort(*one_node(op, [SPECIAL, other]))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_integer_division(op: str, dtype: type):
    a, b = np.meshgrid(np.arange(-7, 8), [-3, -2, -1, 1, 2, 3])
    assert_like_ort(*one_node(op, [a.astype(dtype), b.astype(dtype)]))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_mod_of_c(dtype: type):
    a, b = np.meshgrid(np.arange(-7, 8), [-3, -2, 2, 3])
    assert_like_ort(*one_node("Mod", [a.astype(dtype), b.astype(dtype)], fmod=1))


@pytest.mark.parametrize("exponent", [np.int32, np.int64, np.float32])
@pytest.mark.parametrize("base", [np.int32, np.int64, np.float32])
def test_pow_of_mixed_types(base: type, exponent: type):
    a, b = np.array([1, 2, 3, 5, 7]).astype(base), np.array([0, 1, 2, 3, 2]).astype(exponent)
    assert_like_ort(*one_node("Pow", [a, b]))


@pytest.mark.parametrize("op", ["Sum", "Mean", "Min", "Max"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_variadic(op: str, count: int):
    assert_like_ort(*one_node(op, [real(3, 1), real(1, 4), real(4), real()][:count]))


@pytest.mark.parametrize("limits", [(None, None), (-0.5, None), (None, 0.5), (-0.5, 0.5), (0.5, -0.5)])
def test_clip(limits: tuple[float | None, float | None]):
    low, high = (None if x is None else np.array(x, np.float32) for x in limits)
    assert_like_ort(*one_node("Clip", [real(3, 5), low, high]))


def test_clip_by_attributes():
    assert_like_ort(*one_node("Clip", [real(3, 5)], version=7, min=-0.25, max=0.5))


CASTS = [np.float32, np.float64, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]


@pytest.mark.parametrize("to", CASTS)
@pytest.mark.parametrize("source", CASTS)
def test_cast(source: type, to: type):
    x = np.array([0, 1, 2.5, 3.5, 100, 7.99]).astype(source)
    assert_like_ort(*one_node("Cast", [x], to=_onnx_type(to)))


def test_cast_of_negative_numbers_truncates_and_wraps():
    x = np.array([-1.5, -0.5, 300.7, -200.0, 65537.0], np.float32)
    model, feeds = one_node("Cast", [x], to=_onnx_type(np.uint8))
    assert reference.run(import_model(model), feeds)["o0"].tolist() == [255, 0, 44, 56, 1]


def test_cast_beyond_the_widest_integer_saturates():
    x = np.array([1e20, -1e20, np.nan, np.inf], np.float32)
    model, feeds = one_node("Cast", [x], to=_onnx_type(np.int64))
    top = np.iinfo(np.int64)
    assert reference.run(import_model(model), feeds)["o0"].tolist() == [top.max, top.min, 0, top.max]


def _onnx_type(dtype: Any) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("axes", [[1], [-1, 0], [0, 1, 2]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduction_over_attribute_axes(kind: str, axes: list[int], keepdims: int):
    assert_like_ort(*one_node(f"Reduce{kind}", [np.abs(real(2, 3, 5))], version=11, axes=axes, keepdims=keepdims))


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("axes", [None, np.array([], np.int64), np.array([1, -1])])
def test_reduction_over_input_axes(kind: str, axes: Array | None):
    inputs = [np.abs(real(2, 3, 5)), axes]
    assert_like_ort(*one_node(f"Reduce{kind}", inputs, constant=() if axes is None else (1,)))


@pytest.mark.parametrize("axes", [[1], [-1, 0], [0, 1, 2], []])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduction_over_axes_that_only_the_run_knows(axes: list[int], keepdims: int):
    inputs = [real(2, 3, 5), np.array(axes, np.int64)]
    assert_like_ort(*one_node("ReduceMean", inputs, keepdims=keepdims))


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min", "Prod"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_reduction_of_integers(kind: str, dtype: type):
    x = RNG.integers(-9, 9, (3, 7)).astype(dtype)
    assert_like_ort(*one_node(f"Reduce{kind}", [x], version=11, axes=[1]))


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_arg_reduction_takes_the_first_or_last(op: str, last: int):
    x = RNG.integers(0, 3, (4, 9)).astype(np.float32)
    assert_like_ort(*one_node(op, [x], axis=-1, keepdims=0, select_last_index=last))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("version", [7, 11, 13, 20])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
def test_softmax_in_both_shapes(op: str, version: int, axis: int | None):
    if version < 11 and axis == -1:
        pytest.skip("axes counted from the end came with opset 11")
    attributes = {} if axis is None else {"axis": axis}
    assert_like_ort(*one_node(op, [real(2, 3, 5)], version=version, **attributes))


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_cumulative_sum(exclusive: int, reverse: int, axis: int):
    inputs = [real(3, 5), np.array(axis)]
    assert_like_ort(*one_node("CumSum", inputs, constant=(1,), exclusive=exclusive, reverse=reverse))


def test_cumulative_sum_along_an_axis_that_only_the_run_knows():
    assert_like_ort(*one_node("CumSum", [real(3, 5), np.array(-1)], reverse=1))


def _parameters(channels: int) -> list[Array]:
    return [real(channels), real(channels), real(channels), np.abs(real(channels))]


@pytest.mark.parametrize("version", [7, 9, 15])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 3), (2, 3, 7)])
def test_batch_normalization(version: int, shape: tuple[int, ...]):
    assert_like_ort(*one_node("BatchNormalization", [real(*shape), *_parameters(3)], version=version, epsilon=1e-3))


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
def test_normalizations(epsilon: float):
    x = real(2, 6, 5, 4)
    assert_like_ort(*one_node("InstanceNormalization", [x, real(6), real(6)], epsilon=epsilon))
    assert_like_ort(*one_node("LayerNormalization", [x, real(5, 4), real(5, 4)], axis=2, epsilon=epsilon, outputs=3))
    assert_like_ort(*one_node("GroupNormalization", [x, real(6), real(6)], num_groups=3, epsilon=epsilon, version=21))
    assert_like_ort(*one_node("RMSNormalization", [x, real(4)], epsilon=epsilon, version=23))


def test_other_normalizations():
    x = real(2, 6, 5, 4)
    assert_like_ort(*one_node("LpNormalization", [x], axis=1, p=1))
    assert_like_ort(*one_node("LpNormalization", [x]))
    assert_like_ort(*one_node("MeanVarianceNormalization", [x]))
    assert_like_ort(*one_node("LRN", [x], size=3, alpha=0.1, beta=0.6, bias=2.0))


def test_old_layer_normalization_of_onnx_runtime():
    assert_like_ort(*one_node("LayerNormalization", [real(2, 3, 8), real(8), real(8)], version=11))
    assert_like_ort(*one_node("SimplifiedLayerNormalization", [real(2, 3, 8), real(8)], version=11))


@pytest.mark.parametrize("zero", [None, np.array(100, np.uint8), np.array(-3, np.int8), np.array(7, np.uint16)])
def test_quantize_and_dequantize(zero: Array | None):
    scale = np.array(0.037, np.float32)
    inputs = [real(5, 33) * 4, scale, zero]
    assert_like_ort(*one_node("QuantizeLinear", inputs, version=21))
    x = RNG.integers(0, 100, (5, 9)).astype(np.uint8 if zero is None else zero.dtype)
    assert_like_ort(*one_node("DequantizeLinear", [x, scale, zero], version=21))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_quantize_by_axis_and_block(axis: int):
    scales, zeros = RNG.uniform(0.01, 0.1, 6).astype(np.float32), RNG.integers(0, 99, 6).astype(np.uint8)
    assert_like_ort(*one_node("QuantizeLinear", [real(6, 6, 6), scales, zeros], axis=axis))
    blocks = [3 if i == axis % 3 else 6 for i in range(3)]
    scales = RNG.uniform(0.01, 0.1, blocks).astype(np.float32)
    assert_like_ort(*one_node("QuantizeLinear", [real(6, 6, 6), scales], version=21, axis=axis, block_size=2))


def test_dynamic_quantization():
    assert_like_ort(*one_node("DynamicQuantizeLinear", [real(4, 9)], outputs=3))
    model, feeds = one_node("DynamicQuantizeLinear", [np.zeros((2, 2), np.float32)], outputs=3)
    ours, theirs = both(model, feeds)
    assert [x.tolist() for x in ours] == [x.tolist() for x in theirs]


def test_dropout_keeps_everything():
    model, feeds = one_node("Dropout", [real(2, 3)], outputs=2, version=13)
    y, mask = reference.run(import_model(model), feeds).values()
    assert np.array_equal(y, feeds["i0"])
    assert mask.dtype == np.bool_
    assert mask.all()


def test_dropout_in_training_is_refused():
    inputs = [real(2, 3), np.array(0.5, np.float32), np.array(True)]
    model, _ = one_node("Dropout", inputs, constant=(1, 2), version=13)
    with pytest.raises(UnsupportedModel, match="training_mode is on; export the model for inference"):
        import_model(model)


def test_axis_outside_is_the_models_error():
    with pytest.raises(ModelError, match=r"Softmax-13 'Softmax_0': axis 3 is not one of a tensor of rank 2"):
        import_model(one_node("Softmax", [real(2, 3)], axis=3, version=13)[0])


def test_wrong_element_type_names_the_operand():
    with pytest.raises(ModelError, match=r"an operand is i32\[2\]; expected an element type of f64, f32"):
        import_model(one_node("Exp", [np.array([1, 2], np.int32)])[0])
