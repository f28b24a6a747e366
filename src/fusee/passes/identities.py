"""Ops that do nothing, or undo each other, go."""

from __future__ import annotations

from fusee.base.dims import Dim, is_nonnegative
from fusee.base.types import DType, broadcast
from fusee.ir.graph import Value, const_array
from fusee.ir.pattern import Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.cast import Cast
from fusee.ops.element import Elementwise
from fusee.ops.index import Gather
from fusee.ops.linear import MatMul
from fusee.ops.quantize import Dequantize, Quantize
from fusee.ops.reduce import Reduce
from fusee.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from fusee.passes.known import is_const

WIDER: dict[DType, tuple[DType, ...]] = {
    DType.F16: (DType.F32, DType.F64),
    DType.BF16: (DType.F32, DType.F64),
    DType.F32: (DType.F64,),
    DType.U8: (DType.I16, DType.I32, DType.I64, DType.F32, DType.F64),
    DType.I8: (DType.I16, DType.I32, DType.I64, DType.F32, DType.F64),
    DType.I32: (DType.I64, DType.F64),
    DType.BOOL: (DType.U8, DType.I8, DType.I32, DType.I64, DType.F32, DType.F64),
}


@rule(Pat(Cast, "x"))
def cast_to_same(root: Value, x: Value) -> Value:
    """A cast to the type that x has."""
    fits(x.type == root.type)
    return x


@rule(Pat(Cast, Pat(Cast, "x", name="wide", shared=True)))
def cast_there_and_back(root: Value, wide: Value, x: Value) -> Value:
    """A detour over a type that holds every value of x."""
    need(wide.type.dtype in WIDER.get(x.type.dtype, ()), f"{wide.type.dtype} does not hold every {x.type.dtype}")
    return root.op(x)


@rule(Pat(Reshape, "x"))
def reshape_to_same(root: Value, x: Value) -> Value:
    fits(x.type == root.type)
    return x


@rule(Pat(Reshape, Pat(Reshape, "x", shared=True)))
def reshape_of_reshape(root: Value, x: Value) -> Value:
    return Reshape(root.type.shape)(x)


@rule(Pat(Transpose, "x"))
def transpose_of_nothing(root: Value, x: Value) -> Value:
    """A transpose whose axes keep their places."""
    assert isinstance(root.op, Transpose)
    fits(root.op.perm == tuple(range(x.type.rank)))
    return x


@rule(Pat(Transpose, "x"))
def transpose_of_ones(root: Value, x: Value) -> Value:
    """A transpose that moves only axes of size 1 is a Reshape."""
    assert isinstance(root.op, Transpose)
    moved = [p for p in root.op.perm if x.type.shape[p] != 1]
    fits(moved == sorted(moved))
    return x if root.type == x.type else Reshape(root.type.shape)(x)


@rule(Pat(Transpose, Pat(Transpose, "x", name="inner", shared=True)))
def transpose_of_transpose(root: Value, inner: Value, x: Value) -> Value:
    assert isinstance(root.op, Transpose)
    assert isinstance(inner.op, Transpose)
    return Transpose(tuple(inner.op.perm[p] for p in root.op.perm))(x)


@rule(Pat(Expand, "x"))
def expand_to_same(root: Value, x: Value) -> Value:
    fits(x.type == root.type)
    return x


@rule(Pat(Elementwise, rest=True))
def expand_before_broadcast(root: Value) -> Value:
    """An elementwise op broadcasts by itself: an operand need not be expanded for it."""
    fits(len(root.operands) > 1 and any(isinstance(v.op, Expand) for v in root.operands))
    fits(not isinstance(root.op, Quantize | Dequantize))
    operands = tuple(v.operands[0] if isinstance(v.op, Expand) else v for v in root.operands)
    shape = broadcast(*[v.type.shape for v in operands])
    need(shape == root.type.shape, f"without it the result would be {root.type.with_shape(shape)}, not {root.type}")
    return root.op(*operands)


@rule(Pat(Slice, "x"))
def slice_of_all(root: Value, x: Value) -> Value:
    assert isinstance(root.op, Slice)
    fits(x.type == root.type and all(s == 0 for s in root.op.starts) and all(s == 1 for s in root.op.steps))
    return x


@rule(Pat(Slice, Pat(Slice, "x", name="inner", shared=True)))
def slice_of_slice(root: Value, inner: Value, x: Value) -> Value:
    assert isinstance(root.op, Slice)
    assert isinstance(inner.op, Slice)
    rows = zip(inner.op.starts, inner.op.steps, root.op.starts, root.op.steps, strict=True)
    composed = [(start + step * more, step * jump) for start, step, more, jump in rows]
    return Slice(tuple(s for s, _ in composed), root.op.sizes, tuple(s for _, s in composed))(x)


@rule(Pat(Slice, Pat(Concat, rest=True, name="joined", shared=True)))
def slice_of_concat(root: Value, joined: Value) -> Value:
    """A slice that lies within one part of a concatenation reads that part."""
    assert isinstance(root.op, Slice)
    assert isinstance(joined.op, Concat)
    axis = joined.op.axis
    fits(root.op.steps[axis] == 1)
    begin: Dim = 0
    for part in joined.operands:
        start, size = root.op.starts[axis] - begin, root.op.sizes[axis]
        if is_nonnegative(start) and is_nonnegative(part.type.shape[axis] - start - size):
            starts = (*root.op.starts[:axis], start, *root.op.starts[axis + 1 :])
            return Slice(starts, root.op.sizes, root.op.steps)(part)
        begin = begin + part.type.shape[axis]
    need(False, "the slice is not known to lie within one part")
    return root


@rule(Pat(Pad, "x", rest=True))
def pad_by_nothing(root: Value, x: Value) -> Value:
    assert isinstance(root.op, Pad)
    fits(all(b == 0 for b in root.op.before + root.op.after))
    return x


@rule(Pat(Concat, rest=True))
def concat_of_one(root: Value) -> Value:
    """Parts of size 0 drop out; one part alone is the result."""
    assert isinstance(root.op, Concat)
    axis = root.op.axis
    parts = [v for v in root.operands if v.type.shape[axis] != 0]
    fits(bool(parts) and (len(parts) < len(root.operands) or len(parts) == 1))
    return parts[0] if len(parts) == 1 else Concat(axis)(*parts)


@rule(Pat(Concat, rest=True))
def concat_of_concat(root: Value) -> Value:
    """Nested concatenations along one axis are one."""
    fits(any(v.op == root.op for v in root.operands))
    return root.op(*[part for v in root.operands for part in (v.operands if v.op == root.op else (v,))])


@rule(Pat(Concat, rest=True))
def concat_of_neighbours(root: Value) -> Value:
    """Slices of one tensor that lie next to each other there as here are one slice."""
    assert isinstance(root.op, Concat)
    parts: list[Value] = []
    for part in root.operands:
        joined = _joined(parts[-1], part, root.op.axis) if parts else None
        parts = [*parts[:-1], joined] if joined is not None else [*parts, part]
    fits(len(parts) < len(root.operands))
    return parts[0] if len(parts) == 1 else root.op(*parts)


def _joined(a: Value, b: Value, axis: int) -> Value | None:
    """Two slices as one, when the second continues the first along the axis."""
    if not (isinstance(a.op, Slice) and isinstance(b.op, Slice) and a.operands == b.operands):
        return None
    starts, sizes, steps = a.op.starts, a.op.sizes, a.op.steps
    moved = (*starts[:axis], starts[axis] + sizes[axis] * steps[axis], *starts[axis + 1 :])
    if b.op.steps != steps or b.op.starts != moved:
        return None
    whole = (*sizes[:axis], sizes[axis] + b.op.sizes[axis], *sizes[axis + 1 :])
    found = Slice(starts, whole, steps)(a.operands[0])
    return a.operands[0] if whole == a.operands[0].type.shape and not any(starts) else found


@rule(Pat(Reduce, "x"))
def reduce_of_one(root: Value, x: Value) -> Value:
    """Reducing axes of size 1 by a kind that gives back a single element."""
    assert isinstance(root.op, Reduce)
    fits(root.op.kind in ("sum", "mean", "max", "min", "prod") and all(x.type.shape[a] == 1 for a in root.op.axes))
    return Reshape(root.type.shape)(x) if root.type != x.type else x


@rule(Pat(Gather, "x", "i"))
def gather_to_slice(root: Value, x: Value, i: Value) -> Value:
    """Constant indices at equal distances are a slice."""
    assert isinstance(root.op, Gather)
    index, axis = const_array(i), root.op.axis
    size = x.type.shape[axis]
    fits(index is not None and index.ndim <= 1 and index.size > 0 and isinstance(size, int) and not is_const(x))
    assert index is not None
    assert isinstance(size, int)
    places = [int(p) + (size if p < 0 else 0) for p in index.reshape(-1)]
    step = places[1] - places[0] if len(places) > 1 else 1
    need(
        step != 0 and places == [places[0] + n * step for n in range(len(places))], "the indices are not evenly spaced"
    )
    starts = tuple(places[0] if a == axis else 0 for a in range(x.type.rank))
    sizes = tuple(len(places) if a == axis else d for a, d in enumerate(x.type.shape))
    steps = tuple(step if a == axis else 1 for a in range(x.type.rank))
    part = Slice(starts, sizes, steps)(x)
    return part if index.ndim else Reshape(root.type.shape)(part)


@rule(Pat(Quantize, Pat(Dequantize, "q", "s", "z", shared=True, name="real"), "s2", "z2"))
def quantize_of_dequantize(root: Value, real: Value, q: Value, s: Value, z: Value, s2: Value, z2: Value) -> Value:
    """Quantising with the scale and zero point that were just taken off gives back the same integers."""
    assert isinstance(root.op, Quantize)
    assert isinstance(real.op, Dequantize)
    same = _same(s, s2) and _same(z, z2) and (root.op.axis, root.op.block) == (real.op.axis, real.op.block)
    need(same, "the scales or zero points differ")
    need(q.type == root.type, f"the integers were {q.type} and become {root.type}")
    return q


def _same(a: Value, b: Value) -> bool:
    left, right = const_array(a), const_array(b)
    return a == b or (
        left is not None and right is not None and left.shape == right.shape and bool((left == right).all())
    )


def _transposed(value: Value) -> Value | None:
    """A value that, read with its last two axes swapped, is this one, and whose rows lie closer together."""
    if not isinstance(value.op, Transpose):
        return None
    *front, m, n = value.op.perm
    if m != value.type.rank - 1:
        return None
    perm = (*front, n, m)
    return value.operands[0] if perm == tuple(range(len(perm))) else Transpose(perm)(value.operands[0])


@rule(Pat(MatMul, "a", "b"))
def transpose_into_matmul(root: Value, a: Value, b: Value) -> Value:
    """A product reads either operand transposed."""
    assert isinstance(root.op, MatMul)
    left, right = _transposed(a), _transposed(b)
    fits(left is not None or right is not None)
    op = MatMul(root.op.trans_a != (left is not None), root.op.trans_b != (right is not None), root.op.accumulate)
    return op(left or a, right or b)


IDENTITIES = (
    cast_to_same,
    cast_there_and_back,
    reshape_to_same,
    reshape_of_reshape,
    transpose_of_nothing,
    transpose_of_transpose,
    expand_to_same,
    expand_before_broadcast,
    slice_of_all,
    slice_of_slice,
    slice_of_concat,
    pad_by_nothing,
    concat_of_one,
    concat_of_concat,
    concat_of_neighbours,
    reduce_of_one,
    gather_to_slice,
    quantize_of_dequantize,
    transpose_into_matmul,
)
