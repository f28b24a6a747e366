"""Resize computed at places: each axis has a table of the elements a position reads and of their weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as cartesian

import numpy as np

from fusee.base.types import F32, F64
from fusee.ir.graph import Node
from fusee.kernels.cpu.coords import Coord, Lanes, Spot, load
from fusee.kernels.cpu.spots import Reader
from fusee.kernels.cpu.ssa import Ssa, vector
from fusee.ops.resize import Resize

MOST_TERMS = 16  # elements read for one result: bicubic in two axes


@dataclass(frozen=True, eq=False)
class _Tables:
    """One resized axis: indices i32 [taps, target] and weights f32 of the same shape, as addresses."""

    axis: int
    taps: int
    target: int
    indices: Ssa
    weights: Ssa

    def index(self, r: Reader, coord: Coord, tap: int, lanes: Lanes) -> Coord:
        """Which element of the axis a tap reads."""
        e, start = r.e, tap * self.target
        if coord.is_uniform:
            found = e.load("i32", e.at(self.indices, "i32", e.add(coord.base, start)))
            return Coord(e.convert("sext", found, "i64"))
        where = e.at(self.indices, "i32", e.add(coord.base, start))
        type = vector("i32", lanes.count)
        if coord.is_contiguous:
            raw = e.load(type, where) if lanes.mask is None else e.load_masked(type, where, lanes.mask)
            return Coord(0, 0, raw)
        assert coord.lanes is not None
        return Coord(0, 0, e.gather("i32", where, coord.lanes, lanes.mask))

    def weight(self, r: Reader, coord: Coord, tap: int, lanes: Lanes, element: str) -> Ssa:
        at = Coord(r.e.add(coord.base, tap * self.target), coord.step, coord.lanes)
        return r.e.convert("fpext", load(r.e, self.weights, F32, at, lanes), element)


def resize(r: Reader, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
    """The weighted sum over the taps of all resized axes."""
    assert isinstance(node.op, Resize)
    tables = _tables(r, node)
    total: Ssa | None = None
    for taps in cartesian(*[range(t.taps) for t in tables]):
        place, weight = list(spot), None
        for table, tap in zip(tables, taps, strict=True):
            coord = spot[table.axis]
            place[table.axis] = table.index(r, coord, tap, lanes)
            if node.op.mode != "nearest":
                own = table.weight(r, coord, tap, lanes, _element(node))
                weight = own if weight is None else r.e.fmul(weight, own)
        value = r.at(node.operands[0], tuple(place), lanes)
        if weight is not None:
            value = r.e.fmul(value, weight) if total is None else r.e.fma(value, weight, total)
        total = value
    assert total is not None
    return total


def _element(node: Node) -> str:
    return "double" if node.types[0].dtype is F64 else "float"


def _tables(r: Reader, node: Node) -> list[_Tables]:
    op, shape = node.op, node.operands[0].type.shape
    assert isinstance(op, Resize)
    found: list[_Tables] = []
    for axis, (size, target) in enumerate(zip(shape, op.sizes, strict=True)):
        if op.is_identity(axis, size):
            continue
        assert isinstance(size, int)
        assert isinstance(target, int)
        taps = op.taps(axis, size, target)
        indices = r.addresses.table((node, axis, "indices"), np.ascontiguousarray(taps.indices.T.astype(np.int32)))
        weights = r.addresses.table((node, axis, "weights"), np.ascontiguousarray(taps.weights.T.astype(np.float32)))
        found.append(_Tables(axis, taps.indices.shape[1], target, indices, weights))
    return found


def problem(node: Node) -> str:
    """Why a Resize cannot be computed at places; '' when it can."""
    op, x, terms = node.op, node.operands[0].type, 1
    assert isinstance(op, Resize)
    dtype = x.dtype
    if op.coordinate == "tf_crop_and_resize" or (op.mode != "nearest" and not dtype.is_float):
        return f"{op.mode} {op.coordinate} of {dtype}; expected floats, or nearest, and no regions"
    for axis, (size, target) in enumerate(zip(x.shape, op.sizes, strict=True)):
        if op.is_identity(axis, size):
            continue
        if not (isinstance(size, int) and isinstance(target, int)):
            return f"the sizes of axis {axis} are not known"
        terms *= op.taps(axis, size, target).indices.shape[1]
    return "" if terms <= MOST_TERMS else f"{terms} elements are read for each result; expected at most {MOST_TERMS}"
