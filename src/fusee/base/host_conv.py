"""Relatives of convolution on numpy: transposed, deformable, and blocks put back into images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fusee.base.dims import evaluate
from fusee.base.host_linear import Attributes, finished, working
from fusee.base.sampling import sample_linear_zero
from fusee.base.types import Array, DType
from fusee.base.windows import tap, tap_offsets, window_counts


def crop(x: Array, pads: Sequence[int]) -> Array:
    """Take padding off the spatial axes of [N, C, *spatial]; negative pads add zeros."""
    rank = len(pads) // 2
    ends = [n - max(a, 0) for n, a in zip(x.shape[2:], pads[rank:], strict=True)]
    inner = [slice(max(b, 0), e) for b, e in zip(pads[:rank], ends, strict=True)]
    grown = [(max(-b, 0), max(-a, 0)) for b, a in zip(pads[:rank], pads[rank:], strict=True)]
    return np.pad(x[(slice(None), slice(None), *inner)], [(0, 0), (0, 0), *grown])


def conv_transpose(attributes: Attributes, x: Array, w: Array, *bias: Array) -> tuple[Array]:
    """Every input element adds its multiple of the kernel to the output."""
    strides, dilations, group = attributes["strides"], attributes["dilations"], attributes["group"]
    columns = _columns(working(x), working(w), group)
    axes = zip(x.shape[2:], w.shape[2:], strides, dilations, attributes["output_padding"], strict=True)
    sizes = [s * (n - 1) + d * (k - 1) + 1 + e for n, k, s, d, e in axes]
    y = np.zeros((*columns.shape[:2], *sizes), columns.dtype)
    for index, offset in enumerate(tap_offsets(w.shape[2:])):
        target = tap(y, offset, x.shape[2:], strides, dilations)
        target += columns[:, :, index]
    y = crop(y, attributes["pads"])
    if bias:
        y = y + bias[0].astype(y.dtype).reshape(-1, *[1] * len(sizes))
    return (finished(y, DType.of(x.dtype)),)


def _columns(x: Array, w: Array, group: int) -> Array:
    """What each input element adds at each tap: [N, O, taps, *spatial]."""
    n, c, *spatial = x.shape
    taps = int(np.prod(w.shape[2:]))
    left = w.reshape(group, c // group, w.shape[1] * taps).swapaxes(1, 2)
    right = x.reshape(n, group, c // group, int(np.prod(spatial)))
    return np.matmul(left, right).reshape(n, group * w.shape[1], taps, *spatial)


def deform_conv(attributes: Attributes, x: Array, w: Array, offset: Array, b: Array, *mask: Array) -> tuple[Array]:
    """Convolution whose taps are moved by offsets and weighted by a mask."""
    (n, c), o, group, parts = x.shape[:2], w.shape[0], attributes["group"], attributes["offset_group"]
    oh, ow = offset.shape[2:]
    image = working(x)
    sampled = _sampled(attributes, image, offset.astype(image.dtype), w.shape[2:])
    if mask:
        weight = mask[0].astype(image.dtype).reshape(n, parts, 1, -1, oh, ow)
        sampled = sampled.reshape(n, parts, c // parts, -1, oh, ow) * weight
    weights = working(w).reshape(group, o // group, -1)
    columns = sampled.reshape(n, group, weights.shape[-1], oh * ow)
    y = np.matmul(weights, columns).reshape(n, o, oh, ow) + b.astype(image.dtype)[:, None, None]
    return (finished(y, DType.of(x.dtype)),)


def _sampled(attributes: Attributes, x: Array, offset: Array, kernel: tuple[int, ...]) -> Array:
    """The image at every moved tap: [N, C, taps, oh, ow]."""
    (n, c), (oh, ow), parts = x.shape[:2], offset.shape[2:], attributes["offset_group"]
    taps = kernel[0] * kernel[1]
    moved = offset.reshape(n, parts, taps, 2, oh, ow)
    base = _positions(attributes, kernel, (oh, ow)).astype(x.dtype)
    out = np.empty((n, c, taps, oh, ow), x.dtype)
    width = c // parts
    for i in range(n):
        for g in range(parts):
            at = base + moved[i, g].swapaxes(0, 1)
            out[i, g * width : (g + 1) * width] = sample_linear_zero(x[i, g * width : (g + 1) * width], at)
    return out


def _positions(attributes: Attributes, kernel: tuple[int, ...], counts: tuple[int, int]) -> Array:
    """Row and column of every tap before it is moved: [2, taps, oh, ow]."""
    steps = zip(kernel, counts, attributes["strides"], attributes["dilations"], attributes["pads"], strict=False)
    rows, columns = (np.arange(k)[:, None] * d + np.arange(n) * s - p for k, n, s, d, p in steps)
    shape = (kernel[0], kernel[1], *counts)
    both = (np.broadcast_to(rows[:, None, :, None], shape), np.broadcast_to(columns[None, :, None, :], shape))
    return np.stack(both).reshape(2, kernel[0] * kernel[1], *counts)


def col2_im(attributes: Attributes, x: Array) -> tuple[Array]:
    """Blocks added back into the image they were cut from."""
    image, block, pads = attributes["image"], attributes["block"], attributes["pads"]
    steps, rank = (attributes["strides"], attributes["dilations"]), len(image)
    counts = [evaluate(n, {}) for n in window_counts(tuple(image), block, *steps, pads)]
    columns = working(x).reshape(x.shape[0], -1, int(np.prod(block)), *counts)
    padded = [n + pads[i] + pads[i + rank] for i, n in enumerate(image)]
    y = np.zeros((*columns.shape[:2], *padded), columns.dtype)
    for index, offset in enumerate(tap_offsets(block)):
        target = tap(y, offset, counts, *steps)
        target += columns[:, :, index]
    return (np.ascontiguousarray(finished(crop(y, pads), DType.of(x.dtype))),)


CONV_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "conv_transpose": conv_transpose,
    "deform_conv": deform_conv,
    "col2_im": col2_im,
}
