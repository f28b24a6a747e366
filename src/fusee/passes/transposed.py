"""Transposed convolutions as convolutions whose channels are pixels of the result.

With stride s, result position p = s*q + r takes the taps r, r + s, r + 2s … of the kernel: for every phase r a
convolution with ceil(k / s) taps. All phases together are one convolution with s * s times the channels; its
channels are then laid out as pixels, and the padding is cut off (Shi et al., "Is the deconvolution layer the same as
a convolutional layer?", 2016).
"""

from __future__ import annotations

import numpy as np

from fusee.base.dims import Dim
from fusee.base.types import Array
from fusee.ir.graph import Value, const_array
from fusee.ir.pattern import Pat, need
from fusee.ir.rewrite import rule
from fusee.ops.conv_variants import ConvTranspose
from fusee.ops.linear import Conv
from fusee.ops.shape import Reshape, Slice, Transpose
from fusee.passes.known import like


@rule(Pat(ConvTranspose, "x", "w", rest=True))
def conv_transpose_by_phases(root: Value, x: Value, w: Value) -> Value:
    """A convolution with a channel for every phase, and the phases moved to where their pixels are."""
    op = root.op
    assert isinstance(op, ConvTranspose)
    kernel = const_array(w)
    need(kernel is not None and root.type.dtype.is_float, "the weight is not a constant of floats")
    assert kernel is not None
    need(x.type.rank == 4 and op.group == 1, f"x is {x.type} in {op.group} groups; only one group of two spatial axes")
    need(all(d == 1 for d in op.dilations), f"the dilations are {list(op.dilations)}")
    need(min(*op.pads, *op.output_padding) >= 0, "padding takes elements away")
    taps = [-(-k // s) for k, s in zip(kernel.shape[2:], op.strides, strict=True)]
    sizes = [s * (n + t - 1) for s, n, t in zip(op.strides, x.type.shape[2:], taps, strict=True)]
    over = [p + m - n for p, m, n in zip(op.pads[:2], root.type.shape[2:], sizes, strict=True)]
    need(all(isinstance(d, int) and d <= 0 for d in over), "output padding goes beyond the last tap")
    pads = tuple(t - 1 for t in taps) * 2
    bias = [like(np.tile(_known(b), int(np.prod(op.strides))), b) for b in root.operands[2:]]
    phases = Conv((1, 1), pads, (1, 1))(x, like(_phases(kernel, op.strides, taps), w), *bias)
    return _cut(_as_pixels(phases, op.strides, root.type.shape[1]), op.pads, root)


def _known(value: Value) -> Array:
    array = const_array(value)
    need(array is not None, "the bias is not a constant")
    assert array is not None
    return array


def _phases(kernel: Array, strides: tuple[int, ...], taps: list[int]) -> Array:
    """The weight [s * s * O, C, taps, taps] of a kernel [C, O, kh, kw]: phase by phase, its taps from last to first."""
    (c, o, *sizes), (sh, sw), (th, tw) = kernel.shape, strides, taps
    full = np.zeros((c, o, th * sh, tw * sw), kernel.dtype)
    full[:, :, : sizes[0], : sizes[1]] = kernel
    split = full.reshape(c, o, th, sh, tw, sw)[:, :, ::-1, :, ::-1]
    return split.transpose(3, 5, 1, 0, 2, 4).reshape(sh * sw * o, c, th, tw)


def _as_pixels(phases: Value, strides: tuple[int, ...], channels: Dim) -> Value:
    """[N, sh * sw * O, H, W] as [N, O, H * sh, W * sw]."""
    n, _, h, w = phases.type.shape
    sh, sw = strides
    apart = Reshape((n, sh, sw, channels, h, w))(phases)
    return Reshape((n, channels, h * sh, w * sw))(Transpose((0, 3, 4, 1, 5, 2))(apart))


def _cut(pixels: Value, pads: tuple[int, ...], root: Value) -> Value:
    """Without the padding of the transposed convolution."""
    if pixels.type == root.type:
        return pixels
    return Slice((0, 0, pads[0], pads[1]), root.type.shape, (1, 1, 1, 1))(pixels)


TRANSPOSED = (conv_transpose_by_phases,)
