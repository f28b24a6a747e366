"""The register tile: a few pixels times a few vectors of channels, accumulated in registers over a reduction.

Every dense kernel (matrix product, convolution, attention) is loops around this tile. Per step of the reduction it
loads ``vectors`` vectors of packed weights, broadcasts one element of each pixel, and multiplies each with each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fusee.base.dims import Dim
from fusee.base.target import CpuTarget
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.ssa import Index, Ssa, vector, zero

PREFETCH_BYTES = 4096  # how far ahead of its use the weight stream is asked for
_UNROLL = 4  # steps of the reduction per turn of its loop


@dataclass(frozen=True)
class Taps:
    """What one output pixel reads: ``rows`` by ``columns`` places, at each ``run`` elements that lie side by side.

    Steps are in bytes, from the pixel's first element. A matrix product is one place with ``run = K``. Where the
    elements of neighbouring columns touch, they are one run (``columns = 1``).
    """

    rows: int
    row_bytes: Dim
    columns: Dim
    column_bytes: Dim
    run: Dim | Ssa


def fits(pixels: int, vectors: int, target: CpuTarget) -> bool:
    """Whether a tile's accumulators, one step of weights and one broadcast stay in registers."""
    return pixels * vectors + vectors + 1 <= target.vector_registers


def most_pixels(vectors: int, target: CpuTarget) -> int:
    """The tallest tile of that width that stays in registers."""
    return max(1, (target.vector_registers - 1 - vectors) // vectors)


@dataclass(frozen=True)
class Split:
    """An axis cut into tiles as even as can be: ``large`` tiles of ``size + 1``, then tiles of ``size``.

    Even tiles keep every tile efficient: 20 pixels at most 14 at a time are 10 + 10, not 14 + 6.
    """

    extent: int
    count: int

    @staticmethod
    def even(extent: int, most: int) -> Split:
        return Split(extent, max(1, -(-extent // most)))

    @property
    def size(self) -> int:
        return self.extent // self.count

    @property
    def large(self) -> int:
        return self.extent % self.count

    @property
    def largest(self) -> int:
        return self.size + (self.large > 0)

    def start_of(self, e: Emitter, tile: Index) -> Index:
        """Where a tile begins; the extent for the tile behind the last."""
        return e.add(e.mul(tile, self.size), e.min(tile, self.large))


def accumulate(
    e: Emitter,
    taps: Taps,
    pixels: Sequence[Ssa | tuple[Ssa, int]],
    weights: tuple[Ssa, int],
    start: Sequence[Ssa],
    vectors: int,
) -> tuple[Ssa, ...]:
    """Emit the reduction of one tile; returns the accumulators, pixel by pixel.

    ``pixels`` are addresses of the pixels' first elements: pointers, or a shared pointer and a distance in bytes.
    ``weights`` is the address of the first step's weights, and the distance in bytes to the next step's.
    ``start`` are the accumulators to begin with.
    """
    at = [p if isinstance(p, tuple) else (p, 0) for p in pixels]
    bases = list(dict.fromkeys(base for base, _ in at))
    distances = [(bases.index(base), distance) for base, distance in at]
    step = _Step(e, distances, vectors, weights[1])

    def row(_: Index, *state: Ssa) -> Sequence[Ssa]:
        here, values = state[: len(bases)], state[len(bases) :]
        values = _columns(step, taps, here, values)
        return (*[e.offset(p, e.dim(taps.row_bytes)) for p in here], *values)

    state = (*bases, *start, weights[0])
    if taps.rows > 1:
        return tuple(e.loop(0, taps.rows, 1, row, state)[len(bases) : -1])
    return tuple(_columns(step, taps, bases, state[len(bases) :])[:-1])


def _columns(step: _Step, taps: Taps, bases: Sequence[Ssa], values: Sequence[Ssa]) -> tuple[Ssa, ...]:
    e = step.e
    if taps.columns == 1:
        return step.run(bases, taps.run, values)

    def column(_: Index, *state: Ssa) -> Sequence[Ssa]:
        here = state[: len(bases)]
        values = step.run(here, taps.run, state[len(bases) :])
        return (*[e.offset(p, e.dim(taps.column_bytes)) for p in here], *values)

    return tuple(e.loop(0, e.dim(taps.columns), 1, column, (*bases, *values))[len(bases) :])


@dataclass(frozen=True, eq=False)
class _Step:
    """One step of the reduction, and runs of it. State: accumulators, then the weights' address."""

    e: Emitter
    distances: Sequence[tuple[int, int]]  # per pixel: which base, how many bytes on
    vectors: int
    step_bytes: int

    def run(self, bases: Sequence[Ssa], length: Dim | Ssa, values: Sequence[Ssa]) -> tuple[Ssa, ...]:
        """``length`` steps whose inputs lie side by side."""
        e = self.e
        if isinstance(length, int) and length <= 2 * _UNROLL:
            return self.steps(bases, length, values)
        count = length if isinstance(length, Ssa) else e.dim(length)
        whole = e.mul(e.div(count, _UNROLL), _UNROLL)
        values = self._loop(bases, 0, whole, _UNROLL, values)
        if isinstance(whole, int) and isinstance(count, int):
            rest = [e.offset(p, whole * 4) for p in bases]
            return self.steps(rest, count - whole, values) if count > whole else tuple(values)
        return self._loop(bases, whole, count, 1, values)

    def _loop(self, bases: Sequence[Ssa], lo: Index, hi: Index, unroll: int, values: Sequence[Ssa]) -> tuple[Ssa, ...]:
        e = self.e

        def turn(i: Index, *values: Ssa) -> Sequence[Ssa]:
            return self.steps([e.at(p, "float", i) for p in bases], unroll, values)

        return e.loop(lo, hi, unroll, turn, values)

    def steps(self, bases: Sequence[Ssa], count: int, values: Sequence[Ssa]) -> tuple[Ssa, ...]:
        """``count`` steps in a straight line."""
        e, lanes = self.e, self.e.lanes_for("float")
        accumulators, weights = list(values[:-1]), values[-1]
        width = lanes * 4
        for s in range(count):
            at = [s * self.step_bytes + j * width for j in range(self.vectors)]
            for distance in at:
                e.prefetch(e.offset(weights, distance + PREFETCH_BYTES))
            loaded = [e.load(vector("float", lanes), e.offset(weights, d), width) for d in at]
            for p, (base, distance) in enumerate(self.distances):
                one = e.splat(e.load("float", e.offset(bases[base], distance + 4 * s)), lanes)
                for j, weight in enumerate(loaded):
                    k = p * self.vectors + j
                    accumulators[k] = e.fma(one, weight, accumulators[k])
        return (*accumulators, e.offset(weights, count * self.step_bytes))


def zeros(e: Emitter, count: int) -> tuple[Ssa, ...]:
    """Accumulators to start from."""
    return (zero(vector("float", e.lanes_for("float"))),) * count


def over_split(e: Emitter, split: Split, lo: Index, hi: Index, body: Callable[[Index, int], None]) -> None:
    """Run ``body(first, size)`` for the tiles of a split that begin in [lo, hi), which lie on tile borders."""
    border = split.large * split.largest
    if split.large:
        _over(e, lo, e.min(hi, border), split.largest, body)
    _over(e, e.max(lo, border) if split.large else lo, hi, split.size, body)


def over_cascade(e: Emitter, sizes: Sequence[int], lo: Index, hi: Index, body: Callable[[Index, int], None]) -> None:
    """Run ``body(first, size)`` over [lo, hi) in tiles of the first size, what is left in the next, down to 1."""
    for size in sizes:
        count = e.div(e.sub(hi, lo), size)
        end = e.add(lo, e.mul(count, size))
        _over(e, lo, end, size, body)
        lo = end


def _over(e: Emitter, lo: Index, hi: Index, size: int, body: Callable[[Index, int], None]) -> None:
    if isinstance(lo, int) and isinstance(hi, int):
        if lo >= hi:
            return
        if hi - lo == size:
            body(lo, size)
            return
    e.loop(lo, hi, size, lambda first: body(first, size))
