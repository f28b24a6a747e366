"""How ops that move elements read their operands at a place: shape ops, lookups, running positions."""

from __future__ import annotations

from fusee.base.dims import Dim
from fusee.ir.graph import Node, Value
from fusee.kernels.cpu.coords import Coord, Lanes, Spot, inside, moved, positions, scaled, splat_index
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import compute_type
from fusee.kernels.cpu.math_exp import exp, log, number
from fusee.kernels.cpu.spots import Reader, broadcast_spot, flattened, index_lanes, unflattened
from fusee.kernels.cpu.ssa import Ssa, element_of, is_float, literal, vector
from fusee.ops import index as ix
from fusee.ops import shape as sh
from fusee.ops.reduce import Lrn


def zeros(node: Node, lanes: Lanes) -> Ssa:
    return literal(vector(compute_type(node.types[0].dtype), lanes.count), 0)


def replaced(spot: Spot, axis: int, coord: Coord) -> Spot:
    return (*spot[:axis], coord, *spot[axis + 1 :])


def transpose(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, sh.Transpose)
    perm = node.op.perm
    return r.at(node.operands[0], tuple(spot[perm.index(axis)] for axis in range(len(perm))), lanes)


def expand(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    x = node.operands[0]
    return r.at(x, broadcast_spot(x.type.shape, spot), lanes)


def slice_of(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, sh.Slice)
    e = r.e
    rows = zip(spot, node.op.starts, node.op.steps, strict=True)
    place = tuple(moved(e, scaled(e, c, e.dim(step)), e.dim(start)) for c, start, step in rows)
    return r.at(node.operands[0], place, lanes)


def full(r: Reader, node: Node, _spot: Spot, lanes: Lanes) -> Ssa:
    return r.at(node.operands[0], (), lanes)


def reshape(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    """Trailing axes that both shapes share keep their positions; the rest goes through the row-major number."""
    (x,) = node.operands
    outer, inner = node.types[0].shape, x.type.shape
    shared = 0
    while shared < min(len(outer), len(inner)) and outer[-1 - shared] == inner[-1 - shared]:
        shared += 1
    head, kept = spot[: len(spot) - shared], spot[len(spot) - shared :]
    flat = flattened(r.e, head, outer[: len(head)], lanes.count)
    return r.at(x, (*unflattened(r.e, flat, inner[: len(inner) - shared], lanes.count), *kept), lanes)


def concat(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    """Part by part; a part none of whose elements is wanted is skipped."""
    assert isinstance(node.op, sh.Concat)
    e, axis = r.e, node.op.axis
    ends: list[Dim] = []
    for x in node.operands:
        ends.append((ends[-1] if ends else 0) + x.type.shape[axis])
    starts = [0, *ends[:-1]]
    if spot[axis].is_uniform:
        return _uniform_part(r, node, spot, lanes, list(zip(node.operands, starts, ends, strict=True)))
    total = zeros(node, lanes)
    for x, start in zip(node.operands, starts, strict=True):
        coord = moved(e, spot[axis], e.sub(0, e.dim(start)))
        here = lanes.within(e, inside(e, coord, e.dim(x.type.shape[axis]), lanes.count))
        total = _where_any(r, here, x, replaced(spot, axis, coord), total)
    return total


def _uniform_part(r: Reader, node: Node, spot: Spot, lanes: Lanes, parts: list[tuple[Value, Dim, Dim]]) -> Ssa:
    """The one part that the place lies in."""
    assert isinstance(node.op, sh.Concat)
    axis, e = node.op.axis, r.e
    (x, start, end), *rest = parts

    def this() -> Ssa:
        return r.at(x, replaced(spot, axis, moved(e, spot[axis], e.sub(0, e.dim(start)))), lanes)

    if not rest:
        return this()
    return r.branch(e.less(spot[axis].base, e.dim(end)), this, lambda: _uniform_part(r, node, spot, lanes, rest))


def _where_any(r: Reader, here: Lanes, x: Value, spot: Spot, otherwise: Ssa) -> Ssa:
    """A value in the lanes of ``here``, computed only when there are any."""
    e, mask = r.e, here.mask_lanes()
    bits = e.bitcast(mask, f"i{here.count}")
    some = e.icmp("ne", bits, Ssa("0", bits.type))
    return r.branch(some, lambda: e.select(mask, r.at(x, spot, here), otherwise), lambda: otherwise)


def pad(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, sh.Pad)
    e, op, x = r.e, node.op, node.operands[0]
    if op.mode != "constant":
        rows = zip(spot, x.type.shape, op.before, op.after, strict=True)
        return r.at(x, tuple(_folded(e, op.mode, *row, lanes.count) for row in rows), lanes)
    place = tuple(moved(e, c, e.dim(before)) for c, before in zip(spot, [0 - b for b in op.before], strict=True))
    otherwise = r.at(node.operands[1], (), lanes)
    mask = lanes.mask_lanes()
    for coord, size, before, after in zip(place, x.type.shape, op.before, op.after, strict=True):
        if before != 0 or after != 0:
            mask = e.op("and", mask, inside(e, coord, e.dim(size), lanes.count))
    return _where_any(r, Lanes(lanes.count, mask), x, place, otherwise)


def _folded(e: Emitter, mode: str, coord: Coord, size: Dim, before: Dim, after: Dim, lanes: int) -> Coord:
    """The element that a place of a padded axis shows; what is cut off goes before folding."""
    if before == 0 and after == 0:
        return coord
    cut, cut_after = (e.max(e.sub(0, e.dim(d)), 0) for d in (before, after))
    kept = e.sub(e.sub(e.dim(size), cut), cut_after)
    where = positions(e, moved(e, coord, e.sub(0, e.max(e.dim(before), 0))), lanes)
    if mode == "edge":
        folded = _between(e, where, splat_index(e, e.sub(kept, 1), lanes))
    elif mode == "wrap":
        folded = _modulo(e, where, splat_index(e, kept, lanes))
    else:
        period = splat_index(e, e.max(e.mul(e.sub(kept, 1), 2), 1), lanes)
        once = _modulo(e, where, period)
        back = e.op("sub", period, once)
        folded = e.select(e.icmp("slt", back, once), back, once)
        folded = _between(e, folded, splat_index(e, e.sub(kept, 1), lanes))
    return Coord(cut, 0, folded)


def _between(e: Emitter, where: Ssa, last: Ssa) -> Ssa:
    zero = literal(where.type, 0)
    low = e.select(e.icmp("slt", where, zero), zero, where)
    return e.select(e.icmp("sgt", low, last), last, low)


def _modulo(e: Emitter, where: Ssa, period: Ssa) -> Ssa:
    left = e.op("srem", where, period)
    return e.select(e.icmp("slt", left, literal(where.type, 0)), e.op("add", left, period), left)


def trilu(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, sh.Trilu)
    e = r.e
    row, column = (positions(e, c, lanes.count) for c in spot[-2:])
    distance = e.op("sub", column, row)
    edge = splat_index(e, e.dim(node.op.k), lanes.count)
    kept = e.icmp("sge" if node.op.upper else "sle", distance, edge)
    return e.select(kept, r.at(node.operands[0], spot, lanes), zeros(node, lanes))


def number_range(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    e = r.e
    start, delta = (r.at(v, (), lanes) for v in node.operands)
    steps = index_lanes(e, positions(e, spot[0], lanes.count), element_of(start.type))
    if is_float(start.type):
        return e.fadd(start, e.fmul(steps, delta))
    return e.op("add", start, e.op("mul", steps, delta))


def dims_tensor(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, sh.DimsTensor)
    e, total = r.e, zeros(node, lanes)
    where = positions(e, spot[0], lanes.count)
    for i, element in enumerate(node.op.elements):
        here = e.icmp("eq", where, literal(where.type, i))
        total = e.select(here, e.splat(e.i64(e.dim(element)), lanes.count), total)
    return total


def reverse_sequence(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, sh.ReverseSequence)
    e, (x, lengths), time = r.e, node.operands, node.op.time_axis
    length = r.at(lengths, (spot[node.op.batch_axis],), lanes)
    length = e.convert("trunc", length, "i32")
    where = positions(e, spot[time], lanes.count)
    mirrored = e.op("sub", e.op("sub", length, literal(length.type, 1)), where)
    source = e.select(e.icmp("slt", where, length), mirrored, where)
    return r.at(x, replaced(spot, time, Coord(0, 0, source)), lanes)


def gather(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, ix.Gather)
    x, indices = node.operands
    axis, rank = node.op.axis, indices.type.rank
    found = r.indices(indices, spot[axis : axis + rank], lanes, x.type.shape[axis])
    return r.at(x, (*spot[:axis], found, *spot[axis + rank :]), lanes)


def gather_elements(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, ix.GatherElements)
    x, indices = node.operands
    found = r.indices(indices, spot, lanes, x.type.shape[node.op.axis])
    return r.at(x, replaced(spot, node.op.axis, found), lanes)


def gather_nd(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, ix.GatherNd)
    x, indices = node.operands
    head, depth = indices.type.rank - 1, indices.type.shape[-1]
    assert isinstance(depth, int)
    first = node.op.batch_dims
    sizes = x.type.shape[first : first + depth]
    found = [r.indices(indices, (*spot[:head], Coord(k)), lanes, size) for k, size in enumerate(sizes)]
    return r.at(x, (*spot[:first], *found, *spot[head:]), lanes)


def one_hot(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    assert isinstance(node.op, ix.OneHot)
    e, (indices, off_on), axis = r.e, node.operands, node.op.axis
    found = r.at(indices, (*spot[:axis], *spot[axis + 1 :]), lanes)
    found = e.convert("trunc", found, "i32")
    depth = splat_index(e, e.dim(node.op.depth), lanes.count)
    wrapped = e.select(e.icmp("slt", found, literal(found.type, 0)), e.op("add", found, depth), found)
    off, on = (r.at(off_on, (Coord(i),), lanes) for i in range(2))
    return e.select(e.icmp("eq", wrapped, positions(e, spot[axis], lanes.count)), on, off)


def tensor_scatter(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    """Each element asks whether the update covers it."""
    assert isinstance(node.op, ix.TensorScatter)
    e, (cache, update, starts), axis = r.e, node.operands, node.op.axis
    first = e.convert("trunc", r.at(starts, (spot[0],), lanes), "i32")
    size = splat_index(e, e.dim(cache.type.shape[axis]), lanes.count)
    distance = e.op("sub", positions(e, spot[axis], lanes.count), first)
    if node.op.circular:
        distance = _modulo(e, distance, size)
    coord = Coord(0, 0, distance)
    here = lanes.within(e, inside(e, coord, e.dim(update.type.shape[axis]), lanes.count))
    return _where_any(r, here, update, replaced(spot, axis, coord), r.at(cache, spot, lanes))


def lrn(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    """Divide by a power of the squares of the channels around, the power taken through logarithms."""
    assert isinstance(node.op, Lrn)
    e, op, (x,) = r.e, node.op, node.operands
    here, before = r.at(x, spot, lanes), (op.size - 1) // 2
    total = zeros(node, lanes)
    for by in range(-before, op.size - before):
        coord = moved(e, spot[1], by)
        near = lanes.within(e, inside(e, coord, e.dim(x.type.shape[1]), lanes.count))
        neighbour = _where_any(r, near, x, replaced(spot, 1, coord), zeros(node, lanes))
        total = e.fma(neighbour, neighbour, total)
    grown = e.fma(total, number(here, op.alpha / op.size), number(here, op.bias))
    return e.fmul(here, exp(e, e.fmul(log(e, grown), number(here, -op.beta))))
