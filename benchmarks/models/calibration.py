"""Runs layers on a few small pictures while a network is written, so that its weights fit what reaches them.

Pictures of one size serve networks of all sizes: convolution weights do not depend on it. Statistics taken here become
those of BatchNormalization; without them a deep network of random weights saturates or forgets its input.

All of it is f64, and statistics are rounded to ten bits: machines that sum in another order still get the same weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
PICTURES = 8


def draw_pictures(random: np.random.Generator, count: int, edge: int) -> Array:
    """Normalised pictures, f32 [count,3,edge,edge]: patches of colour at five scales over a little noise."""
    picture = 0.2 * random.standard_normal((count, 3, edge, edge), dtype=np.float32)
    for cells in (2, 4, 8, 16, 32):
        patches = random.standard_normal((count, 3, cells, cells), dtype=np.float32)
        nearest = np.arange(edge) * cells // edge
        picture += np.float32(0.45) * patches[:, :, nearest[:, None], nearest]
    return picture


def convolve(x: Array, filters: Array, stride: int, pad: int) -> Array:
    """Convolution of f64 [N,C,H,W] with [O,C,K,K], or of each channel alone with [C,1,K,K]."""
    count, channels = x.shape[:2]
    outputs, inputs, kernel, _ = filters.shape
    rows, columns = ((edge + 2 * pad - kernel) // stride + 1 for edge in x.shape[2:])
    taps = [(i, j) for i in range(kernel) for j in range(kernel)]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    patches = [_shifted(padded, i, j, rows, columns, stride) for i, j in taps]
    if inputs == 1:
        return np.sum([filters[:, 0, i, j, None, None] * patch for (i, j), patch in zip(taps, patches, strict=True)], 0)
    # One product for the whole layer: many small ones spend their time waking threads.
    matrix = np.stack(patches).transpose(2, 0, 1, 3, 4).reshape(channels * len(taps), -1)
    product = filters.astype(np.float64).reshape(outputs, -1) @ matrix
    return product.reshape(outputs, count, rows, columns).swapaxes(0, 1)


def _shifted(padded: Array, row: int, column: int, rows: int, columns: int, stride: int) -> Array:
    """The pixels that one tap of a window meets."""
    bottom, right = row + stride * (rows - 1) + 1, column + stride * (columns - 1) + 1
    return padded[:, :, row:bottom:stride, column:right:stride]


def pool_maximum(x: Array, kernel: int, stride: int, pad: int) -> Array:
    """Largest element of each window of [N,C,H,W]."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    rows, columns = ((edge + 2 * pad - kernel) // stride + 1 for edge in x.shape[2:])
    windows = [_shifted(padded, i, j, rows, columns, stride) for i in range(kernel) for j in range(kernel)]
    return np.maximum.reduce(windows)


def repeat_pixels(x: Array, factor: int) -> Array:
    """Every pixel of [N,C,H,W] repeated in both directions."""
    return x.repeat(factor, axis=2).repeat(factor, axis=3)


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def ramp(x: Array) -> Array:
    """min(max(x / 6 + 1/2, 0), 1)."""
    return np.clip(x / 6 + 0.5, 0, 1)


def channel_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel of [N,C,H,W]; no variance is less than a hundredth of the average one."""
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    return _rounded(mean), _rounded(np.maximum(variance, 0.01 * variance.mean()))


def _rounded(x: Array) -> Array:
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 1024) / 1024, exponent).astype(np.float32)


def spread(x: Array) -> np.float32:
    """Standard deviation of all elements."""
    return np.float32(_rounded(x.std()))
