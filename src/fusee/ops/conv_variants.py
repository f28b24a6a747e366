"""Relatives of Conv that scatter, or gather where data says: ConvTranspose, DeformConv, Col2Im."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusee.base.dims import Dim, floordiv, mod, product
from fusee.base.errors import ShapeError
from fusee.base.host_conv import col2_im, conv_transpose, deform_conv
from fusee.base.types import Array, TensorType
from fusee.base.windows import check_window, spatial_shape, window_counts
from fusee.ir.graph import Op, Sample
from fusee.ops.linear import check_bias, differ, kernel_sizes, product_type


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

    host_fallback: ClassVar[str] = "conv_transpose"

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
        return conv_transpose(self.attributes(), x, w, *bias)[0]

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

    host_fallback: ClassVar[str] = "deform_conv"

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
        return deform_conv(self.attributes(), x, w, offset, b, *mask)[0]

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
    block: tuple[Dim, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    host_fallback: ClassVar[str] = "col2_im"

    def infer(self, x: TensorType) -> TensorType:
        taps = product(self.block)
        block = tuple(n for n in self.block if isinstance(n, int))
        if x.rank != 3 or len(self.block) != len(self.image) or differ(mod(x.shape[1], taps), 0):
            raise ShapeError(f"x is {x}; expected [N, C * {taps}, L] for an image {list(self.image)}")
        if len(block) == len(self.block):
            length = product(window_counts(self.image, block, self.strides, self.dilations, self.pads))
            if differ(x.shape[2], length):
                raise ShapeError(f"x is {x}; there are {length} blocks of {block} in {list(self.image)}")
        return TensorType(x.dtype, (x.shape[0], floordiv(x.shape[1], taps), *self.image))

    def reference(self, x: Array) -> Array:
        return col2_im(self.attributes(), x)[0]

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
