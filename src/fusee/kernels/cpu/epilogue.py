"""What follows a tile's reduction: the group's elementwise ops on the accumulators, and the stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fusee.base.dims import Dim
from fusee.base.types import Array, DType
from fusee.ir.graph import Graph
from fusee.kernels.cpu.anchor import Anchored, Source
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import raw_type, to_compute, to_memory
from fusee.kernels.cpu.lanes import emit_body
from fusee.kernels.cpu.space import broadcast_steps, strides_of
from fusee.kernels.cpu.ssa import Index, Ssa, vector
from fusee.kernels.kernel import Operand
from fusee.ops.binary import Add, Max, Min, Mul, Sub, Where
from fusee.ops.elementwise import Abs, HardSigmoid, HardSwish, LeakyRelu, Neg, Relu

SPILL_BYTES = 4096  # what one tile's accumulators take (32 registers of 64 bytes), and as much for addresses
_WORDS_AT = 2048  # where the addresses are
_INLINE_COST = 6  # a dearer epilogue is emitted once, in a loop over the tile's pixels, to keep the code small
_CHEAP = (Add, Sub, Mul, Max, Min, Neg, Abs, Relu, LeakyRelu, HardSwish, HardSigmoid, Where)  # about one instruction
_DEAR_COST = 8  # of any other op


@dataclass(frozen=True, eq=False)
class Lying:
    """A tensor as the epilogue meets it: its address, and its steps in elements along (n, h, w) and the channels."""

    address: Ssa
    dtype: DType
    steps: tuple[Dim, Dim, Dim]
    channel: int  # 1, or 0 where it is one number for all channels

    @property
    def is_per_channel(self) -> bool:
        """Whether all pixels see the same numbers."""
        return not any(self.steps)


@dataclass(frozen=True, eq=False)
class Columns:
    """The channels of one tile: the first one, and per vector the mask of its lanes that exist (None: all)."""

    first: Index
    masks: tuple[Ssa | None, ...]

    @property
    def vectors(self) -> int:
        return len(self.masks)


@dataclass(frozen=True)
class Spot:
    """Where a tile lies: its first pixel, and its pixels as (rows down, pixels right) from there."""

    n: Index
    h: Index
    w: Index
    height: int
    width: int

    @property
    def pixels(self) -> tuple[tuple[int, int], ...]:
        return tuple((y, x) for y in range(self.height) for x in range(self.width))


def lying_problem(operand: Operand, rank: int) -> str:
    """Why the epilogue cannot read or write a tensor of this kind; '' when it can."""
    channel = broadcast_steps(operand.type.shape, strides_of(operand), rank)[-1]
    return "" if channel in (0, 1) else f"the channels of {operand.type} lie {channel} elements apart"


def group_problem(group: Anchored) -> str:
    """Why an epilogue cannot handle a group's other tensors; '' when it can."""
    if 0 in group.shape or any(0 in s.operand.type.shape for s in group.inputs):
        return "there is nothing to compute"
    if any(s.value is None for s in group.inputs[2:]):
        return "the bias is not known at build time"
    rank = len(group.shape)
    return next((p for t in tensors_of(group) if (p := lying_problem(t, rank))), "")


def tensors_of(group: Anchored) -> list[Operand]:
    """The tensors beside the anchor's operands, in the order in which ``attach`` wants their steps."""
    return [*[leaf.operand for leaf in group.leaves], *group.results]


def pixel_steps(tensor: Operand, rank: int) -> tuple[Dim, ...]:
    """A tensor's steps along the axes of the anchor's result, channels left out."""
    return broadcast_steps(tensor.type.shape, strides_of(tensor), rank)[:-1]


@dataclass(frozen=True, eq=False)
class Epilogue:
    """The rest of a group after its anchor, ready to be emitted for any tile."""

    rest: Graph
    leaves: tuple[Lying, ...]
    results: tuple[Lying, ...]
    spill: Ssa  # scratch of this thread for one tile
    # Functions that finish spilled tiles, by the sums' type, the tile's width and masks.
    loops: dict[tuple[str, int, tuple[Ssa | None, ...]], Emitter]

    def from_channel(self, e: Emitter, first: Index) -> Epilogue:
        """The same for the channels from ``first`` on."""
        moved = [
            [replace(t, address=e.at(t.address, raw_type(t.dtype), e.mul(first, t.channel))) for t in tensors]
            for tensors in (self.leaves, self.results)
        ]
        return replace(self, leaves=tuple(moved[0]), results=tuple(moved[1]))

    def emit(self, e: Emitter, spot: Spot, columns: Columns, accumulators: Sequence[Ssa]) -> None:
        """Finish a tile whose sums are in registers, pixel by pixel."""
        if self._cost > _INLINE_COST:
            self._rolled(e, spot, columns, accumulators, (spot.height, spot.width))
        else:
            self._inline(e, spot, columns, accumulators)

    def emit_part(
        self, e: Emitter, spot: Spot, columns: Columns, accumulators: Sequence[Ssa], extent: tuple[Index, Index]
    ) -> None:
        """Finish only the first rows and columns of a tile's pixels."""
        self._rolled(e, spot, columns, accumulators, extent)

    @property
    def _cost(self) -> int:
        ops = [node.op for node in self.rest.nodes() if node.operands]
        return sum(1 if isinstance(op, _CHEAP) else _DEAR_COST for op in ops)

    def _inline(self, e: Emitter, spot: Spot, columns: Columns, accumulators: Sequence[Ssa]) -> None:
        leaves = [_Near.of(e, t, spot, columns) for t in self.leaves]
        results = [_Near.of(e, t, spot, columns) for t in self.results]
        fixed = {
            (i, j): near.load(e, near.start, j, columns)
            for i, near in enumerate(leaves)
            if near.tensor.is_per_channel
            for j in range(columns.vectors)
        }
        for p, (y, x) in enumerate(spot.pixels):
            for j in range(columns.vectors):
                values = [
                    fixed[i, j] if (i, j) in fixed else near.load(e, near.pixel(e, y, x), j, columns)
                    for i, near in enumerate(leaves)
                ]
                finished = emit_body(e, self.rest, accumulators[p * columns.vectors + j], *values)
                for near, value in zip(results, finished, strict=True):
                    near.store(e, near.pixel(e, y, x), j, columns, value)

    def _rolled(
        self, e: Emitter, spot: Spot, columns: Columns, accumulators: Sequence[Ssa], extent: tuple[Index, Index]
    ) -> None:
        width, kind = e.target.vector_bytes, accumulators[0].type
        for k, value in enumerate(accumulators):
            e.store(value, e.offset(self.spill, k * width), width)
        tensors = [_Near.of(e, t, spot, columns) for t in (*self.leaves, *self.results)]
        if any(mask is not None and mask.text.startswith("%") for mask in columns.masks):
            self._loop(e, tensors, kind, spot.width, columns, self.spill, extent)
            return
        key = (kind, spot.width, columns.masks)
        if key not in self.loops:
            self.loops[key] = self._function(e, kind, spot.width, columns)
        enter_inner(e, self.loops[key], self.spill, [t.start for t in tensors], extent)

    def _function(self, e: Emitter, kind: str, width: int, columns: Columns) -> Emitter:
        """A function of its own, so that constants of the loop do not take registers from the tile's reduction."""
        inner = e.inner()
        tensors = [_Near(t, inner.temp(i)) for i, t in enumerate((*self.leaves, *self.results))]
        self._loop(inner, tensors, kind, width, columns, inner.scratch, (inner.lo, inner.hi))
        return inner

    def _loop(
        self,
        e: Emitter,
        tensors: Sequence[_Near],
        kind: str,
        row: int,
        columns: Columns,
        spill: Ssa,
        extent: tuple[Index, Index],
    ) -> None:
        """Finish a spilled tile of sums of that type whose rows are that many pixels long, as far as ``extent``."""
        leaves, results = tensors[: len(self.leaves)], tensors[len(self.leaves) :]
        width, vectors = e.target.vector_bytes, range(columns.vectors)

        def pixel(y: Index, x: Index) -> None:
            sums = e.offset(spill, e.mul(e.add(e.mul(y, row), x), columns.vectors * width))
            for j in vectors:
                values = [near.load(e, near.pixel(e, y, x), j, columns) for near in leaves]
                taken = e.load(kind, e.offset(sums, j * width), width)
                for near, value in zip(results, emit_body(e, self.rest, taken, *values), strict=True):
                    near.store(e, near.pixel(e, y, x), j, columns, value)

        e.loop(0, extent[0], 1, lambda y: e.loop(0, extent[1], 1, lambda x: pixel(y, x)))


def enter_inner(e: Emitter, function: Emitter, spill: Ssa, pointers: Sequence[Ssa], ends: tuple[Index, Index]) -> None:
    """Call an inner function with these as its first pointers; its words go to the end of a tile's spill area."""
    words = e.offset(spill, _WORDS_AT)
    sizes = [e.i64(e.dim(d)) for d in function.launch(0).scalars]
    for slot, word in enumerate((*pointers, *sizes)):
        e.store(word, e.offset(words, 8 * slot))
    e.enter(function, words, *ends, spill)


def attach(e: Emitter, group: Anchored, steps: Sequence[tuple[Dim, Dim, Dim]], constants: list[Array]) -> Epilogue:
    """The epilogue of a group whose tensors have these steps; constants of its body are added to ``constants``."""
    rank, leaves = len(group.shape), len(group.leaves)
    addresses = [_address_of(e, leaf, constants) for leaf in group.leaves]
    addresses += [e.result(i) for i in range(len(group.results))]
    lying = [
        Lying(address, tensor.type.dtype, row, _channel_step(tensor, rank))
        for address, row, tensor in zip(addresses, steps, tensors_of(group), strict=True)
    ]
    return Epilogue(group.rest, tuple(lying[:leaves]), tuple(lying[leaves:]), e.scratch, {})


def _address_of(e: Emitter, leaf: Source, constants: list[Array]) -> Ssa:
    if leaf.index is not None:
        return e.operand(leaf.index)
    assert leaf.value is not None
    constants.append(leaf.value)
    return e.constant(len(constants) - 1)


def _channel_step(tensor: Operand, rank: int) -> int:
    step = broadcast_steps(tensor.type.shape, strides_of(tensor), rank)[-1]
    assert isinstance(step, int)
    return step


@dataclass(frozen=True, eq=False)
class _Near:
    """A tensor with the address of a tile's first element."""

    tensor: Lying
    start: Ssa

    @staticmethod
    def of(e: Emitter, tensor: Lying, spot: Spot, columns: Columns) -> _Near:
        index = e.mul(columns.first, tensor.channel)
        for coordinate, step in zip((spot.n, spot.h, spot.w), tensor.steps, strict=True):
            index = e.add(index, e.mul(coordinate, e.dim(step)))
        return _Near(tensor, e.at(tensor.address, raw_type(tensor.dtype), index))

    def pixel(self, e: Emitter, y: Index, x: Index) -> Ssa:
        _, down, right = self.tensor.steps
        index = e.add(e.mul(y, e.dim(down)), e.mul(x, e.dim(right)))
        return e.at(self.start, raw_type(self.tensor.dtype), index)

    def load(self, e: Emitter, pixel: Ssa, j: int, columns: Columns) -> Ssa:
        return to_compute(e, self._raw(e, pixel, j, columns), self.tensor.dtype)

    def _raw(self, e: Emitter, pixel: Ssa, j: int, columns: Columns) -> Ssa:
        lanes, element = e.lanes_for("float"), raw_type(self.tensor.dtype)
        if self.tensor.channel == 0:
            return e.splat(e.load(element, pixel), lanes)
        at, mask, type = e.at(pixel, element, j * lanes), columns.masks[j], vector(element, lanes)
        return e.load(type, at) if mask is None else e.load_masked(type, at, mask)

    def store(self, e: Emitter, pixel: Ssa, j: int, columns: Columns, value: Ssa) -> None:
        element, mask = raw_type(self.tensor.dtype), columns.masks[j]
        at, raw = e.at(pixel, element, j * e.lanes_for("float")), to_memory(e, value, self.tensor.dtype)
        if mask is None:
            e.store(raw, at)
        else:
            e.store_masked(raw, at, mask)
