"""Swin-T (Liu et al., 2021): attention in windows, shifted in every second block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from benchmarks.models.attention import attended, perceptron, scaled, scores, stacked_heads
from benchmarks.models.layers import conv, flatten, gemm, global_average, layer_norm, linear
from benchmarks.models.writer import Array, GraphWriter, Size, Tensor

STAGES = ((96, 2, 3), (192, 2, 6), (384, 6, 12), (768, 2, 24))
"""Features, blocks and heads of each stage."""
WINDOW, SHIFT = 7, 3
AREA = WINDOW * WINDOW
EPSILON = 1e-5


def swin_t(batch: Size = 1) -> onnx.ModelProto:
    """Image [N,3,224,224] -> logits [N,1000]."""
    w = GraphWriter("swin_t", batch, seed=7)
    x = _patches(w, w.input("input", (batch, 3, 224, 224)))
    for number, (_, blocks, heads) in enumerate(STAGES):
        if number:
            with w.scope("features", str(2 * number)):
                x = _merge_patches(w, x)
        for block in range(blocks):
            with w.scope("features", str(2 * number + 1), str(block)):
                x = _block(w, x, heads, shifted=block % 2 == 1)
    with w.scope("norm"):
        x = layer_norm(w, x, EPSILON)
    x = flatten(w, global_average(w, w.transpose(x, 0, 3, 1, 2)))
    with w.scope("head"):
        logits = gemm(w, x, 1000)
    return w.finish([("logits", logits)])


def _patches(w: GraphWriter, x: Tensor) -> Tensor:
    """[N,3,H,W] -> [N,H/4,W/4,96]."""
    with w.scope("features", "0", "0"):
        x = conv(w, x, STAGES[0][0], 4, 4, pad=0, bias=True)
    x = w.transpose(x, 0, 2, 3, 1)
    with w.scope("features", "0", "2"):
        return layer_norm(w, x, EPSILON)


def _merge_patches(w: GraphWriter, x: Tensor) -> Tensor:
    """Four neighbours side by side, normalised, and reduced: [N,H,W,F] -> [N,H/2,W/2,2F]."""
    height, width = x.sized(1), x.sized(2)
    corners = [
        w.slice(w.slice(x, 1, row, height, 2), 2, column, width, 2) for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))
    ]
    y = w.concat(corners, 3)
    with w.scope("norm"):
        y = layer_norm(w, y, EPSILON)
    with w.scope("reduction"):
        return linear(w, y, 2 * x.sized(3), bias=False)


def _block(w: GraphWriter, x: Tensor, heads: int, shifted: bool) -> Tensor:
    with w.scope("norm1"):
        y = layer_norm(w, x, EPSILON)
    with w.scope("attn"):
        x = w.add(x, _window_attention(w, y, heads, shifted and x.sized(1) > WINDOW))
    with w.scope("norm2"):
        y = layer_norm(w, x, EPSILON)
    with w.scope("mlp"):
        return w.add(x, perceptron(w, y, 4 * x.sized(3), ("0", "3")))


def _window_attention(w: GraphWriter, x: Tensor, heads: int, shifted: bool) -> Tensor:
    """Attention inside windows of 7 x 7; a shifted block rolls the map first and masks what that made neighbours."""
    height, width, features = (x.sized(axis) for axis in (1, 2, 3))
    windows = (height // WINDOW) * (width // WINDOW)
    if shifted:
        x = _roll(w, x, SHIFT)
    rows = w.reshape(x, (w.batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, features))
    rows = w.reshape(w.transpose(rows, 0, 1, 3, 2, 4, 5), (w.size(windows), AREA, features))
    stacked = stacked_heads(w, rows, heads)
    query, key, value = (w.take(stacked, 0, i) for i in range(3))
    weights = scores(w, scaled(w, query, (features // heads) ** -0.5), key)
    weights = w.add(weights, _position_bias(w, heads))
    if shifted:
        weights = _masked(w, weights, heads, _window_mask(height, width))
    rows = attended(w, weights, value)
    with w.scope("proj"):
        rows = linear(w, rows, features)
    y = w.reshape(rows, (w.batch, height // WINDOW, width // WINDOW, WINDOW, WINDOW, features))
    y = w.reshape(w.transpose(y, 0, 1, 3, 2, 4, 5), (w.batch, height, width, features))
    return _roll(w, y, -SHIFT) if shifted else y


def _roll(w: GraphWriter, x: Tensor, shift: int) -> Tensor:
    """The map turned by ``shift`` rows and columns towards the origin."""
    for axis in (1, 2):
        size = x.sized(axis)
        cut = shift % size
        x = w.concat((w.slice(x, axis, cut, size), w.slice(x, axis, 0, cut)), axis)
    return x


def _position_bias(w: GraphWriter, heads: int) -> Tensor:
    """A learned number for each head and offset between two positions of a window: [1,heads,49,49]."""
    table = w.weight("relative_position_bias_table", w.normal(((2 * WINDOW - 1) ** 2, heads), 0.5))
    rows = w.node("Gather", (table, w.constant(_offsets().ravel())), axis=0)
    bias = w.transpose(w.reshape(Tensor(rows, (AREA * AREA, heads)), (AREA, AREA, heads)), 2, 0, 1)
    name = w.node("Unsqueeze", (bias, w.constant(np.array([0], np.int64))))
    return Tensor(name, (1, heads, AREA, AREA))


def _offsets() -> Array:
    """Row of the bias table for each pair of positions: i64 [49,49]."""
    place = np.stack(np.meshgrid(np.arange(WINDOW), np.arange(WINDOW), indexing="ij")).reshape(2, -1)
    delta = place[:, :, None] - place[:, None, :] + WINDOW - 1
    return (delta[0] * (2 * WINDOW - 1) + delta[1]).astype(np.int64)


def _masked(w: GraphWriter, weights: Tensor, heads: int, mask: Array) -> Tensor:
    """Adds the mask of each window, [windows,49,49], to the scores of that window."""
    grouped = w.reshape(weights, (w.batch, len(mask), heads, AREA, AREA))
    name = w.constant(mask)
    for axis in (1, 0):
        name = w.node("Unsqueeze", (name, w.constant(np.array([axis], np.int64))))
    grouped = replace(grouped, name=w.node("Add", (grouped, name)))
    return w.reshape(grouped, (w.size(len(mask)), heads, AREA, AREA))


def _window_mask(height: int, width: int) -> Array:
    """-100 between positions of a window that were not neighbours before the roll: f32 [windows,49,49]."""
    regions = np.zeros((height, width))
    edges = ((0, -WINDOW), (-WINDOW, -SHIFT), (-SHIFT, None))
    for row, (top, bottom) in enumerate(edges):
        for column, (left, right) in enumerate(edges):
            regions[top:bottom, left:right] = 3 * row + column
    tiles = regions.reshape(height // WINDOW, WINDOW, width // WINDOW, WINDOW).transpose(0, 2, 1, 3).reshape(-1, AREA)
    return np.where(tiles[:, None, :] == tiles[:, :, None], 0.0, -100.0).astype(np.float32)
