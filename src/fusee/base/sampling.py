"""Reading images between their pixels: the numpy that GridSample, RoiAlign and DeformConv share."""

from __future__ import annotations

from itertools import product as cartesian

import numpy as np

from fusee.base.types import Array


def take_zero(x: Array, at: Array) -> Array:
    """x[C, *spatial] at whole positions at[axes, ...]; 0 outside."""
    sizes = np.array(x.shape[1:]).reshape(-1, *[1] * (at.ndim - 1))
    inside = np.all((at >= 0) & (at < sizes), axis=0)
    index = np.where(inside, at, 0).astype(np.int64)
    return np.where(inside, x[(slice(None), *index)], np.zeros((), x.dtype))


def sample_linear_zero(x: Array, at: Array) -> Array:
    """x[C, *spatial] at positions at[axes, ...] between pixels, interpolated linearly; 0 outside."""
    low = np.floor(at)
    fraction = at - low
    total = np.zeros((x.shape[0], *at.shape[1:]), x.dtype)
    for corner in cartesian((0, 1), repeat=at.shape[0]):
        shift = np.array(corner).reshape(-1, *[1] * (at.ndim - 1))
        weight = np.prod(np.where(shift == 1, fraction, 1 - fraction), axis=0)
        total += (take_zero(x, low + shift) * weight).astype(x.dtype)
    return total


def sample_grid(x: Array, grid: Array, mode: str, padding: str, align_corners: bool) -> Array:
    """x[C, *spatial] at grid[axes, ...], whose positions run from -1 to 1, first axis first (GridSample)."""
    sizes = np.array(x.shape[1:]).reshape(-1, *[1] * (grid.ndim - 1)).astype(grid.dtype)
    at = (grid + 1) / 2 * (sizes - 1) if align_corners else ((grid + 1) * sizes - 1) / 2
    low, high = (np.zeros_like(sizes), sizes - 1) if align_corners else (np.full_like(sizes, -0.5), sizes - 0.5)
    if mode == "nearest":
        return _take_padded(x, _pad_positions(np.rint(at), padding, sizes, low, high), padding, low, high)
    at = _pad_positions(at, padding, sizes, low, high) if mode == "linear" else at
    base = np.floor(at)
    steps, weights = ((0, 1), _linear_weights) if mode == "linear" else ((-1, 0, 1, 2), _cubic_weights)
    each = weights(at - base)
    total = np.zeros((x.shape[0], *at.shape[1:]), np.result_type(x.dtype, at.dtype))
    for corner in cartesian(range(len(steps)), repeat=at.shape[0]):
        shift = np.array([steps[c] for c in corner]).reshape(-1, *[1] * (at.ndim - 1))
        weight = np.prod([each[c][axis] for axis, c in enumerate(corner)], axis=0)
        total += _take_padded(x, _pad_positions(base + shift, padding, sizes, low, high), padding, low, high) * weight
    return total


def _linear_weights(fraction: Array) -> list[Array]:
    return [1 - fraction, fraction]


def _cubic_weights(fraction: Array, a: float = -0.75) -> list[Array]:
    """Weights of the four elements around a position (Keys 1981, a = -0.75)."""
    near, far = fraction, 1 - fraction

    def inner(d: Array) -> Array:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def outer(d: Array) -> Array:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [outer(1 + near), inner(near), inner(far), outer(1 + far)]


def _pad_positions(at: Array, padding: str, sizes: Array, low: Array, high: Array) -> Array:
    if padding == "border":
        return np.clip(at, 0, sizes - 1)
    return _reflected(at, low, high) if padding == "reflection" else at


def _reflected(at: Array, low: Array, high: Array) -> Array:
    """Positions folded back and forth between two borders."""
    extent = np.maximum(high - low, np.finfo(at.dtype).tiny)
    beyond = np.where(at < low, low - at, at - high)
    turns = np.floor(beyond / extent)
    rest = beyond - turns * extent
    from_low = (turns % 2 == 0) == (at < low)
    folded = np.where(from_low, low + rest, high - rest)
    return np.where((at < low) | (at > high), folded, at)


def _take_padded(x: Array, at: Array, padding: str, low: Array, high: Array) -> Array:
    """x at positions that padding has moved inside; what rounding leaves at a border is clamped."""
    if padding == "reflection":
        return take_zero(x, np.clip(at, np.ceil(low), np.floor(high)))
    return take_zero(x, at)


def sample_roi(x: Array, rows: Array, columns: Array, maximum: bool) -> Array:
    """x[C, H, W] pooled over the points rows[h, p] x columns[w, q] of each result element: [C, h, w] (RoiAlign)."""
    if not rows.shape[1] or not columns.shape[1]:
        return np.zeros((x.shape[0], rows.shape[0], columns.shape[0]), x.dtype)
    (top, bottom, row_weights), (left, right, column_weights) = (
        _roi_axis(at, size) for at, size in zip((rows, columns), x.shape[1:], strict=True)
    )
    terms = [
        x[:, i.ravel()][:, :, j.ravel()] * (p.ravel()[:, None] * q.ravel())
        for i, p in zip((top, bottom), row_weights, strict=True)
        for j, q in zip((left, right), column_weights, strict=True)
    ]
    shape = (x.shape[0], *rows.shape, *columns.shape)
    if maximum:
        return np.maximum.reduce(terms).reshape(shape).max(axis=(2, 4)).astype(x.dtype)
    return sum(terms[1:], terms[0]).reshape(shape).mean(axis=(2, 4)).astype(x.dtype)


def _roi_axis(at: Array, size: int) -> tuple[Array, Array, tuple[Array, Array]]:
    """Both neighbours of each position along one axis, and their weights, 0 more than one element outside."""
    valid = (at >= -1) & (at <= size)
    at = np.clip(at, 0, size - 1)
    low = np.floor(at).astype(np.int64)
    fraction = at - low
    return low, np.minimum(low + 1, size - 1), (valid * (1 - fraction), valid * fraction)
