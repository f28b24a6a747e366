"""ONNX ops that give the same elements another shape or order: reshape, transpose, expand, tile, concat, blocks."""

from __future__ import annotations

from collections.abc import Sequence

from fusee.base.dims import Dim, dim_max, equal, floordiv, is_nonnegative, less, product, select
from fusee.base.errors import ModelError
from fusee.base.types import Shape, TensorType
from fusee.ir.graph import Value
from fusee.onnx.axes import at_axis, axes_operand, normal_axes, normal_axis
from fusee.onnx.call import Lowering, OnnxCall
from fusee.ops.shape import Concat, Expand, Reshape, Transpose


def lower_reshape(call: OnnxCall) -> Value:
    """0 copies a size (unless allowzero), -1 takes what is left over; either may turn up only at run time."""
    target = call.dims(1)
    x = call.ordered(call.value(0))
    copied = target if call.int("allowzero", 0) else _with_copied(call, x.type, target)
    return Reshape(_with_inferred(call, x.type, copied))(x, loc=call.loc)


def _with_copied(call: OnnxCall, x: TensorType, target: Sequence[Dim]) -> Shape:
    if any(d == 0 for d in target[x.rank :]):
        raise ModelError(f"{call.where}: shape {list(target)} copies a size that {x} does not have")
    pairs = zip(target, x.shape, strict=False)
    return (*(d if is_nonnegative(d) and d != 0 else select(equal(d, 0), s, d) for d, s in pairs), *target[x.rank :])


def _with_inferred(call: OnnxCall, x: TensorType, target: Sequence[Dim]) -> Shape:
    if sum(d == -1 for d in target) > 1:
        raise ModelError(f"{call.where}: shape {list(target)} has more than one -1")
    given = [d if is_nonnegative(d) else select(less(d, 0), 1, d) for d in target]
    others = product(given)
    if others == 0 and -1 in target:
        raise ModelError(f"{call.where}: shape {list(target)} of {x} has a -1 beside a 0, so it could be anything")
    return tuple(d if is_nonnegative(d) else select(less(d, 0), floordiv(x.size, others), d) for d in target)


def lower_flatten(call: OnnxCall) -> Value:
    x = call.value(0)
    axis = call.int("axis", 1)
    if not -x.type.rank <= axis <= x.type.rank:
        raise ModelError(f"{call.where}: axis {axis} is not between 0 and {x.type.rank}, the rank of {x.type}")
    axis += x.type.rank if axis < 0 else 0
    return Reshape((product(x.type.shape[:axis]), product(x.type.shape[axis:])))(x, loc=call.loc)


def _axes(call: OnnxCall, rank: int) -> tuple[Dim, ...] | None:
    """The axes: an attribute up to opset 12, then an input."""
    if call.version >= 13:
        return axes_operand(call, 1, rank)
    return normal_axes(call, call.ints("axes"), rank) if call.has_attribute("axes") else None


def lower_squeeze(call: OnnxCall) -> Value:
    shape = call.type(0).shape
    axes = _axes(call, len(shape))
    if axes is None:
        axes = tuple(a for a, d in enumerate(shape) if d == 1)
        shape = tuple(_not_one(d) for d in shape)
    for a in axes:
        if isinstance(a, int) and equal(shape[a], 1) == 0:
            raise ModelError(f"{call.where}: axis {a} of {call.type(0)} has not size 1")
    return Reshape(squeezed(shape, axes))(call.ordered(call.value(0)), loc=call.loc)


def _not_one(size: Dim) -> Dim:
    """A size that stays because it is taken not to be 1: should it be 1, the result does not fit and the run stops."""
    return size if isinstance(size, int) else select(equal(size, 1), 0, size)


def squeezed(shape: Shape, axes: Sequence[Dim]) -> Shape:
    """The sizes of the axes that stay: the ``i``-th is that of the axis with ``i`` staying ones before it."""
    every = range(len(shape))
    stays = [at_axis(axes, (0,) * len(axes), a, 1) for a in every]
    places = [select(stays[a], sum(stays[:a], start=0), -1) for a in every]
    return tuple(at_axis(places, shape, i, 1) for i in range(len(shape) - len(axes)))


def lower_unsqueeze(call: OnnxCall) -> Value:
    shape = call.type(0).shape
    count = len(call.ints("axes")) if call.version < 13 else call.type(1).size
    if not isinstance(count, int):
        call.refuse(f"the number of axes, {count}, decides the rank of the result; it must be known at build time")
    axes = _axes(call, len(shape) + count) or ()
    return Reshape(unsqueezed(shape, axes))(call.ordered(call.value(0)), loc=call.loc)


def lower_expand_dims(call: OnnxCall) -> Value:
    shape = call.type(0).shape
    axes = axes_operand(call, 1, len(shape) + 1) or ()
    return Reshape(unsqueezed(shape, axes))(call.ordered(call.value(0)), loc=call.loc)


def unsqueezed(shape: Shape, axes: Sequence[Dim]) -> Shape:
    """1 at the new axes; elsewhere the size of the axis with as many old ones before it."""
    rank = len(shape) + len(axes)
    is_new = [at_axis(axes, (1,) * len(axes), a, 0) for a in range(rank)]
    old_before = [a - sum(is_new[:a], start=0) for a in range(rank)]
    sizes = [at_axis(range(len(shape)), shape, n, 1) for n in old_before]
    return tuple(select(new, 1, size) for new, size in zip(is_new, sizes, strict=True))


def lower_transpose(call: OnnxCall) -> Value:
    x = call.value(0)
    perm = call.ints("perm", tuple(reversed(range(x.type.rank))))
    return Transpose(perm)(x, loc=call.loc)


def lower_expand(call: OnnxCall) -> Value:
    target = call.dims(1)
    x = call.ordered(call.value(0))
    rank = max(len(target), x.type.rank)
    own = (1,) * (rank - x.type.rank) + x.type.shape
    asked = (1,) * (rank - len(target)) + target
    shape = tuple(_expanded(call, d, t) for d, t in zip(own, asked, strict=True))
    return Expand(shape)(x, loc=call.loc)


def _expanded(call: OnnxCall, size: Dim, target: Dim) -> Dim:
    """The size that broadcasting gives; of two that only the run knows, neither 0, the larger."""
    if target == 1 or size == target:
        return size
    if size == 1:
        return target
    if isinstance(size, int):
        if equal(size, target) == 0:
            raise ModelError(f"{call.where}: size {size} cannot be expanded to {target}")
        return size
    return target if isinstance(target, int) else dim_max(size, target)


def lower_tile(call: OnnxCall) -> Value:
    """Each axis gets a partner in front of it, is repeated along that, and merged with it."""
    repeats = call.dims(1)
    x = call.ordered(call.value(0))
    if len(repeats) != x.type.rank:
        raise ModelError(f"{call.where}: {len(repeats)} repeats for {x.type}")
    sizes = list(zip(repeats, x.type.shape, strict=True))
    split = tuple(d for r, n in sizes for d in ((n,) if 1 in (r, n) else (1, n)))
    repeated = tuple(d for r, n in sizes for d in ((r * n,) if 1 in (r, n) else (r, n)))
    parted = Reshape(split)(x, loc=call.loc)
    return Reshape(tuple(r * n for r, n in sizes))(Expand(repeated)(parted, loc=call.loc), loc=call.loc)


def lower_concat(call: OnnxCall) -> Value:
    xs = call.values()
    return Concat(normal_axis(call, call.int("axis"), xs[0].type.rank))(*xs, loc=call.loc)


def lower_identity(call: OnnxCall) -> Value:
    return call.value(0)


def _blocks(call: OnnxCall, x: Value) -> tuple[int, Dim, Dim, Dim, Dim]:
    block = call.int("blocksize")
    if x.type.rank != 4 or block < 1:
        raise ModelError(f"{call.where}: needs a tensor of rank 4 and a block size above 0, got {x.type} and {block}")
    n, c, h, w = x.type.shape
    return block, n, c, h, w


def lower_depth_to_space(call: OnnxCall) -> Value:
    x = call.value(0)
    b, n, c, h, w = _blocks(call, x)
    depth = floordiv(c, b * b)
    crd = _is_crd(call)
    split = (n, depth, b, b, h, w) if crd else (n, b, b, depth, h, w)
    parted = Transpose((0, 1, 4, 2, 5, 3) if crd else (0, 3, 4, 1, 5, 2))(Reshape(split)(x, loc=call.loc), loc=call.loc)
    return Reshape((n, depth, h * b, w * b))(parted, loc=call.loc)


def lower_space_to_depth(call: OnnxCall) -> Value:
    x = call.value(0)
    b, n, c, h, w = _blocks(call, x)
    rows, columns = floordiv(h, b), floordiv(w, b)
    parted = Reshape((n, c, rows, b, columns, b))(x, loc=call.loc)
    moved = Transpose((0, 1, 3, 5, 2, 4) if _is_crd(call) else (0, 3, 5, 1, 2, 4))(parted, loc=call.loc)
    return Reshape((n, c * b * b, rows, columns))(moved, loc=call.loc)


def _is_crd(call: OnnxCall) -> bool:
    mode = call.string("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise ModelError(f"{call.where}: mode {mode!r} is neither DCR nor CRD")
    return mode == "CRD"


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("Reshape", 5, lower_reshape),
    Lowering("Flatten", 1, lower_flatten),
    Lowering("Squeeze", 1, lower_squeeze),
    Lowering("Unsqueeze", 1, lower_unsqueeze),
    Lowering("ExpandDims", 1, lower_expand_dims, "com.microsoft"),
    Lowering("Transpose", 1, lower_transpose),
    Lowering("Expand", 8, lower_expand),
    Lowering("Tile", 6, lower_tile),
    Lowering("Concat", 4, lower_concat),
    Lowering("Identity", 1, lower_identity),
    Lowering("DepthToSpace", 1, lower_depth_to_space),
    Lowering("SpaceToDepth", 1, lower_space_to_depth),
)
