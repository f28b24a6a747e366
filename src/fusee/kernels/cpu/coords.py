"""Where the lanes of one vector stand along the axes of a tensor, and loads and stores at such places.

A ``Coord`` is the lanes' position along one axis: the same for all (``base``), evenly spaced (``base + lane * step``),
or different in each lane (``base + lanes``, i32). Distances between lanes are i32, so a tensor that is read at
scattered places may hold up to 2**31 elements. A ``Spot`` is one Coord per axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusee.base.dims import Dim
from fusee.base.types import DType
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import raw_type, to_compute, to_memory
from fusee.kernels.cpu.ssa import Index, Ssa, bits_of, lane_numbers, literal, mangled, vector


@dataclass(frozen=True)
class Coord:
    """Positions along one axis: ``base + lane * step``, or ``base + lanes`` when ``lanes`` is given."""

    base: Index = 0
    step: Index = 0
    lanes: Ssa | None = None

    @property
    def is_uniform(self) -> bool:
        return self.lanes is None and isinstance(self.step, int) and self.step == 0

    @property
    def is_contiguous(self) -> bool:
        return self.lanes is None and isinstance(self.step, int) and self.step == 1


Spot = tuple[Coord, ...]
ZERO = Coord()


def moved(e: Emitter, coord: Coord, by: Index) -> Coord:
    return Coord(e.add(coord.base, by), coord.step, coord.lanes)


def scaled(e: Emitter, coord: Coord, by: Index) -> Coord:
    """Every position times a number."""
    if isinstance(by, int) and by == 1:
        return coord
    lanes = coord.lanes
    if lanes is not None:
        lanes = e.op("mul", lanes, splat_index(e, by, lanes.lanes))
    return Coord(e.mul(coord.base, by), e.mul(coord.step, by), lanes)


def total(e: Emitter, a: Coord, b: Coord, lanes: int) -> Coord:
    """The sum of two positions, lane by lane."""
    base = e.add(a.base, b.base)
    if a.lanes is None and b.lanes is None:
        return Coord(base, e.add(a.step, b.step))
    return Coord(base, 0, e.op("add", distances(e, a, lanes), distances(e, b, lanes)))


def splat_index(e: Emitter, index: Index, lanes: int) -> Ssa:
    """An index in every lane, as i32."""
    type = vector("i32", lanes)
    if isinstance(index, int):
        return literal(type, index)
    return e.splat(e.assign("i32", f"trunc i64 {index} to i32"), lanes)


def distances(e: Emitter, coord: Coord, lanes: int) -> Ssa:
    """How far each lane is from ``base``, as i32 lanes."""
    if coord.lanes is not None:
        return coord.lanes
    numbers = lane_numbers(vector("i32", lanes))
    if isinstance(coord.step, int) and coord.step in (0, 1):
        return numbers if coord.step else literal(numbers.type, 0)
    return e.op("mul", numbers, splat_index(e, coord.step, lanes))


def positions(e: Emitter, coord: Coord, lanes: int) -> Ssa:
    """The positions themselves as i32 lanes."""
    base = splat_index(e, coord.base, lanes)
    if coord.is_uniform:
        return base
    if isinstance(coord.base, int) and coord.base == 0:
        return distances(e, coord, lanes)
    return e.op("add", base, distances(e, coord, lanes))


def scattered(positions: Ssa) -> Coord:
    """The coordinate of i32 positions."""
    return Coord(0, 0, positions)


def linear(e: Emitter, spot: Spot, steps: Sequence[Dim], lanes: int) -> Coord:
    """The distance in elements from the start of a tensor with these strides."""
    found = ZERO
    for coord, step in zip(spot, steps, strict=True):
        found = total(e, found, scaled(e, coord, e.dim(step)), lanes)
    return found


@dataclass(frozen=True)
class Lanes:
    """How many lanes a vector has, and which of them count (None: all)."""

    count: int
    mask: Ssa | None = None

    def within(self, e: Emitter, condition: Ssa) -> Lanes:
        """The lanes that count and for which a condition (i1 lanes) holds."""
        return Lanes(self.count, condition if self.mask is None else e.op("and", self.mask, condition))

    def mask_lanes(self) -> Ssa:
        return self.mask or literal(vector("i1", self.count), 1)


def load(e: Emitter, pointer: Ssa, dtype: DType, at: Coord, lanes: Lanes) -> Ssa:
    """Elements at positions counted from ``pointer``, ready to compute with; 0 in lanes that do not count."""
    element = raw_type(dtype)
    start = e.at(pointer, element, at.base)
    if at.is_uniform:
        return to_compute(e, e.splat(e.load(element, start), lanes.count), dtype)
    type = vector(element, lanes.count)
    if at.is_contiguous:
        raw = e.load(type, start) if lanes.mask is None else e.load_masked(type, start, lanes.mask)
    else:
        raw = _gather(e, start, element, distances(e, at, lanes.count), lanes)
    return to_compute(e, raw, dtype)


def _gather(e: Emitter, start: Ssa, element: str, where: Ssa, lanes: Lanes) -> Ssa:
    """Gathered elements; narrow ones lane by lane, since no instruction gathers them."""
    if bits_of(element) >= 32:
        return e.gather(element, start, where, lanes.mask)
    if lanes.mask is not None:
        where = e.select(lanes.mask, where, literal(where.type, 0))
    raw = Ssa("poison", vector(element, lanes.count))
    for lane in range(lanes.count):
        index = e.assign("i64", f"sext i32 {e.extract(where, lane)} to i64")
        raw = e.insert(raw, e.load(element, e.at(start, element, index)), lane)
    return raw


def store(e: Emitter, value: Ssa, pointer: Ssa, dtype: DType, at: Coord, lanes: Lanes) -> None:
    """Write elements; lanes that do not count are left as they are."""
    raw = to_memory(e, value, dtype)
    start = e.at(pointer, raw_type(dtype), at.base)
    if at.is_contiguous:
        e.store(raw, start) if lanes.mask is None else e.store_masked(raw, start, lanes.mask)
        return
    where = distances(e, at, lanes.count)
    pointers = vector("ptr", lanes.count)
    targets = e.assign(pointers, f"getelementptr {raw_type(dtype)}, ptr {start}, {where.typed}")
    targets = Ssa(f"align {bits_of(raw.type) // 8} {targets}", pointers)
    e.run(f"llvm.masked.scatter.{mangled(raw.type)}.v{lanes.count}p0", raw, targets, lanes.mask_lanes())


def inside(e: Emitter, coord: Coord, size: Index, lanes: int) -> Ssa:
    """Whether each position is in [0, size), as i1 lanes."""
    where = positions(e, coord, lanes)
    return e.icmp("ult", where, splat_index(e, size, lanes))
