"""The ops that ONNX Runtime's quantiser and optimiser write give what ONNX Runtime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from against_ort import assert_like_ort, one_node

from fusee.base.types import Array

RNG = np.random.default_rng(5)
MICROSOFT = "com.microsoft"


def real(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def u8(*shape: int) -> Array:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def i8(*shape: int) -> Array:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def f(x: float) -> Array:
    return np.array(x, np.float32)


def z(x: int, dtype: type = np.uint8) -> Array:
    return np.array(x, dtype)


# Each case: op, inputs, which of them are weights, attributes, outputs.
Case = tuple[str, list[Any], dict[str, Any]]
QUANTISED: list[Case] = [
    ("QLinearAdd", [u8(2, 5), f(0.1), z(7), u8(5), f(0.2), z(128), f(0.3), z(3)], {}),
    ("QLinearAdd", [i8(2, 5), f(0.1), z(7, np.int8), i8(2, 5), f(0.2), z(-5, np.int8), f(0.3), z(3, np.int8)], {}),
    ("QLinearMul", [u8(2, 5), f(0.1), z(7), u8(5), f(0.2), z(128), f(3), z(30)], {}),
    ("QLinearSigmoid", [u8(3, 7), f(0.05), z(128), f(1 / 256), z(0)], {}),
    ("QLinearLeakyRelu", [u8(3, 7), f(0.05), z(128), f(0.03), z(100)], {"alpha": 0.2}),
    ("QLinearAveragePool", [u8(1, 3, 6, 7), f(0.1), z(9), f(0.07), z(5)], {"kernel_shape": [3, 3], "pads": [1] * 4}),
    (
        "QLinearAveragePool",
        [u8(1, 6, 7, 3), f(0.1), z(9), f(0.07), z(5)],
        {"kernel_shape": [2, 2], "strides": [2, 2], "channels_last": 1},
    ),
    ("QLinearGlobalAveragePool", [u8(2, 3, 5, 5), f(0.1), z(9), f(0.02), z(100)], {}),
    ("QLinearGlobalAveragePool", [u8(2, 5, 5, 3), f(0.1), z(9), f(0.02), z(100)], {"channels_last": 1}),
    ("QLinearSoftmax", [u8(3, 9), f(0.05), z(128), f(1 / 256), z(0)], {"axis": -1, "opset": 13}),
    ("QLinearSoftmax", [u8(2, 3, 4), f(0.05), z(128), f(1 / 256), z(0)], {"axis": 1, "opset": 11}),
    ("QLinearConcat", [f(0.2), z(10), u8(2, 3), f(0.1), z(5), u8(2, 4), f(0.3), z(77)], {"axis": 1}),
    (
        "QLinearWhere",
        [np.array([True, False, True]), u8(2, 3), f(0.2), z(10), u8(3), f(0.1), z(5), f(0.3), z(77)],
        {},
    ),
    ("NhwcMaxPool", [u8(1, 6, 7, 3)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
]


@pytest.mark.parametrize("case", QUANTISED, ids=lambda c: c[0])
def test_quantised(case: Case):
    op, inputs, attributes = case
    assert_like_ort(*one_node(op, inputs, domain=MICROSOFT, **attributes), steps=1)


WEIGHTS = i8(16, 6)


@pytest.mark.parametrize("constant", [(), (1, 2, 3, 4, 5, 6, 7)])
@pytest.mark.parametrize("zeros", [np.zeros(6, np.int8), RNG.integers(-9, 9, 6).astype(np.int8)])
def test_qlinear_matmul_by_column(constant: tuple[int, ...], zeros: Array):
    scales = RNG.uniform(0.01, 0.02, 6).astype(np.float32)
    inputs = [u8(4, 16), f(0.03), z(120), WEIGHTS, scales, zeros, f(0.4), z(100)]
    assert_like_ort(*one_node("QLinearMatMul", inputs, constant=constant), steps=1)


@pytest.mark.parametrize("b_zero", [None, z(0, np.int8), z(5, np.int8)])
@pytest.mark.parametrize("constant", [(), (1,)])
def test_matmul_integer_is_exact(b_zero: Array | None, constant: tuple[int, ...]):
    inputs = [u8(2, 5, 16), WEIGHTS, z(130), *([b_zero] if b_zero is not None else [])]
    assert_like_ort(*one_node("MatMulInteger", inputs, constant=constant))


@pytest.mark.parametrize("constant", [(), (1,), (1, 2, 3)])
@pytest.mark.parametrize("w_zero", [0, 128, 3])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 2, 0, 1]])
def test_conv_integer_is_exact(constant: tuple[int, ...], w_zero: int, pads: list[int]):
    inputs = [u8(1, 4, 7, 6), u8(5, 4, 3, 3), z(100), z(w_zero)]
    assert_like_ort(*one_node("ConvInteger", inputs, constant=constant, pads=pads, strides=[2, 1]))


@pytest.mark.parametrize("constant", [(), tuple(range(1, 9))])
@pytest.mark.parametrize("group", [1, 2])
def test_qlinear_conv_per_channel(constant: tuple[int, ...], group: int):
    scales = RNG.uniform(0.01, 0.02, 6).astype(np.float32)
    bias = RNG.integers(-1000, 1000, 6).astype(np.int32)
    w, zeros = i8(6, 4 // group, 3, 3), np.zeros(6, np.int8)
    inputs = [u8(1, 4, 9, 8), f(0.03), z(117), w, scales, zeros, f(0.5), z(90), bias]
    assert_like_ort(*one_node("QLinearConv", inputs, constant=constant, group=group, pads=[1] * 4), steps=1)


@pytest.mark.parametrize("has_result_scale", [True, False])
@pytest.mark.parametrize("transposed", [0, 1])
def test_qgemm(has_result_scale: bool, transposed: int):
    b = WEIGHTS.T.copy() if transposed else WEIGHTS
    scales = RNG.uniform(0.01, 0.02, 6).astype(np.float32)
    bias = RNG.integers(-500, 500, 6).astype(np.int32)
    inputs = [u8(4, 16), f(0.03), z(120), b, scales, np.zeros(6, np.int8), bias]
    inputs += [f(0.4), z(100)] if has_result_scale else []
    case = one_node("QGemm", inputs, domain=MICROSOFT, constant=(3, 4, 5, 6), transB=transposed, alpha=1.0)
    assert_like_ort(*case, steps=1)


@pytest.mark.parametrize("bias", [None, real(6)])
def test_dynamic_quantize_matmul(bias: Array | None):
    inputs = [real(3, 16), WEIGHTS, f(0.02), z(4, np.int8), *([bias] if bias is not None else [])]
    assert_like_ort(*one_node("DynamicQuantizeMatMul", inputs, domain=MICROSOFT, constant=(1, 2, 3)))


def test_matmul_integer_to_float():
    scales = RNG.uniform(0.01, 0.02, 6).astype(np.float32)
    inputs = [u8(3, 16), WEIGHTS, f(0.03), scales, z(7), np.zeros(6, np.int8), real(6)]
    assert_like_ort(*one_node("MatMulIntegerToFloat", inputs, domain=MICROSOFT, constant=(1,)))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("has_zeros", [True, False])
def test_matmul_nbits(bits: int, has_zeros: bool):
    n, k, block = 5, 40, 16
    blocks = 3
    packed = u8(n, blocks, block * bits // 8)
    scales = RNG.uniform(0.01, 0.02, (n, blocks)).astype(np.float32)
    inputs = [real(2, k), packed, scales, *([u8(n, -(-blocks * bits // 8))] if has_zeros else [])]
    case = one_node(
        *("MatMulNBits", inputs),
        domain=MICROSOFT,
        constant=range(1, len(inputs)),
        bits=bits,
        N=n,
        K=k,
        block_size=block,
    )
    assert_like_ort(*case, rtol=1e-3, atol=1e-3)


FLOATS: list[Case] = [
    ("Gelu", [real(3, 17)], {}),
    ("QuickGelu", [real(3, 17)], {"alpha": 1.702}),
    ("FastGelu", [real(3, 16), real(16)], {}),
    ("FastGelu", [real(3, 16)], {}),
    ("BiasGelu", [real(3, 16), real(16)], {}),
    ("FusedMatMul", [real(2, 5, 3), real(2, 5, 4)], {"transA": 1, "alpha": 0.5}),
    ("FusedMatMul", [real(2, 3, 5), real(2, 4, 5)], {"transB": 1}),
    ("FusedMatMul", [real(3, 2, 5), real(2, 5, 4)], {"transBatchA": 1}),
    ("FusedMatMul", [real(5, 2, 3), real(2, 5, 4)], {"transBatchA": 1, "transA": 1}),
    ("FusedGemm", [real(3, 5), real(5, 4), real(4)], {"activation": "LeakyRelu", "activation_alpha": 0.3}),
    ("FusedConv", [real(1, 3, 5, 5), real(4, 3, 3, 3), real(4)], {"activation": "Relu", "pads": [1] * 4}),
    (
        "FusedConv",
        [real(1, 3, 5, 5), real(4, 3, 3, 3), real(4)],
        {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]},
    ),
    ("FusedConv", [real(1, 3, 5, 5), real(4, 3, 1, 1), None, real(1, 4, 5, 5)], {"activation": "Relu"}),
    ("SkipLayerNormalization", [real(2, 3, 8), real(2, 3, 8), real(8), real(8), real(8)], {"epsilon": 1e-5}),
    ("SkipLayerNormalization", [real(2, 3, 8), real(1, 3, 8), real(8)], {}),
    ("SkipSimplifiedLayerNormalization", [real(2, 3, 8), real(2, 3, 8), real(8), real(8)], {"epsilon": 1e-5}),
    ("RotaryEmbedding", [real(2, 3, 16), np.array([4]), real(9, 4), real(9, 4)], {}),
    ("RotaryEmbedding", [real(2, 3, 16), RNG.integers(0, 9, (2, 3)), real(9, 4), real(9, 4)], {"interleaved": 1}),
    ("RotaryEmbedding", [real(2, 4, 3, 8), np.array([0]), real(9, 4), real(9, 4)], {}),
    (
        "RotaryEmbedding",
        [real(2, 3, 16), np.array([0]), real(9, 2), real(9, 2)],
        {"rotary_embedding_dim": 4, "num_heads": 2},
    ),
]


@pytest.mark.parametrize("case", FLOATS, ids=lambda c: c[0])
def test_fused(case: Case):
    op, inputs, attributes = case
    assert_like_ort(*one_node(op, inputs, domain=MICROSOFT, **attributes))


def test_skip_layer_normalization_gives_the_sum():
    inputs = [real(2, 3, 8), real(2, 3, 8), real(8), real(8), real(8)]
    model, feeds = one_node("SkipLayerNormalization", inputs, domain=MICROSOFT, outputs=4)
    del model.graph.output[1:3]
    model.graph.node[0].output[1] = model.graph.node[0].output[2] = ""
    assert_like_ort(model, feeds)


@pytest.mark.parametrize("has_mask", [True, False])
def test_embed_layer_normalization(has_mask: bool):
    ids, segments = RNG.integers(0, 9, (2, 5)).astype(np.int32), RNG.integers(0, 2, (2, 5)).astype(np.int32)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32) if has_mask else None
    inputs = [ids, segments, real(9, 8), real(6, 8), real(2, 8), real(8), real(8), mask]
    assert_like_ort(*one_node("EmbedLayerNormalization", inputs, domain=MICROSOFT, outputs=2))


RAGGED = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
MASKS: dict[str, Array | None] = {
    "none": None,
    "lengths": np.array([3, 5], np.int32),
    "keys": RAGGED,
    "pairs": np.broadcast_to(RAGGED[:, None, :], (2, 5, 5)).copy(),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("unidirectional", [0, 1])
def test_attention(mask: str, unidirectional: int):
    inputs = [real(2, 5, 8), real(8, 24), real(24), MASKS[mask]]
    case = one_node("Attention", inputs, domain=MICROSOFT, num_heads=2, unidirectional=unidirectional)
    assert_like_ort(*case)


def test_attention_with_past():
    inputs = [real(2, 1, 8), real(8, 24), real(24), None, real(2, 2, 2, 4, 4)]
    case = one_node("Attention", inputs, domain=MICROSOFT, num_heads=2, unidirectional=1, outputs=2)
    assert_like_ort(*case)


def test_attention_with_bias_and_sizes():
    inputs = [real(2, 5, 8), real(8, 28), real(28), None, None, real(1, 2, 5, 5)]
    case = one_node("Attention", inputs, domain=MICROSOFT, num_heads=2, qkv_hidden_sizes=[8, 8, 12])
    assert_like_ort(*case)


@pytest.mark.parametrize("mask", [None, np.array([3, 5], np.int32), RAGGED])
def test_qattention(mask: Array | None):
    inputs = [u8(2, 5, 8), i8(8, 24), real(24), f(0.02), f(0.01), mask, z(120), z(0, np.int8)]
    assert_like_ort(*one_node("QAttention", inputs, domain=MICROSOFT, num_heads=2, constant=(1,)), atol=1e-4)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("mask", [None, np.array([[1, 1, 1, 0, 0, 0], [1] * 6], np.int32)])
def test_multi_head_attention(has_bias: bool, mask: Array | None):
    inputs = [real(2, 5, 8), real(2, 6, 8), real(2, 6, 12), real(28) if has_bias else None, mask]
    assert_like_ort(*one_node("MultiHeadAttention", inputs, domain=MICROSOFT, num_heads=2))


def test_multi_head_attention_with_past():
    inputs = [real(2, 1, 8), real(2, 1, 8), real(2, 1, 8), None, None, None, real(2, 2, 4, 4), real(2, 2, 4, 4)]
    assert_like_ort(*one_node("MultiHeadAttention", inputs, domain=MICROSOFT, num_heads=2, outputs=3))


@pytest.mark.parametrize("axis", [0, 1])
def test_microsoft_dequantize_linear(axis: int):
    scales = RNG.uniform(0.01, 0.02, 4).astype(np.float32)
    zeros = RNG.integers(0, 99, 4).astype(np.uint16)
    x = RNG.integers(0, 60000, (4, 4)).astype(np.uint16)
    assert_like_ort(*one_node("DequantizeLinear", [x, scales, zeros], domain=MICROSOFT, axis=axis))
    assert_like_ort(*one_node("QuantizeLinear", [real(4, 4), scales, zeros], domain=MICROSOFT, axis=axis), steps=0)
