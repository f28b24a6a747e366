"""Matrix products and what is made of them: MatMul, Einsum, Det, Conv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusee.base.dims import Dim, product
from fusee.base.errors import ShapeError
from fusee.base.host_linear import conv, det, einsum, mat_mul
from fusee.base.types import Array, DType, TensorType, broadcast
from fusee.base.windows import activation_shape, channels, spatial_shape, window_counts
from fusee.ir.graph import Op, Sample


def differ(a: Dim, b: Dim) -> bool:
    """Whether two sizes are certainly different."""
    return isinstance(a, int) and isinstance(b, int) and a != b


def product_type(a: DType, b: DType, accumulate: DType | None) -> DType:
    """The element type of a sum of products. Raises ShapeError when the operands do not go together."""
    if accumulate is not None and (a.is_float != b.is_float or a.is_float != accumulate.is_float):
        raise ShapeError(f"{a} times {b} cannot accumulate in {accumulate}")
    if accumulate is None and a != b:
        raise ShapeError(f"operands are {a} and {b}; without an accumulate type they must be the same")
    return accumulate or a


@dataclass(frozen=True)
class MatMul(Op):
    """Matrix product of the last two axes; the axes before them broadcast.

    a[..., M, K] @ b[..., K, N] -> [..., M, N]; ``trans_a`` says that a is stored [..., K, M], ``trans_b`` that b is
    stored [..., N, K]. Sums are kept in ``accumulate``, which is then the result's type; without it both operands
    and the result have one type, and f16 and bf16 sum in f32 and round once. Integers wrap around. ONNX MatMul-13.
    """

    trans_a: bool = False
    trans_b: bool = False
    accumulate: DType | None = None

    host_fallback: ClassVar[str] = "mat_mul"

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if a.rank < 2 or b.rank < 2:
            raise ShapeError(f"operands {a} and {b} need two axes each")
        m, k = a.shape[-2:][::-1] if self.trans_a else a.shape[-2:]
        k2, n = b.shape[-2:][::-1] if self.trans_b else b.shape[-2:]
        if differ(k, k2):
            raise ShapeError(f"{a} and {b} share an axis of {k} and {k2}; the two must be equal")
        dtype = product_type(a.dtype, b.dtype, self.accumulate)
        return TensorType(dtype, (*broadcast(a.shape[:-2], b.shape[:-2]), m, n))

    def reference(self, a: Array, b: Array) -> Array:
        return mat_mul(self.attributes(), a, b)[0]

    def flops(self, a: TensorType, b: TensorType) -> Dim:
        return 2 * self.infer(a, b).size * a.shape[-2 if self.trans_a else -1]

    samples: ClassVar[tuple[Sample, ...]] = ()


MatMul.samples = (
    (MatMul(), ("f32[5,7]", "f32[7,3]")),
    (MatMul(), ("f32[33,65]", "f32[65,49]")),
    (MatMul(), ("f32[1,300]", "f32[300,21]")),
    (MatMul(), ("f32[2,1,17,19]", "f32[3,19,5]")),
    (MatMul(trans_a=True), ("f32[19,18]", "f32[19,5]")),
    (MatMul(trans_b=True), ("f32[2,9,16]", "f32[31,16]")),
    (MatMul(trans_a=True, trans_b=True), ("f32[3,4,5]", "f32[3,6,4]")),
    (MatMul(), ("f64[4,5]", "f64[5,6]")),
    (MatMul(), ("f16[6,17]", "f16[17,5]")),
    (MatMul(), ("bf16[6,17]", "bf16[17,5]")),
    (MatMul(), ("i32[3,4]", "i32[4,5]")),
    (MatMul(), ("i64[3,4]", "i64[4,5]")),
    (MatMul(accumulate=DType.I32), ("u8[7,37]", "i8[37,19]")),
    (MatMul(accumulate=DType.I32), ("i8[2,3,33]", "i8[33,5]")),
    (MatMul(accumulate=DType.I32), ("u8[3,4]", "u8[4,5]")),
    (MatMul(), ("f32[0,4]", "f32[4,5]")),
    (MatMul(), ("f32[3,0]", "f32[0,5]")),
)


@dataclass(frozen=True)
class Einsum(Op):
    """Sums of products over named axes, as ``numpy.einsum`` reads the equation.

    ``equation`` has lower- and upper-case letters, ``...``, and always ``->``. Operands are of one type.
    ONNX Einsum-12.
    """

    equation: str

    host_fallback: ClassVar[str] = "einsum"

    def infer(self, *operands: TensorType) -> TensorType:
        terms, result = self.axes(operands)
        sizes: dict[str, Dim] = {}
        for term, operand in zip(terms, operands, strict=True):
            if operand.dtype != operands[0].dtype:
                raise ShapeError(f"operands are {operands[0]} and {operand}; expected one type")
            _take_sizes(term, operand, sizes)
        return TensorType(operands[0].dtype, tuple(sizes[axis] for axis in result))

    def axes(self, operands: tuple[TensorType, ...]) -> tuple[list[list[str]], list[str]]:
        """The axis names of each operand and of the result; the axes of ``...`` are named by digits from the end."""
        left, arrow, right = self.equation.replace(" ", "").partition("->")
        terms = left.split(",")
        if not arrow or len(terms) != len(operands):
            raise ShapeError(f"equation {self.equation!r} should have '->' and {len(operands)} terms before it")
        spelled = [_axis_names(t, o.rank - len(t.replace("...", ""))) for t, o in zip(terms, operands, strict=True)]
        ellipsis = max((sum(a.isdigit() for a in names) for names in spelled), default=0)
        return spelled, _axis_names(right, ellipsis)

    def reference(self, *operands: Array) -> Array:
        return einsum(self.attributes(), *operands)[0]

    def flops(self, *operands: TensorType) -> Dim:
        terms, _ = self.axes(operands)
        sizes: dict[str, Dim] = {}
        for term, operand in zip(terms, operands, strict=True):
            _take_sizes(term, operand, sizes)
        return 2 * product(sizes.values())

    samples: ClassVar[tuple[Sample, ...]] = ()


def _axis_names(term: str, ellipsis: int) -> list[str]:
    before, dots, after = term.partition("...")
    middle = [str(i) for i in reversed(range(ellipsis))] if dots else []
    return [*before, *middle, *after]


def _take_sizes(term: list[str], operand: TensorType, sizes: dict[str, Dim]) -> None:
    if len(term) != operand.rank:
        raise ShapeError(f"operand {operand} should have the axes {''.join(term)}")
    for axis, size in zip(term, operand.shape, strict=True):
        known = sizes.get(axis, 1)
        if differ(known, size) and 1 not in (known, size):
            raise ShapeError(f"axis {axis!r} is {known} in one operand and {size} in {operand}")
        if known == 1:
            sizes[axis] = size


Einsum.samples = (
    (Einsum("ij,jk->ik"), ("f32[3,4]", "f32[4,5]")),
    (Einsum("bhsd,bhtd->bhst"), ("f32[2,3,5,4]", "f32[2,3,6,4]")),
    (Einsum("...ij,...jk->...ik"), ("f32[2,3,4]", "f32[2,4,5]")),
    (Einsum("ii->i"), ("f32[4,4]",)),
    (Einsum("ij->ji"), ("f32[3,5]",)),
    (Einsum("ij->"), ("f32[3,5]",)),
    (Einsum("i,j->ij"), ("i32[3]", "i32[5]")),
    (Einsum("bi,bij,bj->b"), ("f64[2,3]", "f64[2,3,4]", "f64[2,4]")),
)


@dataclass(frozen=True)
class Det(Op):
    """Determinant of square matrices: x: float[..., N, N] -> float[...]. ONNX Det-11."""

    host_fallback: ClassVar[str] = "det"

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 2 or differ(x.shape[-1], x.shape[-2]):
            raise ShapeError(f"{x} does not end in a square matrix")
        return x.with_shape(x.shape[:-2])

    def reference(self, x: Array) -> Array:
        return det(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        return x.size * x.shape[-1]

    samples: ClassVar[tuple[Sample, ...]] = ()


Det.samples = ((Det(), ("f32[3,3]",)), (Det(), ("f32[2,3,4,4]",)), (Det(), ("f64[1,1]",)))


@dataclass(frozen=True)
class Conv(Op):
    """Convolution (cross-correlation) over any number of spatial axes.

    x[N, C, *spatial] (``layout`` "NCHW") or x[N, *spatial, C] ("NHWC"); w[O, C / group, *kernel] in either layout;
    b[O] if given. ``pads`` holds all begins, then all ends; padding is zero. Sums are kept in ``accumulate``, which is
    then the type of b and the result; f16 and bf16 sum in f32 and round once. ONNX Conv-11.
    """

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int = 1
    layout: str = "NCHW"
    accumulate: DType | None = None

    host_fallback: ClassVar[str] = "conv"

    def infer(self, x: TensorType, w: TensorType, *bias: TensorType) -> TensorType:
        spatial = spatial_shape(x.shape, self.layout)
        kernel = kernel_sizes(x, w)
        c, o = channels(x.shape, self.layout), w.shape[0]
        dtype = product_type(x.dtype, w.dtype, self.accumulate)
        if differ(c, w.shape[1] * self.group) or differ(o % self.group, 0):
            raise ShapeError(f"{x} has {c} channels, but {w} in {self.group} groups takes {w.shape[1] * self.group}")
        check_bias(bias, o, dtype)
        counts = window_counts(spatial, kernel, self.strides, self.dilations, self.pads)
        return TensorType(dtype, activation_shape(x.shape[0], o, counts, self.layout))

    def reference(self, x: Array, w: Array, *bias: Array) -> Array:
        return conv(self.attributes(), x, w, *bias)[0]

    def flops(self, x: TensorType, w: TensorType, *bias: TensorType) -> Dim:
        return 2 * self.infer(x, w, *bias).size * product(w.shape[1:])

    samples: ClassVar[tuple[Sample, ...]] = ()


def kernel_sizes(x: TensorType, w: TensorType) -> tuple[int, ...]:
    if w.rank != x.rank:
        raise ShapeError(f"weights {w} should have the rank of the input {x}")
    return w.with_shape(w.shape[2:]).static_shape()


def check_bias(bias: tuple[TensorType, ...], size: Dim, dtype: DType) -> None:
    if len(bias) > 1:
        raise ShapeError(f"expected at most one bias, got {len(bias)}")
    for b in bias:
        if b.rank != 1 or differ(b.shape[0], size) or b.dtype != dtype:
            raise ShapeError(f"the bias is {b}; expected {dtype}[{size}]")


def _conv(stride: int = 1, pad: int = 0, dilation: int = 1, **rest: object) -> Conv:
    return Conv((stride,) * 2, (pad,) * 4, (dilation,) * 2, **rest)  # pyright: ignore[reportArgumentType]


Conv.samples = (
    (_conv(), ("f32[1,3,5,6]", "f32[4,3,3,3]")),
    (_conv(pad=1), ("f32[2,17,9,7]", "f32[19,17,3,3]", "f32[19]")),
    (_conv(), ("f32[1,33,7,5]", "f32[18,33,1,1]", "f32[18]")),
    (_conv(stride=2, pad=3), ("f32[1,3,17,19]", "f32[16,3,7,7]", "f32[16]")),
    (_conv(stride=2), ("f32[1,16,9,9]", "f32[8,16,1,1]")),
    (_conv(pad=2, dilation=2), ("f32[1,8,9,9]", "f32[8,8,3,3]")),
    (_conv(pad=1, group=17), ("f32[1,17,8,9]", "f32[17,1,3,3]", "f32[17]")),
    (_conv(pad=2, stride=2, group=8), ("f32[2,8,11,9]", "f32[16,1,5,5]")),
    (_conv(pad=1, group=2), ("f32[1,8,6,6]", "f32[12,4,3,3]", "f32[12]")),
    (Conv((2, 1), (1, 0, 2, 1), (1, 2)), ("f32[1,3,8,9]", "f32[5,3,3,2]")),
    (_conv(pad=1, layout="NHWC"), ("f32[1,9,7,17]", "f32[19,17,3,3]", "f32[19]")),
    (_conv(layout="NHWC"), ("f32[2,7,5,32]", "f32[48,32,1,1]", "f32[48]")),
    (_conv(stride=2, pad=1, group=32, layout="NHWC"), ("f32[1,9,8,32]", "f32[32,1,3,3]", "f32[32]")),
    (_conv(pad=1, group=2, layout="NHWC"), ("f32[1,6,6,8]", "f32[12,4,3,3]")),
    (_conv(stride=2, pad=3, layout="NHWC"), ("f32[1,17,19,3]", "f32[16,3,7,7]", "f32[16]")),
    (Conv((1,), (1, 1), (1,)), ("f32[2,4,9]", "f32[5,4,3]", "f32[5]")),
    (Conv((1, 2, 1), (1, 1, 1, 1, 1, 1), (1, 1, 1)), ("f32[1,2,4,5,6]", "f32[3,2,3,3,3]")),
    (_conv(pad=1), ("f64[1,3,5,5]", "f64[2,3,3,3]")),
    (_conv(pad=1), ("f16[1,5,6,6]", "f16[4,5,3,3]", "f16[4]")),
    (_conv(pad=1), ("bf16[1,5,6,6]", "bf16[4,5,3,3]")),
    (_conv(pad=1, accumulate=DType.I32), ("u8[1,5,6,7]", "i8[4,5,3,3]", "i32[4]")),
    (_conv(pad=1, accumulate=DType.I32, layout="NHWC"), ("u8[1,6,7,33]", "i8[18,33,3,3]", "i32[18]")),
    (_conv(pad=1, accumulate=DType.I32, group=6), ("i8[1,6,5,5]", "i8[6,1,3,3]")),
    (_conv(pad=1), ("f32[0,3,5,5]", "f32[2,3,3,3]")),
)

LINEAR_OPS: tuple[type[Op], ...] = (MatMul, Einsum, Det, Conv)
