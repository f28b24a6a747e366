"""EfficientNet-B0 (Tan and Le, 2019)."""

from __future__ import annotations

import onnx

from benchmarks.models.layers import conv_bn, flatten, gemm, global_average, sigmoid, silu, squeeze_excite
from benchmarks.models.writer import GraphWriter, Size, Tensor

STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Expansion, kernel, stride of the first block, channels and blocks of each stage."""


def efficientnet_b0(batch: Size = 1) -> onnx.ModelProto:
    """Image [N,3,224,224] -> logits [N,1000]."""
    w = GraphWriter("efficientnet_b0", batch, seed=0)
    x = w.pictures("input", 224, sample_edge=160)
    with w.scope("features", "0"):
        x = silu(w, conv_bn(w, x, 32, 3, 2, names=("0", "1")))
    for number, (expansion, kernel, stride, channels, blocks) in enumerate(STAGES, 1):
        for block in range(blocks):
            with w.scope("features", str(number), str(block)):
                x = _mbconv(w, x, expansion, kernel, 1 if block else stride, channels)
    with w.scope("features", str(len(STAGES) + 1)):
        x = silu(w, conv_bn(w, x, 1280, names=("0", "1")))
    x = flatten(w, global_average(w, x))
    with w.scope("classifier", "1"):
        logits = gemm(w, x, 1000)
    return w.finish([("logits", logits)])


def _mbconv(w: GraphWriter, x: Tensor, expansion: int, kernel: int, stride: int, channels: int) -> Tensor:
    inputs = x.sized(1)
    expanded = inputs * expansion
    y = x
    if expansion != 1:
        with w.scope("expand"):
            y = silu(w, conv_bn(w, y, expanded, names=("0", "1")))
    with w.scope("depthwise"):
        y = silu(w, conv_bn(w, y, expanded, kernel, stride, groups=expanded, names=("0", "1")))
    with w.scope("squeeze"):
        y = squeeze_excite(w, y, max(1, inputs // 4), silu, sigmoid)
    with w.scope("project"):
        y = conv_bn(w, y, channels, names=("0", "1"))
    return w.add(y, x) if stride == 1 and channels == inputs else y
