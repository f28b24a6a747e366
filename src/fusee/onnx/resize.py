"""Lowerings of Resize and Upsample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from fusee.base.dims import Dim, floordiv
from fusee.base.host_resize import Filter, fitted_sizes
from fusee.ir.graph import Value
from fusee.onnx.axes import normal_axes
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.folding import known_array
from fusee.ops.resize import Resize, ResizeByData

MAX_DENOMINATOR = 4096  # a scale of a symbolic size is the simplest fraction that rounds to it in f32


def scaled_size(size: Dim, scale: float) -> Dim:
    """floor(size * scale), computed in f32 as ONNX Runtime does; exact fractions where the size is a name."""
    if isinstance(size, int):
        return int(np.floor(np.float32(scale) * np.float32(size)))
    ratio = Fraction(scale).limit_denominator(MAX_DENOMINATOR)
    if np.float32(float(ratio)) != np.float32(scale):
        ratio = Fraction(scale)
    return floordiv(size * ratio.numerator, ratio.denominator)


def lower_upsample(call: OnnxCall) -> Value:
    """Upsample-7: the scales are an attribute."""
    return _simple(call, call.floats("scales"))


def lower_upsample_9(call: OnnxCall) -> Value:
    """Upsample-9 and Resize-10: the scales are an input."""
    given = known_array(call, call.value(1))
    if given is not None:
        return _simple(call, given.ravel().tolist())
    x = call.value(0)
    if call.op_type == "Resize" and call.string("mode", "nearest") == "nearest":
        call.refuse("the scales are computed at run time; export it with opset 11 or newer, or with constant scales")
    axes = tuple(range(x.type.rank))
    op = ResizeByData(tuple(call.fresh("resized") for _ in axes), axes, mode=call.string("mode", "nearest"))
    op = replace(op, coordinate="asymmetric", nearest_mode="floor")
    return op(x, call.value(1), loc=call.loc)


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
    found = _known_sizes(call, axes)
    region = _region(call, axes, rank)
    if found is None or region is None:
        return _by_data(call, axes)
    sizes, scales = found
    how = _filter(call)
    op = Resize(sizes, scales, how.mode, how.coordinate, how.nearest_mode, how.cubic_a, how.exclude_outside)
    op = replace(op, extrapolation=how.extrapolation, antialias=how.antialias, roi=region)
    return op(call.ordered(x), loc=call.loc)


def _filter(call: OnnxCall) -> Filter:
    return Filter(
        call.string("mode", "nearest"),
        call.string("coordinate_transformation_mode", "half_pixel"),
        call.string("nearest_mode", "round_prefer_floor"),
        call.float("cubic_coeff_a", -0.75),
        bool(call.int("exclude_outside", 0)),
        call.float("extrapolation_value", 0.0),
        bool(call.int("antialias", 0)),
    )


def _is_given(call: OnnxCall, i: int) -> bool:
    """Whether an optional input is there; exporters also leave one out by giving it no elements."""
    return call.has(i) and call.type(i).size != 0


def _known_sizes(call: OnnxCall, axes: Sequence[int]) -> tuple[tuple[Dim, ...], tuple[float | None, ...]] | None:
    """Sizes and scales of all axes; None when only the run can tell them."""
    shape = call.type(0).shape
    scales: list[float | None] = [1.0] * len(shape)
    sizes = list(shape)
    if _is_given(call, 2):
        given = known_array(call, call.value(2))
        if given is None:
            return None
        for axis, scale in zip(axes, given.ravel().tolist(), strict=True):
            scales[axis], sizes[axis] = scale, scaled_size(shape[axis], scale)
        return tuple(sizes), tuple(scales)
    if not _is_given(call, 3):
        call.refuse("it has neither scales nor sizes")
    policy, wanted, common = call.string("keep_aspect_ratio_policy", "stretch"), call.dims(3), None
    if policy != "stretch":
        bounds = numbers_if_known([*wanted, *[shape[a] for a in axes]])
        if bounds is None:
            return None
        wanted, common = fitted_sizes(bounds[: len(axes)], bounds[len(axes) :], policy)
    for axis, size in zip(axes, wanted, strict=True):
        scales[axis], sizes[axis] = common, size
    return tuple(sizes), tuple(scales)


def numbers_if_known(dims: Sequence[Dim]) -> list[int] | None:
    """Dims as numbers; None when one of them is a name."""
    found = [d for d in dims if isinstance(d, int)]
    return found if len(found) == len(dims) else None


def _region(call: OnnxCall, axes: Sequence[int], rank: int) -> tuple[float, ...] | None:
    """The region of interest of every axis: all begins, then all ends. Empty without one, None when not known."""
    if call.string("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize":
        return ()
    given = known_array(call, call.value(1))
    if given is None:
        return None
    region = [0.0] * rank + [1.0] * rank
    for i, axis in enumerate(axes):
        region[axis], region[axis + rank] = float(given.ravel()[i]), float(given.ravel()[i + len(axes)])
    return tuple(region)


def _by_data(call: OnnxCall, axes: tuple[int, ...]) -> Value:
    """Resize as a step on the host, whose result's sizes get new names."""
    x, by_sizes = call.value(0), not _is_given(call, 2)
    sizes = list(x.type.shape)
    for axis in axes:
        sizes[axis] = call.fresh("resized")
    how = _filter(call)
    region = [call.value(1)] if how.coordinate == "tf_crop_and_resize" else []
    policy = call.string("keep_aspect_ratio_policy", "stretch")
    op = ResizeByData(tuple(sizes), axes, by_sizes, policy, **vars(how))
    return op(x, call.value(3 if by_sizes else 2), *region, loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("Upsample", 7, lower_upsample),
    Lowering("Upsample", 9, lower_upsample_9),
    Lowering("Resize", 10, lower_upsample_9),
    Lowering("Resize", 11, lower_resize),
)
