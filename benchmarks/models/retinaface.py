"""RetinaFace (Deng et al., 2019) on ResNet-50 and on MobileNet-0.25, 640 x 640: faces with five landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx

from benchmarks.models.layers import conv, conv_bn, leaky_relu, nearest, relu
from benchmarks.models.resnet import resnet50_stages
from benchmarks.models.writer import GraphWriter, Size, Tensor

SIZE, ANCHORS = 640, 2
HEADS = (("BboxHead", 4), ("ClassHead", 2), ("LandmarkHead", 10))
"""Name and numbers per anchor of each head."""
MOBILE_STAGES = (
    ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
    ((128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1)),
    ((256, 2), (256, 1)),
)
"""Channels and stride of each separable convolution."""
MOBILE_SLOPE = 0.1


def retinaface_r50(batch: Size = 1) -> onnx.ModelProto:
    """Image [N,3,640,640] -> loc [N,16800,4], conf [N,16800,2], landms [N,16800,10]."""
    w = GraphWriter("retinaface_r50", batch, seed=640)
    x = w.pictures("input0", SIZE)
    with w.scope("body"):
        levels = resnet50_stages(w, x)[1:]
    return _detector(w, levels, channels=256, slope=0.0)


def retinaface_mnet025(batch: Size = 1) -> onnx.ModelProto:
    """Image [N,3,640,640] -> loc [N,16800,4], conf [N,16800,2], landms [N,16800,10]."""
    w = GraphWriter("retinaface_mnet025", batch, seed=25)
    x = w.pictures("input0", SIZE, sample_edge=160)
    with w.scope("body", "stage1", "0"):
        x = leaky_relu(w, conv_bn(w, x, 8, 3, 2, names=("0", "1")), MOBILE_SLOPE)
    levels: list[Tensor] = []
    for number, stage in enumerate(MOBILE_STAGES, 1):
        for block, (channels, stride) in enumerate(stage, 1 if number == 1 else 0):
            with w.scope("body", f"stage{number}", str(block)):
                x = _separable(w, x, channels, stride)
        levels.append(x)
    return _detector(w, levels, channels=64, slope=MOBILE_SLOPE)


def _separable(w: GraphWriter, x: Tensor, channels: int, stride: int) -> Tensor:
    inputs = x.sized(1)
    x = leaky_relu(w, conv_bn(w, x, inputs, 3, stride, groups=inputs, names=("0", "1")), MOBILE_SLOPE)
    return leaky_relu(w, conv_bn(w, x, channels, names=("3", "4")), MOBILE_SLOPE)


def _detector(w: GraphWriter, levels: Sequence[Tensor], channels: int, slope: float) -> onnx.ModelProto:
    with w.scope("fpn"):
        levels = _pyramid(w, levels, channels, slope)
    features: list[Tensor] = []
    for number, level in enumerate(levels, 1):
        with w.scope(f"ssh{number}"):
            features.append(_context(w, level, channels, slope))
    boxes, classes, landmarks = (_head(w, name, features, numbers) for name, numbers in HEADS)
    classes = replace(classes, name=w.node("Softmax", (classes,), axis=-1))
    return w.finish([("loc", boxes), ("conf", classes), ("landms", landmarks)])


def _pyramid(w: GraphWriter, levels: Sequence[Tensor], channels: int, slope: float) -> list[Tensor]:
    """The levels with the same channels each, coarser ones added to finer ones."""
    merged: list[Tensor] = []
    for number, level in enumerate(levels, 1):
        x = conv_bn(w, level, channels, names=(f"output{number}.0", f"output{number}.1"))
        merged.append(leaky_relu(w, x, slope))
    for number in (2, 1):
        x = w.add(merged[number - 1], _resized(w, merged[number], merged[number - 1]))
        x = conv_bn(w, x, channels, 3, names=(f"merge{number}.0", f"merge{number}.1"))
        merged[number - 1] = leaky_relu(w, x, slope)
    return merged


def _resized(w: GraphWriter, x: Tensor, like: Tensor) -> Tensor:
    """``x`` with its pixels repeated up to the height and width of ``like``, given as sizes."""
    return nearest(w, x, like.sized(2) // x.sized(2), "", w.shape_operand((*x.shape[:2], *like.shape[2:])))


def _context(w: GraphWriter, x: Tensor, channels: int, slope: float) -> Tensor:
    """Windows of 3, 5 and 7 pixels side by side (SSH, Najibi et al., 2017)."""

    def block(y: Tensor, width: int, name: str) -> Tensor:
        return conv_bn(w, y, width, 3, names=(f"{name}.0", f"{name}.1"))

    narrow = block(x, channels // 2, "conv3X3")
    shared = leaky_relu(w, block(x, channels // 4, "conv5X5_1"), slope)
    middle = block(shared, channels // 4, "conv5X5_2")
    wide = block(leaky_relu(w, block(shared, channels // 4, "conv7X7_2"), slope), channels // 4, "conv7x7_3")
    return relu(w, w.concat((narrow, middle, wide), 1))


def _head(w: GraphWriter, name: str, features: Sequence[Tensor], numbers: int) -> Tensor:
    """``numbers`` values for each anchor of each pixel of all levels: [N,16800,numbers]."""
    parts: list[Tensor] = []
    for level, x in enumerate(features):
        with w.scope(name, str(level), "conv1x1"):
            x = conv(w, x, ANCHORS * numbers, bias=True)
        anchors = x.sized(2) * x.sized(3) * ANCHORS
        parts.append(w.reshape(w.transpose(x, 0, 2, 3, 1), (w.batch, anchors, numbers)))
    joined = w.concat(parts, 1)
    assert joined.sized(1) == ANCHORS * int(np.sum([(SIZE // stride) ** 2 for stride in (8, 16, 32)]))
    return joined
