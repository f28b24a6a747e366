"""Channels last: convolutions and pools compute NHWC, and the transposes that this needs sink until they cancel.

``TO_CHANNELS_LAST`` puts a transpose before and after every convolution and pool; the rules of ``sink`` carry those
after it downwards, through everything that can work on permuted axes, until they meet one before the next.
"""

from __future__ import annotations

from dataclasses import replace

from fusee.ir.graph import Value
from fusee.ir.pattern import Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.linear import Conv
from fusee.ops.pool import Pool
from fusee.ops.shape import Transpose


def to_first(rank: int) -> tuple[int, ...]:
    """The perm that turns channels-last into channels-first."""
    return (0, rank - 1, *range(1, rank - 1))


def to_last(rank: int) -> tuple[int, ...]:
    """The perm that turns channels-first into channels-last."""
    return (0, *range(2, rank), 1)


@rule(Pat(Conv, "x", rest=True))
def conv_channels_last(root: Value, x: Value) -> Value:
    """A 2-D convolution reads and writes NHWC; its weight stays as it is."""
    assert isinstance(root.op, Conv)
    fits(root.op.layout == "NCHW")
    need(x.type.rank == 4, f"x is {x.type}: only two spatial axes have NHWC kernels")
    moved = Transpose(to_last(4))(x)
    return Transpose(to_first(4))(replace(root.op, layout="NHWC")(moved, *root.operands[1:]))


@rule(Pat(Pool, "x"))
def pool_channels_last(root: Value, x: Value) -> Value:
    """A 2-D pool reads and writes NHWC."""
    assert isinstance(root.op, Pool)
    fits(root.op.layout == "NCHW")
    need(x.type.rank == 4, f"x is {x.type}: only two spatial axes have NHWC kernels")
    return Transpose(to_first(4))(replace(root.op, layout="NHWC")(Transpose(to_last(4))(x)))


TO_CHANNELS_LAST = (conv_channels_last, pool_channels_last)
