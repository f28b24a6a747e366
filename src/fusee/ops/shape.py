"""Ops that move elements or make shapes: reshape, transpose, expand, slice, pad, concat, trilu, fill, range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusee.base.dims import Dim, equal, product
from fusee.base.errors import ShapeError
from fusee.base.types import I64, Array, DType, Shape, TensorType
from fusee.ir.graph import Op
from fusee.ops.check import need_axis, need_equal, need_rank, need_same_dtype, numbers


@dataclass(frozen=True)
class Reshape(Op):
    """Give the same elements, in row-major order, another shape.

    ``x`` of any shape -> ``shape``; the number of elements must be the same. ONNX Reshape, Flatten, Squeeze,
    Unsqueeze.
    """

    shape: Shape

    def infer(self, x: TensorType) -> TensorType:
        if equal(x.size, product(self.shape)) == 0:
            raise ShapeError(f"cannot reshape {x} to {x.with_shape(self.shape)}: the numbers of elements differ")
        return x.with_shape(self.shape)

    def reference(self, x: Array) -> Array:
        return x.reshape(numbers(self.shape))

    def flops(self, x: TensorType) -> Dim:
        return 0


Reshape.samples = (
    (Reshape((6,)), ("f32[2,3]",)),
    (Reshape((3, 1, 5, 2)), ("f16[5,6]",)),
    (Reshape(()), ("i64[1,1]",)),
    (Reshape((0, 7)), ("u8[7,0,2]",)),
)


@dataclass(frozen=True)
class Transpose(Op):
    """Permute the axes: axis ``i`` of the result is axis ``perm[i]`` of ``x``. ONNX Transpose."""

    perm: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.perm) != list(range(x.rank)):
            raise ShapeError(f"perm {list(self.perm)} is not a permutation of the {x.rank} axes of {x}")
        return x.with_shape(tuple(x.shape[p] for p in self.perm))

    def reference(self, x: Array) -> Array:
        return x.transpose(self.perm)

    def flops(self, x: TensorType) -> Dim:
        return 0


Transpose.samples = (
    (Transpose((1, 0)), ("f32[5,19]",)),
    (Transpose((0, 2, 3, 1)), ("f32[2,17,5,3]",)),
    (Transpose((0, 3, 1, 2)), ("f32[1,6,7,18]",)),
    (Transpose((2, 1, 0)), ("i8[3,4,33]",)),
    (Transpose((1, 0, 2)), ("bf16[3,2,5]",)),
    (Transpose((0, 2, 1)), ("i64[2,3,1]",)),
    (Transpose((0, 2, 1, 3)), ("bool[2,3,5,7]",)),
    (Transpose(()), ("f64[]",)),
)


@dataclass(frozen=True)
class Expand(Op):
    """Repeat ``x`` along axes of size 1, and along new leading axes, to get ``shape``.

    Every axis of ``x``, counted from the last, is 1 or the size asked for; an axis whose size is a name is taken to
    be the size asked for. ONNX Expand, Tile (with Reshape).
    """

    shape: Shape

    def infer(self, x: TensorType) -> TensorType:
        tail = self.shape[len(self.shape) - x.rank :] if x.rank <= len(self.shape) else ()
        if len(tail) != x.rank or any(d != 1 and equal(d, s) == 0 for d, s in zip(x.shape, tail, strict=True)):
            raise ShapeError(f"cannot expand {x} to {x.with_shape(self.shape)}: an axis of {x} is neither 1 nor that")
        return x.with_shape(self.shape)

    def reference(self, x: Array) -> Array:
        return np.broadcast_to(x, numbers(self.shape))

    def flops(self, x: TensorType) -> Dim:
        return 0


Expand.samples = (
    (Expand((3, 17)), ("f32[17]",)),
    (Expand((2, 5, 3)), ("f32[5,1]",)),
    (Expand((4, 1, 5)), ("i64[1,1,5]",)),
    (Expand((7,)), ("bool[]",)),
    (Expand((2, 0)), ("f16[1,1]",)),
)


@dataclass(frozen=True)
class Slice(Op):
    """Take ``sizes[d]`` elements of every axis ``d``, from ``starts[d]`` on, ``steps[d]`` apart.

    Element ``(i, ...)`` of the result is element ``(starts[0] + i * steps[0], ...)`` of ``x``, which must exist.
    Starts count from 0; steps may be negative, not 0. ONNX Slice, Split.
    """

    starts: tuple[Dim, ...]
    sizes: tuple[Dim, ...]
    steps: tuple[Dim, ...]

    def infer(self, x: TensorType) -> TensorType:
        if not len(self.starts) == len(self.sizes) == len(self.steps) == x.rank:
            raise ShapeError(f"starts, sizes and steps must each have {x.rank} entries, one per axis of {x}")
        for axis, row in enumerate(zip(x.shape, self.starts, self.sizes, self.steps, strict=True)):
            self._check(axis, *row)
        return x.with_shape(self.sizes)

    @staticmethod
    def _check(axis: int, dim: Dim, start: Dim, size: Dim, step: Dim) -> None:
        if step == 0 or (isinstance(size, int) and size < 0):
            raise ShapeError(f"axis {axis}: step {step} must not be 0, nor size {size} below 0")
        last = start + (size - 1) * step
        if not isinstance(size, int) or size == 0:
            return
        for position in (start, last):
            outside = position if isinstance(position, int) and position < 0 else position - dim
            if isinstance(outside, int) and (outside >= 0 or outside is position):
                raise ShapeError(f"axis {axis}: element {position} of an axis of size {dim}")

    def reference(self, x: Array) -> Array:
        rows = zip(numbers(self.starts), numbers(self.sizes), numbers(self.steps), strict=True)
        return np.asarray(x[tuple(_python_slice(*row) for row in rows)])

    def flops(self, x: TensorType) -> Dim:
        return 0


def _python_slice(start: int, size: int, step: int) -> slice:
    stop = start + size * step
    return slice(start, stop if stop >= 0 else None, step) if size else slice(0, 0)


Slice.samples = (
    (Slice((1, 0), (3, 17), (1, 1)), ("f32[5,17]",)),
    (Slice((4, 18), (3, 7), (-2, -3)), ("f32[5,19]",)),
    (Slice((0, 2, 1), (2, 1, 9), (1, 1, 2)), ("i64[2,3,19]",)),
    (Slice((2,), (0,), (1,)), ("f32[2]",)),
    (Slice((3, 5), (4, 20), (1, 1)), ("u8[9,33]",)),
    (Slice((0, 0, 16), (1, 5, 16), (1, 1, 1)), ("f16[1,5,33]",)),
)

PAD_MODES = ("constant", "reflect", "edge", "wrap")


@dataclass(frozen=True)
class Pad(Op):
    """Add ``before[d]`` and ``after[d]`` elements at the two ends of every axis ``d``; negative numbers take away.

    ``x``, and for mode constant also ``value`` (a scalar of the same element type). What is taken away goes first;
    with ``n`` elements left, the element at position ``p`` (negative before the start) is: *constant* ``value``
    outside of [0, n); *edge* ``x[clip(p, 0, n-1)]``; *wrap* ``x[p mod n]``; *reflect* ``x[|p|]`` mirrored at both
    ends with period ``2(n-1)`` (the end elements are not repeated). ONNX Pad.
    """

    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    mode: str = "constant"

    def infer(self, x: TensorType, value: TensorType | None = None) -> TensorType:
        if not len(self.before) == len(self.after) == x.rank:
            raise ShapeError(f"before and after must each have {x.rank} entries, one per axis of {x}")
        if self.mode not in PAD_MODES:
            raise ShapeError(f"mode {self.mode!r} is not one of {', '.join(PAD_MODES)}")
        if (value is not None) != (self.mode == "constant"):
            raise ShapeError("a value is needed for mode constant, and for no other")
        if value is not None and value != TensorType(x.dtype, ()):
            raise ShapeError(f"the value is {value}; it must be {x.dtype}[] to pad {x}")
        shape = tuple(b + d + a for b, d, a in zip(self.before, x.shape, self.after, strict=True))
        if any(isinstance(d, int) and d < 0 for d in shape):
            raise ShapeError(f"pads {list(self.before)} and {list(self.after)} take away more than {x} has")
        return x.with_shape(shape)

    def reference(self, x: Array, value: Array | None = None) -> Array:
        before, after = numbers(self.before), numbers(self.after)
        cropped = x[tuple(slice(max(0, -b), d - max(0, -a)) for b, d, a in zip(before, x.shape, after, strict=True))]
        widths = [(max(0, b), max(0, a)) for b, a in zip(before, after, strict=True)]
        if value is not None:
            return _pad_constant(cropped, widths, value)
        for axis, (low, high) in enumerate(widths):
            positions = np.arange(-low, cropped.shape[axis] + high)
            cropped = np.take(cropped, pad_source(positions, cropped.shape[axis], self.mode), axis=axis)
        return cropped

    def flops(self, x: TensorType, value: TensorType | None = None) -> Dim:
        return 0


def _pad_constant(x: Array, widths: Sequence[tuple[int, int]], value: Array) -> Array:
    padded = np.full([low + n + high for (low, high), n in zip(widths, x.shape, strict=True)], value, x.dtype)
    padded[tuple(slice(low, low + n) for (low, _), n in zip(widths, x.shape, strict=True))] = x
    return padded


def pad_source(positions: Array, size: int, mode: str) -> Array:
    """Which element of an axis each position of the padded axis shows; positions count from the first element."""
    if mode == "edge":
        return np.clip(positions, 0, size - 1)
    if mode == "wrap":
        return positions % size
    period = max(1, 2 * (size - 1))
    folded = positions % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros_like(positions)


Pad.samples = (
    (Pad((1, 2), (0, 3)), ("f32[5,17]", "f32[]")),
    (Pad((0, 0, 3, 3), (0, 0, 3, 3)), ("f32[1,2,7,9]", "f32[]")),
    (Pad((-1, 2), (1, -3)), ("f32[5,9]", "f32[]")),
    (Pad((3, 1), (2, 0), "reflect"), ("f32[5,17]",)),
    (Pad((6,), (5,), "reflect"), ("f32[3]",)),
    (Pad((2, 1), (3, 4), "edge"), ("i64[3,5]",)),
    (Pad((2, 1), (3, 4), "wrap"), ("f16[3,5]",)),
    (Pad((-1, 2), (2, 0), "edge"), ("u8[3,5]",)),
    (Pad((1,), (1,)), ("bool[4]", "bool[]")),
)


@dataclass(frozen=True)
class Concat(Op):
    """Put any number of tensors one after the other along ``axis``; their other axes agree. ONNX Concat."""

    axis: int

    def infer(self, *xs: TensorType) -> TensorType:
        if not xs:
            raise ShapeError("at least one operand is needed")
        need_axis(self.axis, xs[0].rank)
        need_same_dtype(xs, "the operands")
        for x in xs[1:]:
            need_rank(x, xs[0].rank, "an operand")
            for axis, (a, b) in enumerate(zip(xs[0].shape, x.shape, strict=True)):
                if axis != self.axis:
                    need_equal(a, b, f"axis {axis} of {xs[0]} and {x}")
        shape = list(xs[0].shape)
        shape[self.axis] = sum((x.shape[self.axis] for x in xs), start=0)
        return xs[0].with_shape(tuple(shape))

    def reference(self, *xs: Array) -> Array:
        return np.concatenate(xs, axis=self.axis)

    def flops(self, *xs: TensorType) -> Dim:
        return 0


Concat.samples = (
    (Concat(0), ("f32[2,3]", "f32[5,3]")),
    (Concat(1), ("f32[2,3,5]", "f32[2,17,5]", "f32[2,1,5]")),
    (Concat(2), ("f16[1,3,7]", "f16[1,3,2]")),
    (Concat(0), ("i64[1]", "i64[3]", "i64[0]")),
    (Concat(1), ("u8[3,1]",)),
    (Concat(0), ("bool[2]", "bool[7]")),
)


@dataclass(frozen=True)
class Trilu(Op):
    """Keep a triangle of every matrix (the last two axes) and put 0 elsewhere.

    Element ``(r, c)`` stays where ``c - r >= k`` (upper) or ``c - r <= k`` (lower). ONNX Trilu.
    """

    upper: bool = True
    k: Dim = 0

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 2:
            raise ShapeError(f"{x} holds no matrices; rank 2 or more is needed")
        return x

    def reference(self, x: Array) -> Array:
        offset = np.arange(x.shape[-1]) - np.arange(x.shape[-2])[:, None]
        (k,) = numbers((self.k,))
        kept = offset >= k if self.upper else offset <= k
        return np.where(kept, x, np.zeros((), x.dtype))


Trilu.samples = (
    (Trilu(), ("f32[5,7]",)),
    (Trilu(upper=False, k=-1), ("f32[2,17,17]",)),
    (Trilu(upper=True, k=3), ("i64[4,19]",)),
    (Trilu(upper=False, k=100), ("bool[3,3]",)),
    (Trilu(upper=True, k=1), ("bf16[1,3,5]",)),
)


@dataclass(frozen=True)
class Full(Op):
    """A tensor of ``shape`` filled with the scalar operand. ONNX ConstantOfShape; Expand of a scalar."""

    shape: Shape

    def infer(self, value: TensorType) -> TensorType:
        need_rank(value, 0, "the value")
        return value.with_shape(self.shape)

    def reference(self, value: Array) -> Array:
        return np.full(numbers(self.shape), value, value.dtype)

    def flops(self, value: TensorType) -> Dim:
        return 0


Full.samples = (
    (Full((3, 17)), ("f32[]",)),
    (Full((0,)), ("i64[]",)),
    (Full(()), ("f16[]",)),
    (Full((33,)), ("u8[]",)),
    (Full((5,)), ("bool[]",)),
)


@dataclass(frozen=True)
class Range(Op):
    """``size`` numbers, the first ``start`` and each next ``delta`` more: element ``i`` is ``start + i * delta``.

    Both operands are scalars of the result's element type; f16 and bf16 are computed in f32 and rounded once.
    ONNX Range-27.
    """

    size: Dim

    def infer(self, start: TensorType, delta: TensorType) -> TensorType:
        need_rank(start, 0, "the start")
        need_rank(delta, 0, "the step")
        need_same_dtype((start, delta), "start and step")
        return start.with_shape((self.size,))

    def reference(self, start: Array, delta: Array) -> Array:
        wide = np.dtype(np.float32) if start.dtype.itemsize < 4 and DType.of(start.dtype).is_float else start.dtype
        steps = np.arange(*numbers((self.size,))).astype(wide)
        return (start.astype(wide) + steps * delta.astype(wide)).astype(start.dtype)

    def flops(self, start: TensorType, delta: TensorType) -> Dim:
        return 2 * self.size


Range.samples = (
    (Range(19), ("f32[]", "f32[]")),
    (Range(5), ("i64[]", "i64[]")),
    (Range(0), ("i32[]", "i32[]")),
    (Range(17), ("f16[]", "f16[]")),
    (Range(3), ("i16[]", "i16[]")),
    (Range(7), ("f64[]", "f64[]")),
)


@dataclass(frozen=True)
class DimsTensor(Op):
    """The tensor ``i64[n]`` of sizes, for a graph that computes with its shapes. ONNX Shape, Size.

    Operands carry no data: they are what must have run before the sizes are known (usually there are none).
    """

    elements: tuple[Dim, ...]

    def infer(self, *after: TensorType) -> TensorType:
        return TensorType(I64, (len(self.elements),))

    def reference(self, *after: Array) -> Array:
        return np.array(numbers(self.elements), np.int64)

    def flops(self, *after: TensorType) -> Dim:
        return 0


DimsTensor.samples = ((DimsTensor((2, 3, 224)), ()), (DimsTensor(()), ()))


@dataclass(frozen=True)
class ReverseSequence(Op):
    """Reverse the first ``lengths[b]`` elements along ``time_axis`` of each batch entry ``b``; the rest stays.

    ``x`` of rank 2 or more and ``lengths`` i64 or i32 [x.shape[batch_axis]], each in [0, x.shape[time_axis]].
    ONNX ReverseSequence.
    """

    batch_axis: int
    time_axis: int

    def infer(self, x: TensorType, lengths: TensorType) -> TensorType:
        need_axis(self.batch_axis, x.rank, "batch axis")
        need_axis(self.time_axis, x.rank, "time axis")
        need_rank(lengths, 1, "lengths")
        need_equal(lengths.shape[0], x.shape[self.batch_axis], "the number of lengths and the batch")
        if self.batch_axis == self.time_axis:
            raise ShapeError(f"batch axis and time axis are both {self.time_axis}")
        return x

    def reference(self, x: Array, lengths: Array) -> Array:
        time = np.arange(x.shape[self.time_axis])
        source = np.where(time < lengths[:, None], lengths[:, None] - 1 - time, time)
        batch_first = np.moveaxis(x, (self.batch_axis, self.time_axis), (0, 1))
        reversed_ = np.take_along_axis(batch_first, source.reshape(*source.shape, *[1] * (x.ndim - 2)), axis=1)
        return np.moveaxis(reversed_, (0, 1), (self.batch_axis, self.time_axis))

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x, lengths = types
        limit = x.static_shape()[self.time_axis] + 1
        return rng.normal(size=x.static_shape()).astype(x.dtype.numpy), rng.integers(
            0, limit, lengths.static_shape(), lengths.dtype.numpy
        )

    def flops(self, x: TensorType, lengths: TensorType) -> Dim:
        return 0


ReverseSequence.samples = (
    (ReverseSequence(1, 0), ("f32[5,3]", "i64[3]")),
    (ReverseSequence(0, 1), ("f32[4,7,19]", "i64[4]")),
    (ReverseSequence(1, 0), ("f64[6,2,3]", "i32[2]")),
)

SHAPE_OPS: tuple[type[Op], ...] = (
    Reshape,
    Transpose,
    Expand,
    Slice,
    Pad,
    Concat,
    Trilu,
    Full,
    Range,
    DimsTensor,
    ReverseSequence,
)
