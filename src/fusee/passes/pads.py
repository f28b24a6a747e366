"""Padding moves into the window of the convolution or pool that follows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fusee.base.dims import Dim
from fusee.ir.graph import Value, const_array
from fusee.ir.pattern import Pat, need
from fusee.ir.rewrite import rule
from fusee.ops.linear import Conv
from fusee.ops.pool import Pool
from fusee.ops.shape import Pad
from fusee.passes.known import uniform


def _spatial_pads(padded: Value) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a Pad of constants adds before and after each spatial axis of an NCHW tensor."""
    op = padded.op
    assert isinstance(op, Pad)
    need(op.mode == "constant", f"the padding mode is {op.mode}")
    need(op.before[:2] + op.after[:2] == (0, 0, 0, 0), "batch or channels are padded")
    return _numbers(op.before[2:]), _numbers(op.after[2:])


def _numbers(dims: tuple[Dim, ...]) -> tuple[int, ...]:
    known = tuple(d for d in dims if isinstance(d, int))
    need(len(known) == len(dims), "the padding is not known at build")
    need(all(d >= 0 for d in known), "the padding takes elements away")
    return known


def _joined(pads: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(pads, before + after, strict=True))


@rule(Pat(Conv, Pat(Pad, "x", "v", name="padded"), "w", rest=True))
def pad_into_conv(root: Value, padded: Value, x: Value, v: Value, w: Value) -> Value:
    """A convolution pads with zeros by itself."""
    assert isinstance(root.op, Conv)
    before, after = _spatial_pads(padded)
    need(uniform(v) == 0.0, "the padding is not known to be zero")
    need(root.op.layout == "NCHW", f"the layout is {root.op.layout}")
    return replace(root.op, pads=_joined(root.op.pads, before, after))(x, *root.operands[1:])


@rule(Pat(Pool, Pat(Pad, "x", "v", name="padded")))
def pad_into_pool(root: Value, padded: Value, x: Value, v: Value) -> Value:
    """A max pool pads with the lowest value, an average that counts its padding with zeros."""
    op = root.op
    assert isinstance(op, Pool)
    before, after = _spatial_pads(padded)
    need(op.layout == "NCHW" and not op.ceil_mode, "only NCHW pools that round down")
    value = const_array(v)
    lowest = value is not None and value.dtype.kind == "f" and bool(np.all(value == -np.inf))
    zero = op.kind == "average" and (op.count_include_pad or not any(op.pads)) and uniform(v) == 0.0
    need((op.kind == "max" and lowest) or zero, f"a pool of kind {op.kind} does not pad with this value")
    pads = _joined(op.pads, before, after)
    fits = all(p < k for p, k in zip(pads, op.kernel * 2, strict=True))
    need(fits, f"padding {list(pads)} is not smaller than the window {list(op.kernel)}")
    return replace(op, pads=pads, count_include_pad=op.kind == "average")(x)


PADS = (pad_into_conv, pad_into_pool)
