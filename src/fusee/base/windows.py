"""Sliding windows, as convolutions and pools see them: how many there are, and numpy views of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as cartesian

import numpy as np

from fusee.base.dims import Dim, ceildiv, dim_min, floordiv
from fusee.base.errors import ShapeError
from fusee.base.types import Array, Shape

LAYOUTS = ("NCHW", "NHWC")


def window_count(
    size: Dim, kernel: int, stride: int, dilation: int, pads: tuple[int, int], ceil_mode: bool = False
) -> Dim:
    """How many windows fit along one axis.

    With ``ceil_mode`` a last window may hang over the end, if it starts inside the input or the padding before it.
    Raises ShapeError when not even one window fits.
    """
    before, after = pads
    room = size + before + after - (dilation * (kernel - 1) + 1)
    if isinstance(room, int) and room < 0 and size != 0:
        raise ShapeError(
            f"a window of {kernel} (dilation {dilation}) does not fit into {size} with padding {before} and {after}"
        )
    if not ceil_mode:
        return floordiv(room, stride) + 1
    return dim_min(ceildiv(room, stride) + 1, ceildiv(size + before, stride))


def window_counts(
    sizes: Shape,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    ceil_mode: bool = False,
) -> Shape:
    """``window_count`` for every spatial axis; ``pads`` holds all begins, then all ends."""
    rank = len(sizes)
    check_window(rank, kernel=kernel, strides=strides, dilations=dilations)
    if len(pads) != 2 * rank:
        raise ShapeError(f"pads {tuple(pads)} should hold {2 * rank} numbers for {rank} spatial axes")
    return tuple(
        window_count(sizes[i], kernel[i], strides[i], dilations[i], (pads[i], pads[i + rank]), ceil_mode)
        for i in range(rank)
    )


def check_window(rank: int, **lists: Sequence[int]) -> None:
    """Raise ShapeError unless each list has one positive number for each of ``rank`` spatial axes."""
    for name, numbers in lists.items():
        if len(numbers) != rank or any(n < 1 for n in numbers):
            raise ShapeError(f"{name} {tuple(numbers)} should hold {rank} positive numbers, one for each spatial axis")


def spatial_shape(shape: Shape, layout: str) -> Shape:
    """The spatial sizes of an activation. Raises ShapeError when there are none or the layout is unknown."""
    if layout not in LAYOUTS:
        raise ShapeError(f"layout {layout!r} should be one of {', '.join(LAYOUTS)}")
    if len(shape) < 3:
        raise ShapeError(f"an activation of rank {len(shape)} has no spatial axes; expected rank 3 or more")
    return shape[2:] if layout == "NCHW" else shape[1:-1]


def channels(shape: Shape, layout: str) -> Dim:
    return shape[1] if layout == "NCHW" else shape[-1]


def activation_shape(batch: Dim, channel: Dim, spatial: Shape, layout: str) -> Shape:
    return (batch, channel, *spatial) if layout == "NCHW" else (batch, *spatial, channel)


def to_channels_first(x: Array, layout: str) -> Array:
    return x if layout == "NCHW" else np.moveaxis(x, -1, 1)


def from_channels_first(x: Array, layout: str) -> Array:
    return x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))


def pad_spatial(x: Array, before: Sequence[int], after: Sequence[int], value: float | int = 0) -> Array:
    """A channels-first array with its spatial axes padded by one value; itself when nothing is to be added."""
    if not any(before) and not any(after):
        return x
    width = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    return np.pad(x, width, constant_values=value)


def tap_offsets(kernel: Sequence[int]) -> list[tuple[int, ...]]:
    """The positions inside a window in row-major order."""
    return list(cartesian(*map(range, kernel)))


def tap(
    x: Array, offset: Sequence[int], counts: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """For every window of a padded channels-first array, its element at ``offset``: a view [N, C, *counts]."""
    window = [
        slice(o * d, o * d + s * (n - 1) + 1, s) for o, n, s, d in zip(offset, counts, strides, dilations, strict=True)
    ]
    return x[(slice(None), slice(None), *window)]


def window_view(
    x: Array, kernel: Sequence[int], counts: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """Every window of a padded channels-first array: a view [N, C, *kernel, *counts]."""
    steps = x.strides[2:]
    inner = tuple(s * d for s, d in zip(steps, dilations, strict=True))
    outer = tuple(s * d for s, d in zip(steps, strides, strict=True))
    shape = (*x.shape[:2], *kernel, *counts)
    return np.lib.stride_tricks.as_strided(x, shape, (*x.strides[:2], *inner, *outer), writeable=False)
