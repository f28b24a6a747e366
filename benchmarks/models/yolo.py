"""A detector with the layers of YOLOv8s, 640 x 640, decoded to boxes and class scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from benchmarks.models.layers import conv, conv_bn, max_pool, nearest, sigmoid, silu
from benchmarks.models.writer import Array, GraphWriter, Size, Tensor

SIZE, CLASSES, BINS = 640, 80, 16
EPSILON = 1e-3
STRIDES = (8, 16, 32)
BOX_CHANNELS, CLASS_CHANNELS = 64, 128


def yolov8s(batch: Size = 1) -> onnx.ModelProto:
    """Image [N,3,640,640] -> [N,84,8400]: centre x, centre y, width, height in pixels, then 80 class scores."""
    w = GraphWriter("yolov8s", batch, seed=8)
    x = w.pictures("images", SIZE)
    levels = _neck(w, *_backbone(w, x))
    with w.scope("model", "22"):
        output = _detect(w, levels)
    return w.finish([("output0", output)])


def _conv(w: GraphWriter, name: str, x: Tensor, channels: int, kernel: int = 1, stride: int = 1) -> Tensor:
    with w.scope(*name.split(".")):
        return silu(w, conv_bn(w, x, channels, kernel, stride, epsilon=EPSILON))


def _c2f(w: GraphWriter, name: str, x: Tensor, channels: int, blocks: int, residual: bool) -> Tensor:
    """Half of the channels go through ``blocks`` pairs of 3x3 convolutions; every stage of them is kept and merged."""
    half = channels // 2
    with w.scope(*name.split(".")):
        parts = list(w.split(_conv(w, "cv1", x, channels), (half, half), 1))
        for block in range(blocks):
            y = _conv(w, f"m.{block}.cv1", parts[-1], half, 3)
            y = _conv(w, f"m.{block}.cv2", y, half, 3)
            parts.append(w.add(parts[-1], y) if residual else y)
        return _conv(w, "cv2", w.concat(parts, 1), channels)


def _spatial_pyramid(w: GraphWriter, name: str, x: Tensor) -> Tensor:
    """Maxima over windows of 5, 9 and 13 pixels beside the input."""
    channels = x.sized(1)
    with w.scope(*name.split(".")):
        parts = [_conv(w, "cv1", x, channels // 2)]
        for _ in range(3):
            parts.append(max_pool(w, parts[-1], 5, 1, 2))
        return _conv(w, "cv2", w.concat(parts, 1), channels)


def _backbone(w: GraphWriter, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features of stride 8, 16 and 32 with 128, 256 and 512 channels."""
    x = _conv(w, "model.0", x, 32, 3, 2)
    results: list[Tensor] = []
    for number, (channels, blocks) in enumerate(((64, 1), (128, 2), (256, 2), (512, 1))):
        x = _conv(w, f"model.{2 * number + 1}", x, channels, 3, 2)
        x = _c2f(w, f"model.{2 * number + 2}", x, channels, blocks, residual=True)
        results.append(x)
    return results[1], results[2], _spatial_pyramid(w, "model.9", x)


def _neck(w: GraphWriter, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three levels after one pass down and one pass up the pyramid."""
    with w.scope("model", "10"):
        x = _upsample(w, coarse)
    inner = _c2f(w, "model.12", w.concat((x, middle), 1), 256, 1, residual=False)
    with w.scope("model", "13"):
        x = _upsample(w, inner)
    low = _c2f(w, "model.15", w.concat((x, fine), 1), 128, 1, residual=False)
    x = _conv(w, "model.16", low, 128, 3, 2)
    mid = _c2f(w, "model.18", w.concat((x, inner), 1), 256, 1, residual=False)
    x = _conv(w, "model.19", mid, 256, 3, 2)
    return low, mid, _c2f(w, "model.21", w.concat((x, coarse), 1), 512, 1, residual=False)


def _upsample(w: GraphWriter, x: Tensor) -> Tensor:
    """Twice the height and width, given as scales."""
    return nearest(w, x, 2, w.constant(np.array([1, 1, 2, 2], np.float32)))


def _detect(w: GraphWriter, levels: tuple[Tensor, ...]) -> Tensor:
    flat: list[Tensor] = []
    for number, x in enumerate(levels):
        boxes = _head(w, f"cv2.{number}", x, BOX_CHANNELS, 4 * BINS)
        classes = _head(w, f"cv3.{number}", x, CLASS_CHANNELS, CLASSES)
        both = w.concat((boxes, classes), 1)
        flat.append(w.reshape(both, (w.batch, both.sized(1), both.sized(2) * both.sized(3))))
    boxes, classes = w.split(w.concat(flat, 2), (4 * BINS, CLASSES), 1)
    return w.concat((_decode(w, boxes), sigmoid(w, classes)), 1)


def _head(w: GraphWriter, name: str, x: Tensor, hidden: int, channels: int) -> Tensor:
    x = _conv(w, f"{name}.0", x, hidden, 3)
    x = _conv(w, f"{name}.1", x, hidden, 3)
    with w.scope(*name.split("."), "2"):
        return conv(w, x, channels, bias=True)


def _decode(w: GraphWriter, boxes: Tensor) -> Tensor:
    """Distances to the four sides, each the mean of a distribution over 16 bins, to centre and size.

    [N,64,A] -> [N,4,A].
    """
    anchors = boxes.sized(2)
    x = w.transpose(w.reshape(boxes, (w.batch, 4, BINS, anchors)), 0, 2, 1, 3)
    x = replace(x, name=w.node("Softmax", (x,), axis=1))
    with w.scope("dfl"):
        x = w.reshape(_expected_bin(w, x), (w.batch, 4, anchors))
    places, strides = _anchor_points()
    near, far = w.slice(x, 1, 0, 2), w.slice(x, 1, 2, 4)
    centres = w.constant(places)
    first = w.node("Sub", (centres, near))
    last = w.node("Add", (centres, far))
    middle = w.node("Div", (w.node("Add", (first, last)), w.constant(2.0)))
    extent = w.node("Sub", (last, first))
    shape = (w.batch, 2, anchors)
    x = w.concat((Tensor(middle, shape), Tensor(extent, shape)), 1)
    return replace(x, name=w.node("Mul", (x, w.constant(strides))))


def _expected_bin(w: GraphWriter, x: Tensor) -> Tensor:
    """The mean bin of each distribution, as a 1x1 convolution with weights 0..15: [N,16,4,A] -> [N,1,4,A]."""
    weights = w.weight("conv.weight", np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
    ones = [1, 1]
    name = w.node("Conv", (x, weights), dilations=ones, group=1, kernel_shape=ones, pads=[0] * 4, strides=ones)
    return Tensor(name, (w.batch, 1, *x.shape[2:]))


def _anchor_points() -> tuple[Array, Array]:
    """Centres of all cells in units of their level's stride, f32 [1,2,8400], and the strides, f32 [1,8400]."""
    places: list[Array] = []
    strides: list[Array] = []
    for stride in STRIDES:
        ticks = np.arange(SIZE // stride) + 0.5
        y, x = np.meshgrid(ticks, ticks, indexing="ij")
        places.append(np.stack((x.ravel(), y.ravel())))
        strides.append(np.full(x.size, stride))
    return np.concatenate(places, 1)[None].astype(np.float32), np.concatenate(strides)[None].astype(np.float32)
