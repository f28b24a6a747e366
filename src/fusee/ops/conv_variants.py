"""Relatives of Conv that scatter, or gather where data says: ConvTranspose, DeformConv, Col2Im."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.dims import Dim, product
from fusee.base.errors import ShapeError
from fusee.base.types import Array, DType, TensorType
from fusee.ir.graph import Op, Sample
from fusee.ops.check import numbers
from fusee.ops.linear import check_bias, differ, finished, kernel_sizes, product_type, working
from fusee.ops.sampling import sample_linear_zero
from fusee.ops.windows import check_window, spatial_shape, tap, tap_offsets, window_counts

_MANY_TERMS = 1 << 20


def crop(x: Array, pads: tuple[int, ...]) -> Array:
    """Take padding off the spatial axes of [N, C, *spatial]; negative pads add zeros."""
    rank = len(pads) // 2
    ends = [n - max(a, 0) for n, a in zip(x.shape[2:], pads[rank:], strict=True)]
    inner = [slice(max(b, 0), e) for b, e in zip(pads[:rank], ends, strict=True)]
    grown = [(max(-b, 0), max(-a, 0)) for b, a in zip(pads[:rank], pads[rank:], strict=True)]
    return np.pad(x[(slice(None), slice(None), *inner)], [(0, 0), (0, 0), *grown])


@dataclass(frozen=True)
class ConvTranspose(Op):
    """Transposed convolution: every input element adds its multiple of the kernel to the output.

    x[N, C, *spatial], w[C, O / group, *kernel], b[O] if given -> [N, O, *result] with
    result = stride * (size - 1) + output_padding + dilation * (kernel - 1) + 1 - pads. Negative pads add zeros.
    ONNX ConvTranspose-11.
    """

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    output_padding: tuple[int, ...]
    group: int = 1

    def infer(self, x: TensorType, w: TensorType, *bias: TensorType) -> TensorType:
        kernel = kernel_sizes(x, w)
        spatial = spatial_shape(x.shape, "NCHW")
        check_window(len(spatial), kernel=kernel, strides=self.strides, dilations=self.dilations)
        rank = len(spatial)
        if len(self.pads) != 2 * rank or len(self.output_padding) != rank:
            raise ShapeError(f"pads {self.pads} and output_padding {self.output_padding} do not fit {x}")
        dtype = product_type(x.dtype, w.dtype, None)
        if differ(x.shape[1], w.shape[0]):
            raise ShapeError(f"{x} has {x.shape[1]} channels, but {w} takes {w.shape[0]}")
        o = w.shape[1] * self.group
        check_bias(bias, o, dtype)
        grown = [self._grown(i, spatial[i], kernel[i]) for i in range(rank)]
        sizes = [n - self.pads[i] - self.pads[i + rank] for i, n in enumerate(grown)]
        return TensorType(dtype, (x.shape[0], o, *sizes))

    def _grown(self, axis: int, size: Dim, kernel: int) -> Dim:
        reach = self.dilations[axis] * (kernel - 1) + 1
        return self.strides[axis] * (size - 1) + reach + self.output_padding[axis]

    def reference(self, x: Array, w: Array, *bias: Array) -> Array:
        columns = self._columns(working(x, _MANY_TERMS), working(w, _MANY_TERMS))
        sizes = numbers([self._grown(i, n, k) for i, (n, k) in enumerate(zip(x.shape[2:], w.shape[2:], strict=True))])
        y = np.zeros((*columns.shape[:2], *sizes), columns.dtype)
        for index, offset in enumerate(tap_offsets(w.shape[2:])):
            target = tap(y, offset, x.shape[2:], self.strides, self.dilations)
            target += columns[:, :, index]
        y = crop(y, self.pads)
        if bias:
            y = y + bias[0].astype(y.dtype).reshape(-1, *[1] * len(sizes))
        return finished(y, DType.of(x.dtype))

    def _columns(self, x: Array, w: Array) -> Array:
        """What each input element adds at each tap: [N, O, taps, *spatial]."""
        n, c, *spatial = x.shape
        left = w.reshape(self.group, c // self.group, -1).swapaxes(1, 2)
        right = x.reshape(n, self.group, c // self.group, -1)
        taps = int(np.prod(w.shape[2:]))
        return np.matmul(left, right).reshape(n, self.group * w.shape[1], taps, *spatial)

    def flops(self, x: TensorType, w: TensorType, *bias: TensorType) -> Dim:
        return 2 * x.size * product(w.shape[1:])

    samples: ClassVar[tuple[Sample, ...]] = ()


def _deconv(stride: int = 1, pad: int = 0, dilation: int = 1, output: int = 0, group: int = 1) -> ConvTranspose:
    return ConvTranspose((stride,) * 2, (pad,) * 4, (dilation,) * 2, (output,) * 2, group)


ConvTranspose.samples = (
    (_deconv(), ("f32[1,3,4,5]", "f32[3,2,3,3]")),
    (_deconv(stride=2), ("f32[2,5,4,3]", "f32[5,17,2,2]", "f32[17]")),
    (_deconv(stride=2, pad=1, output=1), ("f32[1,4,5,5]", "f32[4,6,3,3]", "f32[6]")),
    (_deconv(dilation=2, pad=1), ("f32[1,2,5,6]", "f32[2,3,3,3]")),
    (_deconv(stride=2, group=2), ("f32[1,4,3,3]", "f32[4,3,2,2]", "f32[6]")),
    (_deconv(stride=2, pad=1, group=5), ("f32[1,5,4,4]", "f32[5,1,4,4]")),
    (ConvTranspose((2,), (-1, 1), (1,), (0,)), ("f32[1,3,6]", "f32[3,2,3]")),
    (ConvTranspose((1, 2, 1), (0,) * 6, (1,) * 3, (0,) * 3), ("f32[1,2,3,3,3]", "f32[2,2,2,2,2]")),
    (_deconv(stride=3), ("f32[1,2,3,3]", "f32[2,2,2,2]")),
    (_deconv(stride=2), ("f16[1,3,4,4]", "f16[3,2,3,3]", "f16[2]")),
    (_deconv(stride=2), ("f64[1,3,4,4]", "f64[3,2,3,3]")),
)


@dataclass(frozen=True)
class DeformConv(Op):
    """Convolution whose taps are moved by ``offset`` and, when ``modulated``, weighted by a mask.

    x[N, C, H, W], w[O, C / group, kh, kw], offset[N, offset_group * kh * kw * 2, oh, ow] (row before column), b[O],
    mask[N, offset_group * kh * kw, oh, ow] if modulated -> [N, O, oh, ow]. Taps between pixels are interpolated
    linearly; outside the image everything is 0. ONNX DeformConv-19.
    """

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int = 1
    offset_group: int = 1
    modulated: bool = False

    def infer(self, x: TensorType, w: TensorType, offset: TensorType, b: TensorType, *mask: TensorType) -> TensorType:
        if x.rank != 4 or len(mask) != self.modulated:
            raise ShapeError(f"x is {x} and there are {len(mask)} masks; expected rank 4 and {int(self.modulated)}")
        kernel = kernel_sizes(x, w)
        check_bias((b,), w.shape[0], x.dtype)
        if differ(x.shape[1], w.shape[1] * self.group):
            raise ShapeError(f"{x} has {x.shape[1]} channels, but {w} in {self.group} groups takes another number")
        counts = window_counts(x.shape[2:], kernel, self.strides, self.dilations, self.pads)
        taps = self.offset_group * kernel[0] * kernel[1]
        for given, channels in zip((offset, *mask), (2 * taps, taps), strict=False):
            if given.rank != 4 or differ(given.shape[1], channels):
                raise ShapeError(f"offset or mask is {given}; expected {channels} channels")
        return TensorType(x.dtype, (x.shape[0], w.shape[0], *counts))

    def reference(self, x: Array, w: Array, offset: Array, b: Array, *mask: Array) -> Array:
        n, c, o = x.shape[0], x.shape[1], w.shape[0]
        image, weights = working(x, _MANY_TERMS), working(w, _MANY_TERMS).reshape(self.group, o // self.group, -1)
        sampled = self._sampled(image, offset.astype(image.dtype), w.shape[2:])
        if mask:
            weight = mask[0].astype(image.dtype).reshape(n, self.offset_group, 1, -1, *sampled.shape[-2:])
            sampled = sampled.reshape(n, self.offset_group, c // self.offset_group, *sampled.shape[2:]) * weight
        oh, ow = offset.shape[2:]
        columns = sampled.reshape(n, self.group, weights.shape[-1], oh * ow)
        y = np.matmul(weights, columns).reshape(n, o, oh, ow) + b.astype(image.dtype)[:, None, None]
        return finished(y, DType.of(x.dtype))

    def _sampled(self, x: Array, offset: Array, kernel: tuple[int, ...]) -> Array:
        """The image at every moved tap: [N, C, taps, oh, ow]."""
        n, c = x.shape[:2]
        oh, ow = offset.shape[2:]
        moved = offset.reshape(n, self.offset_group, kernel[0] * kernel[1], 2, oh, ow)
        base = self._positions(kernel, (oh, ow)).astype(x.dtype)
        out = np.empty((n, c, kernel[0] * kernel[1], oh, ow), x.dtype)
        width = c // self.offset_group
        for i in range(n):
            for g in range(self.offset_group):
                at = base + moved[i, g].swapaxes(0, 1)
                out[i, g * width : (g + 1) * width] = sample_linear_zero(x[i, g * width : (g + 1) * width], at)
        return out

    def _positions(self, kernel: tuple[int, ...], counts: tuple[int, int]) -> Array:
        """Row and column of every tap before it is moved: [2, taps, oh, ow]."""
        axes = [
            np.arange(k)[:, None] * d + np.arange(n) * s - p
            for k, n, s, d, p in zip(kernel, counts, self.strides, self.dilations, self.pads, strict=False)
        ]
        shape = (kernel[0], kernel[1], *counts)
        rows = np.broadcast_to(axes[0][:, None, :, None], shape)
        columns = np.broadcast_to(axes[1][None, :, None, :], shape)
        return np.stack([rows, columns]).reshape(2, kernel[0] * kernel[1], *counts)

    def flops(self, x: TensorType, w: TensorType, offset: TensorType, b: TensorType, *mask: TensorType) -> Dim:
        return 2 * self.infer(x, w, offset, b, *mask).size * product(w.shape[1:])

    samples: ClassVar[tuple[Sample, ...]] = ()


def _deform(pad: int = 0, **rest: object) -> DeformConv:
    return DeformConv((1, 1), (pad,) * 4, (1, 1), **rest)  # pyright: ignore[reportArgumentType]


DeformConv.samples = (
    (_deform(), ("f32[1,2,4,5]", "f32[3,2,2,2]", "f32[1,8,3,4]", "f32[3]")),
    (
        _deform(1, offset_group=2, modulated=True),
        ("f32[2,4,5,5]", "f32[4,4,3,3]", "f32[2,36,5,5]", "f32[4]", "f32[2,18,5,5]"),
    ),
    (_deform(1, group=2), ("f32[1,4,5,5]", "f32[2,2,3,3]", "f32[1,18,5,5]", "f32[2]")),
)


@dataclass(frozen=True)
class Col2Im(Op):
    """Add blocks back into the image they were cut from: x[N, C * prod(block), L] -> [N, C, *image]. ONNX Col2Im-18."""

    image: tuple[Dim, ...]
    block: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        counts = window_counts(self.image, self.block, self.strides, self.dilations, self.pads)
        taps = int(np.prod(self.block))
        if x.rank != 3 or differ(x.shape[1] % taps, 0) or differ(x.shape[2], product(counts)):
            raise ShapeError(f"x is {x}; expected [N, C * {taps}, {product(counts)}]")
        return TensorType(x.dtype, (x.shape[0], x.shape[1] // taps, *self.image))

    def reference(self, x: Array) -> Array:
        image = numbers(self.image)
        rank = len(image)
        counts = numbers(window_counts(image, self.block, self.strides, self.dilations, self.pads))
        columns = working(x, _MANY_TERMS).reshape(x.shape[0], -1, int(np.prod(self.block)), *counts)
        padded = [n + self.pads[i] + self.pads[i + rank] for i, n in enumerate(image)]
        y = np.zeros((*columns.shape[:2], *padded), columns.dtype)
        for index, offset in enumerate(tap_offsets(self.block)):
            target = tap(y, offset, counts, self.strides, self.dilations)
            target += columns[:, :, index]
        return np.ascontiguousarray(finished(crop(y, self.pads), DType.of(x.dtype)))

    def flops(self, x: TensorType) -> Dim:
        return x.size

    samples: ClassVar[tuple[Sample, ...]] = ()


Col2Im.samples = (
    (Col2Im((5, 5), (1, 5), (1, 1), (0,) * 4, (1, 1)), ("f32[1,5,5]",)),
    (Col2Im((5, 5), (3, 3), (1, 1), (1,) * 4, (1, 1)), ("f32[2,18,25]",)),
    (Col2Im((6, 6), (2, 2), (2, 2), (0,) * 4, (2, 1)), ("f32[1,8,6]",)),
    (Col2Im((3, 4, 5), (1, 2, 2), (1, 1, 1), (0,) * 6, (1, 1, 1)), ("f32[1,8,36]",)),
)

CONV_VARIANT_OPS: tuple[type[Op], ...] = (ConvTranspose, DeformConv, Col2Im)
