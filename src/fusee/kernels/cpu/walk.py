"""The loops around a kernel that computes its result a vector at a time: rows are work units, lanes run along a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fusee.base.dims import Dim, ceildiv, product
from fusee.kernels.cpu.coords import Coord, Lanes, Spot
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.ssa import Index, Ssa

UNIT_ELEMENTS = 4096  # about 16 KiB of f32: enough to outweigh handing out a unit, few enough to spread over threads

Visit = Callable[[Spot, Lanes], None]


@dataclass(frozen=True)
class Walk:
    """A box of elements cut into work units: several whole rows each, or pieces of one row where rows are long."""

    sizes: tuple[Dim, ...]
    lanes: int
    unit_elements: int = UNIT_ELEMENTS

    @property
    def rows(self) -> Dim:
        return product(self.sizes[:-1])

    @property
    def row(self) -> Dim:
        """The length of a row."""
        return self.sizes[-1] if self.sizes else 1

    @property
    def pieces(self) -> Dim:
        """How many pieces a row is cut into."""
        return ceildiv(self.row, self.unit_elements)

    @property
    def rows_per_unit(self) -> int:
        return max(1, self.unit_elements // max(1, self.row)) if isinstance(self.row, int) else 1

    @property
    def units(self) -> Dim:
        return ceildiv(self.rows, self.rows_per_unit) * self.pieces

    def emit(self, e: Emitter, visit: Visit) -> None:
        """Write the loops over this call's units; ``visit`` writes what one vector takes."""
        if self.pieces == 1:
            first = e.mul(e.lo, self.rows_per_unit)
            last = e.min(e.mul(e.hi, self.rows_per_unit), e.dim(self.rows))
            e.loop(first, last, 1, lambda r: self._row(e, r, 0, e.dim(self.row), visit))
        else:
            e.loop(e.lo, e.hi, 1, lambda u: self._piece(e, u, visit))

    def _piece(self, e: Emitter, unit: Ssa, visit: Visit) -> None:
        pieces = e.dim(self.pieces)
        start = e.mul(e.rem(unit, pieces), self.unit_elements)
        end = e.min(e.add(start, self.unit_elements), e.dim(self.row))
        self._row(e, e.div(unit, pieces), start, end, visit)

    def _row(self, e: Emitter, row: Index, start: Index, end: Index, visit: Visit) -> None:
        outer = tuple(Coord(i) for i in unravelled(e, row, self.sizes[:-1]))
        along_row(e, start, end, self.lanes, lambda i, lanes: visit((*outer, i)[: len(self.sizes)], lanes))


def along_row(e: Emitter, start: Index, end: Index, lanes: int, visit: Callable[[Coord, Lanes], None]) -> None:
    """Full vectors from ``start`` on, then the rest under a mask."""
    whole = e.add(start, e.mul(e.div(e.sub(end, start), lanes), lanes))
    if not (isinstance(whole, int) and whole == start):
        e.loop(start, whole, lanes, lambda i: visit(Coord(i, 1), Lanes(lanes)))
    rest = e.sub(end, whole)
    if isinstance(rest, int):
        if rest > 0:
            visit(Coord(whole, 1), Lanes(lanes, e.first_lanes(rest, lanes)))
        return
    e.branch(e.less(0, rest), lambda: visit(Coord(whole, 1), Lanes(lanes, e.first_lanes(rest, lanes))))


def unravelled(e: Emitter, index: Index, sizes: Sequence[Dim]) -> list[Index]:
    """The coordinates of an element counted in row-major order."""
    found: list[Index] = []
    for axis in reversed(range(len(sizes))):
        size = e.dim(sizes[axis])
        if axis == 0:
            found.append(index)
        elif isinstance(size, int) and size == 1:
            found.append(0)
        else:
            found.append(e.rem(index, size))
            index = e.div(index, size)
    return found[::-1]
