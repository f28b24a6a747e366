"""MobileNetV3-Large (Howard et al., 2019)."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from benchmarks.models.layers import (
    conv_bn,
    flatten,
    gemm,
    global_average,
    hard_sigmoid,
    hard_swish,
    relu,
    squeeze_excite,
)
from benchmarks.models.writer import GraphWriter, Size, Tensor

EPSILON = 1e-3
Block = tuple[int, int, int, bool, Callable[[GraphWriter, Tensor], Tensor], int]
BLOCKS: tuple[Block, ...] = (
    (3, 16, 16, False, relu, 1),
    (3, 64, 24, False, relu, 2),
    (3, 72, 24, False, relu, 1),
    (5, 72, 40, True, relu, 2),
    (5, 120, 40, True, relu, 1),
    (5, 120, 40, True, relu, 1),
    (3, 240, 80, False, hard_swish, 2),
    (3, 200, 80, False, hard_swish, 1),
    (3, 184, 80, False, hard_swish, 1),
    (3, 184, 80, False, hard_swish, 1),
    (3, 480, 112, True, hard_swish, 1),
    (3, 672, 112, True, hard_swish, 1),
    (5, 672, 160, True, hard_swish, 2),
    (5, 960, 160, True, hard_swish, 1),
    (5, 960, 160, True, hard_swish, 1),
)
"""Kernel, expanded channels, channels, squeeze-and-excite, activation and stride of each block."""


def mobilenetv3_large(batch: Size = 1) -> onnx.ModelProto:
    """Image [N,3,224,224] -> logits [N,1000]."""
    w = GraphWriter("mobilenetv3_large", batch, seed=3)
    x = w.pictures("input", 224, sample_edge=160)
    with w.scope("features", "0"):
        x = hard_swish(w, conv_bn(w, x, 16, 3, 2, names=("0", "1"), epsilon=EPSILON))
    for number, block in enumerate(BLOCKS, 1):
        with w.scope("features", str(number)):
            x = _inverted_residual(w, x, block)
    with w.scope("features", str(len(BLOCKS) + 1)):
        x = hard_swish(w, conv_bn(w, x, 960, names=("0", "1"), epsilon=EPSILON))
    return w.finish([("logits", _classifier(w, x))])


def _classifier(w: GraphWriter, x: Tensor) -> Tensor:
    x = flatten(w, global_average(w, x))
    with w.scope("classifier", "0"):
        x = gemm(w, x, 1280)
    x = hard_swish(w, x)
    with w.scope("classifier", "3"):
        return gemm(w, x, 1000)


def _inverted_residual(w: GraphWriter, x: Tensor, block: Block) -> Tensor:
    kernel, expanded, channels, squeezes, activation, stride = block
    y = x
    if expanded != x.sized(1):
        with w.scope("expand"):
            y = activation(w, conv_bn(w, y, expanded, names=("0", "1"), epsilon=EPSILON))
    with w.scope("depthwise"):
        y = conv_bn(w, y, expanded, kernel, stride, groups=expanded, names=("0", "1"), epsilon=EPSILON)
        y = activation(w, y)
    if squeezes:
        with w.scope("squeeze"):
            y = squeeze_excite(w, y, _divisible_by_8(expanded // 4), relu, hard_sigmoid)
    with w.scope("project"):
        y = conv_bn(w, y, channels, names=("0", "1"), epsilon=EPSILON)
    return w.add(x, y) if stride == 1 and channels == x.sized(1) else y


def _divisible_by_8(channels: int) -> int:
    """The nearest multiple of 8 that is not more than a tenth below ``channels``."""
    rounded = max(8, (channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
