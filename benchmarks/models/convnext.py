"""ConvNeXt-T (Liu et al., 2022)."""

from __future__ import annotations

import onnx

from benchmarks.models.layers import conv, flatten, gelu, gemm, global_average, layer_norm, linear
from benchmarks.models.writer import GraphWriter, Size, Tensor

STAGES = ((96, 3), (192, 3), (384, 9), (768, 3))
"""Channels and blocks of each stage."""
EPSILON = 1e-6


def convnext_tiny(batch: Size = 1) -> onnx.ModelProto:
    """Image [N,3,224,224] -> logits [N,1000]."""
    w = GraphWriter("convnext_tiny", batch, seed=28)
    x = w.input("input", (batch, 3, 224, 224))
    for number, (channels, blocks) in enumerate(STAGES):
        with w.scope("features", str(2 * number)):
            x = _downsample(w, x, channels) if number else _stem(w, x, channels)
        for block in range(blocks):
            with w.scope("features", str(2 * number + 1), str(block)):
                x = _block(w, x)
    x = global_average(w, x)
    with w.scope("classifier", "0"):
        x = _norm_over_channels(w, x)
    x = flatten(w, x)
    with w.scope("classifier", "2"):
        logits = gemm(w, x, 1000)
    return w.finish([("logits", logits)])


def _stem(w: GraphWriter, x: Tensor, channels: int) -> Tensor:
    with w.scope("0"):
        x = conv(w, x, channels, 4, 4, pad=0, bias=True)
    with w.scope("1"):
        return _norm_over_channels(w, x)


def _downsample(w: GraphWriter, x: Tensor, channels: int) -> Tensor:
    with w.scope("0"):
        x = _norm_over_channels(w, x)
    with w.scope("1"):
        return conv(w, x, channels, 2, 2, pad=0, bias=True)


def _norm_over_channels(w: GraphWriter, x: Tensor) -> Tensor:
    """LayerNorm over the channels of [N,C,H,W], between two transposes."""
    return w.transpose(layer_norm(w, w.transpose(x, 0, 2, 3, 1), EPSILON), 0, 3, 1, 2)


def _block(w: GraphWriter, x: Tensor) -> Tensor:
    channels = x.sized(1)
    with w.scope("block", "0"):
        y = conv(w, x, channels, 7, groups=channels, bias=True)
    y = w.transpose(y, 0, 2, 3, 1)
    with w.scope("block", "2"):
        y = layer_norm(w, y, EPSILON)
    with w.scope("block", "3"):
        y = linear(w, y, 4 * channels)
    y = gelu(w, y)
    with w.scope("block", "5"):
        y = linear(w, y, channels)
    y = w.transpose(y, 0, 3, 1, 2)
    scale = w.weight("layer_scale", w.uniform((channels, 1, 1), 0.2, 0.8))
    return w.add(Tensor(w.node("Mul", (scale, y)), y.shape), x)
