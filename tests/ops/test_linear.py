"""Products, convolutions and pools: their types with named sizes, what they refuse, and exact integer sums."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.errors import ShapeError
from fusee.base.types import DType, TensorType
from fusee.ir.graph import Op
from fusee.ops.conv_variants import Col2Im, ConvTranspose
from fusee.ops.linear import Conv, Einsum, MatMul
from fusee.ops.pool import Pool


def infer(op: Op, *types: str) -> str:
    return str(op.result_types(*[TensorType.parse(t) for t in types])[0])


def conv(stride: int = 1, pad: int = 0, group: int = 1, **rest: object) -> Conv:
    return Conv((stride,) * 2, (pad,) * 4, (1, 1), group, **rest)


@pytest.mark.parametrize(
    ("op", "types", "result"),
    [
        (MatMul(), ("f32[N,S,8]", "f32[8,4]"), "f32[N,S,4]"),
        (MatMul(trans_b=True), ("f32[N,H,S,8]", "f32[N,H,T,8]"), "f32[N,H,S,T]"),
        (MatMul(accumulate=DType.I32), ("u8[N,8]", "i8[8,4]"), "i32[N,4]"),
        (Einsum("bij,jk->bik"), ("f32[B,3,4]", "f32[4,K]"), "f32[B,3,K]"),
        (conv(pad=1), ("f32[N,3,H,W]", "f32[4,3,3,3]"), "f32[N,4,H,W]"),
        (conv(2, 1), ("f32[N,3,H,224]", "f32[4,3,3,3]"), "f32[N,4,((H-1)//(2))+1,112]"),
        (conv(2, 0, layout="NHWC"), ("f32[N,H,8,3]", "f32[4,3,2,2]"), "f32[N,((H)//(2)),4,4]"),
        (ConvTranspose((2, 2), (0,) * 4, (1, 1), (0, 0)), ("f32[N,3,H,5]", "f32[3,4,2,2]"), "f32[N,4,2*H,10]"),
        (Pool("max", (2, 2), (2, 2), (0,) * 4, (1, 1)), ("f32[N,3,2*H,8]",), "f32[N,3,H,4]"),
        (Col2Im((5, 5), (2, 2), (1, 1), (0,) * 4, (1, 1)), ("f32[N,12,16]",), "f32[N,3,5,5]"),
    ],
)
def test_types_with_named_sizes(op: Op, types: tuple[str, ...], result: str) -> None:
    assert infer(op, *types) == result


@pytest.mark.parametrize(
    ("op", "types", "message"),
    [
        (MatMul(), ("f32[3,4]", "f32[5,6]"), r"share an axis of 4 and 5"),
        (MatMul(), ("f32[3,4]", "f64[4,6]"), r"operands are f32 and f64"),
        (MatMul(), ("f32[4]", "f32[4,6]"), r"need two axes each"),
        (MatMul(accumulate=DType.I32), ("f32[3,4]", "f32[4,6]"), r"f32 times f32 cannot accumulate in i32"),
        (conv(), ("f32[1,3,8,8]", "f32[4,2,3,3]"), r"has 3 channels, but f32\[4,2,3,3\] in 1 groups takes 2"),
        (conv(), ("f32[1,3,2,8]", "f32[4,3,3,3]"), r"a window of 3 \(dilation 1\) does not fit into 2"),
        (conv(), ("f32[1,3,8,8]", "f32[4,3,3,3]", "f32[5]"), r"the bias is f32\[5\]; expected f32\[4\]"),
        (conv(layout="CHWN"), ("f32[1,3,8,8]", "f32[4,3,3,3]"), r"layout 'CHWN' should be one of NCHW, NHWC"),
        (Conv((1,), (0, 0), (1,)), ("f32[1,3,8,8]", "f32[4,3,3,3]"), r"strides \(1,\) should hold 2 positive numbers"),
        (Pool("median", (2,), (1,), (0, 0), (1,)), ("f32[1,3,8]",), r"kind 'median' should be one of max, average, lp"),
        (Einsum("ij,jk"), ("f32[2,3]", "f32[3,4]"), r"should have '->' and 2 terms"),
        (Einsum("ij,jk->ik"), ("f32[2,3]", "f32[4,5]"), r"axis 'j' is 3 in one operand and 4"),
    ],
)
def test_operands_that_do_not_fit(op: Op, types: tuple[str, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        infer(op, *types)


def test_integer_sums_are_exact_and_wrap_around() -> None:
    a = np.full((1, 4096), 255, np.uint8)
    b = np.full((4096, 1), -128, np.int8)
    assert MatMul(accumulate=DType.I32).reference(a, b).item() == 4096 * 255 * -128
    large = np.full((1, 2), 1 << 30, np.int32)
    assert MatMul().reference(large, np.full((2, 1), 2, np.int32)).item() == 0


def test_convolution_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 6, 9, 7), (4, 3, 3, 3)))
    op = conv(2, 1, group=2)
    whole = op.reference(x, w)
    monkeypatch.setattr("fusee.base.host_linear.CHUNK_BYTES", 1)
    np.testing.assert_allclose(op.reference(x, w), whole, rtol=1e-5, atol=1e-5)


def test_one_channel_per_group_agrees_with_channels_alone() -> None:
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((1, 3, 6, 7), (6, 1, 3, 3)))
    y = conv(pad=1, group=3).reference(x, w)
    for c in range(3):
        alone = conv(pad=1).reference(x[:, c : c + 1], w[2 * c : 2 * c + 2])
        np.testing.assert_allclose(y[:, 2 * c : 2 * c + 2], alone, rtol=1e-5, atol=1e-6)


def test_flops_count_multiply_and_add() -> None:
    assert MatMul().flops(TensorType.parse("f32[3,4]"), TensorType.parse("f32[4,5]")) == 120
    assert conv().flops(TensorType.parse("f32[1,3,4,4]"), TensorType.parse("f32[8,3,3,3]")) == 2 * 8 * 4 * 27
