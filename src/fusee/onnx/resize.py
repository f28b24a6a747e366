"""Lowerings of Resize and Upsample."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from fusee.base.dims import Dim, floordiv
from fusee.base.types import Array
from fusee.ir.graph import Value
from fusee.onnx.axes import normal_axes
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.folding import known_array
from fusee.ops.resize import Resize

MAX_DENOMINATOR = 4096  # a scale of a symbolic size is the simplest fraction that rounds to it in f32


def scaled_size(size: Dim, scale: float) -> Dim:
    """floor(size * scale), computed in f32 as ONNX Runtime does; exact fractions where the size is a name."""
    if isinstance(size, int):
        return int(np.floor(np.float32(scale) * np.float32(size)))
    ratio = Fraction(scale).limit_denominator(MAX_DENOMINATOR)
    if np.float32(float(ratio)) != np.float32(scale):
        ratio = Fraction(scale)
    return floordiv(size * ratio.numerator, ratio.denominator)


def _scales(call: OnnxCall, i: int) -> tuple[float, ...]:
    found = known_array(call, call.value(i))
    if found is None:
        call.refuse("the scales are computed at run time; give sizes instead, or constant scales")
    return tuple(float(s) for s in found.ravel())


def lower_upsample(call: OnnxCall) -> Value:
    """Upsample-7: the scales are an attribute."""
    return _simple(call, call.floats("scales"))


def lower_upsample_9(call: OnnxCall) -> Value:
    """Upsample-9 and Resize-10: the scales are an input."""
    return _simple(call, _scales(call, 1))


def _simple(call: OnnxCall, scales: Sequence[float]) -> Value:
    """Asymmetric coordinates; nearest takes the next element where an axis shrinks, the previous where it grows."""
    x = call.value(0)
    if len(scales) != x.type.rank:
        call.refuse(f"{len(scales)} scales for {x.type}")
    mode = call.string("mode", "nearest")
    if mode == "linear" or all(s >= 1 for s in scales):
        return _scaled(call, x, scales, mode, "floor")
    shrunk = _scaled(call, x, [min(s, 1.0) for s in scales], mode, "ceil")
    grown = [max(s, 1.0) for s in scales]
    return shrunk if all(s == 1 for s in grown) else _scaled(call, shrunk, grown, mode, "floor")


def _scaled(call: OnnxCall, x: Value, scales: Sequence[float], mode: str, rounding: str) -> Value:
    sizes = tuple(scaled_size(n, s) for n, s in zip(x.type.shape, scales, strict=True))
    return Resize(sizes, tuple(scales), mode, "asymmetric", rounding)(x, loc=call.loc)


def lower_resize(call: OnnxCall) -> Value:
    """Resize-11..19: scales or sizes, of all axes or of those listed."""
    x = call.value(0)
    rank = x.type.rank
    axes = normal_axes(call, call.ints("axes", tuple(range(rank))), rank)
    scales: list[float | None] = [1.0] * rank
    sizes = list(x.type.shape)
    if _is_given(call, 2):
        for axis, scale in zip(axes, _scales(call, 2), strict=True):
            scales[axis], sizes[axis] = scale, scaled_size(x.type.shape[axis], scale)
    else:
        _take_sizes(call, axes, scales, sizes)
    coordinate = call.string("coordinate_transformation_mode", "half_pixel")
    op = Resize(
        tuple(sizes),
        tuple(scales),
        call.string("mode", "nearest"),
        coordinate,
        call.string("nearest_mode", "round_prefer_floor"),
        call.float("cubic_coeff_a", -0.75),
        bool(call.int("exclude_outside", 0)),
        call.float("extrapolation_value", 0.0),
        bool(call.int("antialias", 0)),
        _region(call, axes, rank) if coordinate == "tf_crop_and_resize" else (),
    )
    return op(call.ordered(x), loc=call.loc)


def _is_given(call: OnnxCall, i: int) -> bool:
    """Whether an optional input is there; exporters also leave one out by giving it no elements."""
    return call.has(i) and call.type(i).size != 0


def _take_sizes(call: OnnxCall, axes: Sequence[int], scales: list[float | None], sizes: list[Dim]) -> None:
    """Set sizes, and where the aspect ratio is kept, the one scale they all follow."""
    if not _is_given(call, 3):
        call.refuse("it has neither scales nor sizes")
    wanted = call.dims(3)
    policy = call.string("keep_aspect_ratio_policy", "stretch")
    for axis, size in zip(axes, wanted, strict=True):
        scales[axis], sizes[axis] = None, size
    if policy == "stretch":
        return
    known = [
        (a, w, n)
        for a, w in zip(axes, wanted, strict=True)
        if isinstance(w, int) and isinstance(n := _size(call, a), int)
    ]
    if len(known) < len(axes):
        call.refuse(f"keep_aspect_ratio_policy {policy} with sizes only known at run time; use stretch")
    ratios = [w / n for _, w, n in known]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    for axis, _, size in known:
        scales[axis], sizes[axis] = scale, int(np.floor(scale * size + 0.5))


def _size(call: OnnxCall, axis: int) -> Dim:
    return call.type(0).shape[axis]


def _region(call: OnnxCall, axes: Sequence[int], rank: int) -> tuple[float, ...]:
    """The region of interest of every axis: all begins, then all ends."""
    given: Array = call.require_const(1, "the region of interest").ravel()
    region = [0.0] * rank + [1.0] * rank
    for i, axis in enumerate(axes):
        region[axis], region[axis + rank] = float(given[i]), float(given[i + len(axes)])
    return tuple(region)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("Upsample", 7, lower_upsample),
    Lowering("Upsample", 9, lower_upsample_9),
    Lowering("Resize", 10, lower_upsample_9),
    Lowering("Resize", 11, lower_resize),
)
