"""ONNX ops that cut and pad: slice, split, pad, centre crop. Sizes that only the run knows are clamped in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusee.base.dims import Dim, ceildiv, dim_max, dim_min, floordiv, is_nonnegative, less, select
from fusee.base.errors import ModelError
from fusee.base.types import TensorType
from fusee.ir.graph import Value, const
from fusee.onnx.axes import at_axis, axes_operand, normal_axes, normal_axis, scalar
from fusee.onnx.call import Lowering, OnnxCall
from fusee.ops.shape import PAD_MODES, Pad, Slice

ENDLESS = (1 << 31) - 1  # exporters write the largest integer of 32 or 64 bits for "to the end"


def lower_slice(call: OnnxCall) -> Value:
    """Starts, ends, axes and steps are inputs from opset 10 on, before that attributes without steps."""
    starts, ends, axes, steps = _slice_attributes(call) if call.version < 10 else _slice_operands(call)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ModelError(f"{call.where}: {len(starts)} starts, {len(ends)} ends, {len(axes)} axes, {len(steps)} steps")
    x = call.ordered(call.value(0))
    rows: list[tuple[Dim, Dim, Dim]] = []
    for axis, size in enumerate(x.type.shape):
        start, end, step = (at_axis(axes, *v) for v in ((starts, axis, 0), (ends, axis, size), (steps, axis, 1)))
        if step == 0:
            raise ModelError(f"{call.where}: the step of axis {axis} is 0")
        rows.append(slice_range(start, end, step, size))
    firsts, sizes, steps = (tuple(row[i] for row in rows) for i in range(3))
    return Slice(firsts, sizes, steps)(x, loc=call.loc)


def _slice_attributes(call: OnnxCall) -> tuple[Sequence[Dim], ...]:
    starts = call.ints("starts")
    axes = normal_axes(call, call.ints("axes", tuple(range(len(starts)))), call.type(0).rank)
    return starts, call.ints("ends"), axes, (1,) * len(starts)


def _slice_operands(call: OnnxCall) -> tuple[Sequence[Dim], ...]:
    starts, ends = call.dims(1), call.dims(2)
    axes = axes_operand(call, 3, call.type(0).rank)
    return (
        starts,
        ends,
        range(len(starts)) if axes is None else axes,
        call.dims(4) if call.has(4) else (1,) * len(starts),
    )


def slice_range(start: Dim, end: Dim, step: Dim, size: Dim) -> tuple[Dim, Dim, Dim]:
    """Python's meaning of ``[start:end:step]`` on an axis, as the first element, the number of elements, the step."""
    first, last = _clamped(start, size, 0, size), _clamped(end, size, 0, size)
    forwards = first, dim_max(0, ceildiv(last - first, step))
    first, last = _clamped(start, size, 0, size - 1), _clamped(end, size, -1, size - 1)
    backwards = first, dim_max(0, ceildiv(first - last, 0 - step))
    is_backwards = less(step, 0)
    return select(is_backwards, backwards[0], forwards[0]), select(is_backwards, backwards[1], forwards[1]), step


def _clamped(position: Dim, size: Dim, low: Dim, high: Dim) -> Dim:
    """A position that counts from the end when it is negative, kept within [low, high]."""
    if isinstance(position, int) and position >= ENDLESS:
        return high
    if isinstance(position, int) and position <= -ENDLESS:
        return low
    if position == size:
        return dim_min(position, high)
    from_start, from_end = dim_min(position, high), dim_max(position + size, low)
    if is_nonnegative(position):
        return from_start
    return from_end if is_nonnegative(-1 - position) else select(less(position, 0), from_end, from_start)


def lower_split(call: OnnxCall) -> tuple[Value, ...]:
    """Sizes are an attribute up to opset 12, then an input; without them the parts are equal (the last may be less)."""
    sizes = _given_sizes(call)
    x = call.ordered(call.value(0))
    axis = normal_axis(call, call.int("axis", 0), x.type.rank)
    if sizes is None:
        sizes = _equal_sizes(call, x.type.shape[axis])
    if len(sizes) != len(call.output_names):
        raise ModelError(f"{call.where}: {len(sizes)} parts for {len(call.output_names)} outputs")
    if isinstance(extra := sum(sizes, start=0) - x.type.shape[axis], int) and extra:
        raise ModelError(f"{call.where}: parts {list(sizes)} do not add up to the size of axis {axis} of {x.type}")
    return _parts(call, x, axis, sizes)


def _given_sizes(call: OnnxCall) -> Sequence[Dim] | None:
    if call.version < 13:
        return call.ints("split") if call.has_attribute("split") else None
    return call.dims(1) if call.has(1) else None


def _equal_sizes(call: OnnxCall, size: Dim) -> tuple[Dim, ...]:
    count = call.int("num_outputs", len(call.output_names))
    part = ceildiv(size, count)
    if call.version < 18 and isinstance(size, int) and size % count:
        raise ModelError(f"{call.where}: an axis of size {size} does not split into {count} equal parts")
    if isinstance(size, int) and isinstance(part, int):
        return tuple(max(0, min(part, size - i * part)) for i in range(count))
    return (
        (floordiv(size, count),) * count if call.version < 18 else (*(part,) * (count - 1), size - (count - 1) * part)
    )


def _parts(call: OnnxCall, x: Value, axis: int, sizes: Sequence[Dim]) -> tuple[Value, ...]:
    parts: list[Value] = []
    start: Dim = 0
    for size in sizes:
        starts = tuple(start if a == axis else 0 for a in range(x.type.rank))
        shape = tuple(size if a == axis else d for a, d in enumerate(x.type.shape))
        parts.append(Slice(starts, shape, (1,) * x.type.rank)(x, loc=call.loc))
        start = start + size
    return tuple(parts)


def lower_pad(call: OnnxCall) -> Value:
    """Pads and value are attributes up to opset 10, then inputs; from opset 18 on they may be for some axes only."""
    pads: Sequence[Dim] = call.ints("pads") if call.version < 11 and not call.domain else call.dims(1)
    axes = axes_operand(call, 3, call.type(0).rank) if call.version >= 18 else None
    axes = range(call.type(0).rank) if axes is None else axes
    x = call.ordered(call.value(0))
    if len(pads) != 2 * len(axes):
        raise ModelError(f"{call.where}: {len(pads)} pads for {len(axes)} axes; expected two per axis")
    mode = call.string("mode", "constant")
    if mode not in PAD_MODES:
        raise ModelError(f"{call.where}: mode {mode!r} is not one of {', '.join(PAD_MODES)}")
    before, after = (
        tuple(at_axis(axes, side, a, 0) for a in range(x.type.rank)) for side in (pads[: len(axes)], pads[len(axes) :])
    )
    op = Pad(before, after, mode)
    return op(x, _pad_value(call, x.type), loc=call.loc) if mode == "constant" else op(x, loc=call.loc)


def _pad_value(call: OnnxCall, x: TensorType) -> Value:
    if call.version < 11 and not call.domain:
        return const(np.array(call.float("value", 0.0)), x.dtype)
    given = call.optional(2)
    return const(np.array(0), x.dtype) if given is None else scalar(given, call.loc)


def lower_center_crop_pad(call: OnnxCall) -> Value:
    target = call.dims(1)
    x = call.ordered(call.value(0))
    axes = normal_axes(call, call.ints("axes", tuple(range(x.type.rank))), x.type.rank)
    if len(target) != len(axes):
        raise ModelError(f"{call.where}: {len(target)} sizes for {len(axes)} axes")
    growth = {a: t - x.type.shape[a] for a, t in zip(axes, target, strict=True)}
    before = tuple(_half(growth.get(a, 0)) for a in range(x.type.rank))
    after = tuple(growth.get(a, 0) - b for a, b in enumerate(before))
    return Pad(before, after)(x, const(np.array(0), x.type.dtype), loc=call.loc)


def _half(growth: Dim) -> Dim:
    """Half of what is added or taken away, rounded towards 0."""
    if is_nonnegative(growth):
        return floordiv(growth, 2)
    return select(less(growth, 0), 0 - floordiv(0 - growth, 2), floordiv(growth, 2))


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("Slice", 1, lower_slice),
    Lowering("Split", 2, lower_split),
    Lowering("Pad", 2, lower_pad),
    Lowering("Pad", 1, lower_pad, "com.microsoft"),
    Lowering("CenterCropPad", 18, lower_center_crop_pad),
)
