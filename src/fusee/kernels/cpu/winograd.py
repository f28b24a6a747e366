"""3x3 convolution by Winograd's minimal filtering F(4x4, 3x3): 36 multiplications for 16 outputs instead of 144.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2015). A work unit takes some rows of 4x4 output
tiles and a block of output channels through three stages that stay in the second-level cache: input tiles times B on
both sides, 36 matrix products with weights that were transformed at build, products times A on both sides.
Rounding errors are a few times those of the direct sum, below 1e-5 of the largest result; the points are chosen after
Barabasz et al., Error Analysis and Improving the Accuracy of Winograd Convolution (2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from fusee.base.dims import Dim, ceildiv
from fusee.base.target import CpuTarget
from fusee.base.types import Array
from fusee.ir.graph import Op
from fusee.kernels.cpu.contraction import cascade, over_columns
from fusee.kernels.cpu.conv import ConvShape, conv_shape, direct_cost_us
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import (
    SPILL_BYTES,
    Columns,
    Epilogue,
    Spot,
    attach,
    group_problem,
    pixel_steps,
    tensors_of,
)
from fusee.kernels.cpu.padding import SLACK_BYTES, Image, PaddedRows
from fusee.kernels.cpu.space import separate_axes
from fusee.kernels.cpu.ssa import Index, Ssa, vector
from fusee.kernels.cpu.tactics import GUESSED_SIZES
from fusee.kernels.cpu.tile import Split, Taps, accumulate, most_pixels, over_cascade, over_split, zeros
from fusee.kernels.cpu.winograd_transforms import PATCH, PRODUCTS, SIDE, pack_transformed, times_a, times_b
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.fused import Fused
from fusee.ops.linear import Conv

_GAIN = 0.85  # of the direct kernel's estimate: what the transforms must stay below to be worth their rounding
_MIN_CHANNELS = 8
_FORWARD_CLOCKS, _BACK_CLOCKS = 300.0, 180.0  # per tile and vector of channels
_L3_BYTES_PER_CLOCK = 16.0
_CLOCKS_PER_US = 3800.0
_MEMORY_BYTES_PER_CLOCK = 8.0  # of weights read cold, as far as the products do not hide it
_UNIT_CLOCKS = 400.0
_SKEW_BYTES = 64  # between planes, so that they do not share sets of the first-level cache


@dataclass(frozen=True)
class WinogradTactic(Tactic):
    """How the work is cut."""

    tile_rows: int  # rows of output tiles per unit
    tile_columns: int  # tiles of each row per unit
    panels: int  # channel panels per unit
    pixels: int  # of a register tile
    vectors: int


class WinogradConv(Kernel):
    """3x3 with stride 1 through transformed tiles; where it is estimated to beat the direct sum."""

    op: ClassVar[type[Op]] = Conv

    def refuses(self, call: KernelCall) -> str:
        found = conv_shape(call)
        if isinstance(found, str):
            return found
        return _problem(call, found) or group_problem(found.group)

    def tactics(self, call: KernelCall) -> Sequence[WinogradTactic]:
        found = _shape(call)
        return tuple(sorted(_candidates(found, call.target), key=lambda t: _cost_us(found, t, call.target)))[:8]

    def cost_us(self, call: KernelCall, tactic: Tactic) -> float | None:
        assert isinstance(tactic, WinogradTactic)
        return _cost_us(_shape(call), tactic, call.target)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        assert isinstance(tactic, WinogradTactic)
        return _Job.of(call, tactic, symbol).emit()


class FusedWinogradConv(WinogradConv):
    """The same for a convolution with elementwise ops behind it."""

    op: ClassVar[type[Op]] = Fused


def _shape(call: KernelCall) -> ConvShape:
    found = conv_shape(call)
    assert isinstance(found, ConvShape)
    return found


def _problem(call: KernelCall, found: ConvShape) -> str:
    conv, o, c = found.conv, *found.weights.shape[:2]
    if found.kernel != (3, 3) or set(conv.strides + conv.dilations) != {1} or conv.group != 1:
        return "only 3x3 kernels with stride and dilation 1 in one group have minimal filters here"
    if c < _MIN_CHANNELS or found.plane != 1:
        return f"{c} input channels are too few"
    ours = min(_cost_us(found, t, call.target) for t in _candidates(found, call.target))
    theirs = direct_cost_us(call)
    return "" if ours < _GAIN * theirs else f"estimated at {ours:.0f} us for {c} to {o} channels, directly {theirs:.0f}"


def _candidates(found: ConvShape, target: CpuTarget) -> list[WinogradTactic]:
    """Blocks of tiles by blocks of channels, so that a unit's planes stay in the second-level cache."""
    _, h, w, o = _sizes(found)
    vectors = -(-o * 4 // target.vector_bytes)
    v = min(vectors, 3 if vectors % 3 == 0 and vectors % 2 else 2)
    panels, pixels = -(-vectors // v), most_pixels(v, target)
    blocks = sorted({-(-panels // k) for k in (1, 2, 3, 4, 6, 8, 16)})
    return [WinogradTactic(r, c, b, pixels, v) for r, c in _blocks_of_tiles(found, h, w, pixels) for b in blocks]


def _blocks_of_tiles(found: ConvShape, h: int, w: int, pixels: int) -> list[tuple[int, int]]:
    """Rows and columns of tiles per unit: some whole rows, or a part of one row where rows are long or unknown."""
    if not _is_fixed(found):
        return [(1, pixels)]
    down, across = -(-h // SIDE), -(-w // SIDE)
    rows = sorted({-(-down // k) for k in range(1, down + 1)})
    parts = sorted({-(-across // k) for k in range(2, across + 1) if -(-across // k) >= pixels // 2})
    return [(r, across) for r in rows] + [(1, part) for part in parts]


def _is_fixed(found: ConvShape) -> bool:
    """Whether the result's height and width are known."""
    return all(isinstance(d, int) for d in found.group.shape[1:3])


def _sizes(found: ConvShape) -> tuple[int, int, int, int]:
    """The result's sizes, guessed where they are not known."""
    o = found.weights.shape[0]
    n, h, w = (d if isinstance(d, int) else g for d, g in zip(found.group.shape, GUESSED_SIZES, strict=False))
    return n, h, w, o


def _cost_us(found: ConvShape, tactic: WinogradTactic, target: CpuTarget) -> float:
    """Estimated time, on one core, of as many units as the busiest core gets, for all cores."""
    n, h, w, o = _sizes(found)
    lanes, c = target.vector_bytes // 4, found.channels
    across, down = -(-w // SIDE), -(-h // SIDE)
    tiles = tactic.tile_columns * tactic.tile_rows
    split = Split.even(tiles, tactic.pixels)
    vectors = min(tactic.panels * tactic.vectors, -(-o // lanes))
    planes = PRODUCTS * tiles * 4 * (c + vectors * lanes)
    step = max(split.largest / 2, target.vector_bytes / _L3_BYTES_PER_CLOCK, 4.0 / tactic.vectors)
    products = PRODUCTS * c * vectors * split.count * step
    spilled = planes / _L3_BYTES_PER_CLOCK if planes > 0.8 * target.l2_bytes else 0.0
    forward, back = tiles * -(-c // lanes) * _FORWARD_CLOCKS, tiles * vectors * _BACK_CLOCKS
    groups = -(-o // (tactic.panels * tactic.vectors * lanes))
    units = n * groups * -(-down // tactic.tile_rows) * -(-across // tactic.tile_columns)
    busiest = -(-units // target.cores) * target.cores
    cold = PRODUCTS * c * o * 4 / _MEMORY_BYTES_PER_CLOCK
    return (busiest * (products + spilled + forward + back + _UNIT_CLOCKS) + cold) / _CLOCKS_PER_US


@dataclass(frozen=True, eq=False)
class _Job:
    """The emission of one call."""

    e: Emitter
    shape: ConvShape
    tactic: WinogradTactic
    epilogue: Epilogue
    bias: Ssa | None
    constants: list[Array]

    @staticmethod
    def of(call: KernelCall, tactic: WinogradTactic, symbol: str) -> _Job:
        e, shape = Emitter(symbol, call.target), _shape(call)
        rank, (n, h, w, _) = len(shape.group.shape), shape.group.shape
        lanes = e.lanes_for("float")
        constants = [pack_transformed(shape.weights, tactic.vectors * lanes, lanes)]
        bias = shape.bias(e, constants)
        rows = [pixel_steps(t, rank) for t in tensors_of(shape.group)]
        epilogue = attach(e, shape.group, separate_axes((n, h, w), rows).steps, constants)
        return _Job(e, shape, tactic, epilogue, bias, constants)

    @property
    def sizes(self) -> tuple[Dim, Dim, Dim, int]:
        n, h, w, _ = self.shape.group.shape
        return n, h, w, self.shape.weights.shape[0]

    @property
    def across(self) -> Dim:
        """Tiles side by side."""
        return ceildiv(self.sizes[2], SIDE)

    @property
    def down(self) -> Dim:
        return ceildiv(self.sizes[1], SIDE)

    @property
    def tiles(self) -> int:
        """Tiles of a unit."""
        return self.tactic.tile_columns * self.tactic.tile_rows

    @property
    def places(self) -> tuple[Dim, Dim]:
        """Blocks of tiles of an image: down, across."""
        return ceildiv(self.down, self.tactic.tile_rows), ceildiv(self.across, self.tactic.tile_columns)

    @property
    def width(self) -> int:
        """Channels of a panel."""
        return self.tactic.vectors * self.e.lanes_for("float")

    @property
    def input_channels(self) -> int:
        lanes = self.e.lanes_for("float")
        return -(-self.shape.channels // lanes) * lanes

    @property
    def input_plane_bytes(self) -> int:
        """From one of the 36 planes of transformed input to the next."""
        return self.tiles * self.input_channels * 4 + _SKEW_BYTES

    @property
    def output_row_bytes(self) -> int:
        return self.width * self.tactic.panels * 4

    @property
    def output_plane_bytes(self) -> int:
        return self.tiles * self.output_row_bytes + _SKEW_BYTES

    def emit(self) -> Code:
        e, (n, _, _, o) = self.e, self.sizes
        groups = -(-o // (self.width * self.tactic.panels))
        e.loop(e.lo, e.hi, 1, lambda unit: self._unit(unit, groups))
        rows = self._rows(e.scratch)
        assert isinstance(rows.row_bytes, int)
        padded = rows.row_bytes * (self.tactic.tile_rows * SIDE + 2) + SLACK_BYTES
        scratch = SPILL_BYTES + PRODUCTS * (64 + self.input_plane_bytes + self.output_plane_bytes) + padded
        launch = e.launch(n * groups * self.places[0] * self.places[1], scratch)
        return Code(e.text(), (launch,), frozenset(e.declarations), tuple(self.constants))

    def _rows(self, buffer: Ssa) -> PaddedRows:
        shape = self.shape
        image = Image(self.e.operand(shape.source), *shape.image, shape.channels, shape.strides)
        top, left, *_ = shape.conv.pads
        return PaddedRows(image, buffer, self.tactic.tile_columns * SIDE + 2, top, left)

    def _unit(self, unit: Index, groups: int) -> None:
        """Channel blocks run slowest, so that neighbouring units share weights."""
        e, o = self.e, self.sizes[3]
        group, block = self._place(unit)
        first = e.mul(group, self.width * self.tactic.panels) if groups > 1 else 0
        last = e.min(e.add(first, self.width * self.tactic.panels), o)
        spare = e.offset(e.scratch, SPILL_BYTES)
        inputs = e.offset(spare, PRODUCTS * 64)
        outputs = e.offset(inputs, PRODUCTS * self.input_plane_bytes)
        rows = self._rows(e.offset(outputs, PRODUCTS * self.output_plane_bytes))
        count = e.add(e.mul(block.rows, SIDE), 2)
        rows.copy(e, block.n, e.mul(block.top, SIDE), count, e.mul(block.left, SIDE))
        _Forward(self, rows, inputs, spare).emit(block)
        _Products(self, inputs, outputs).emit(block, first, last)
        _Back(self, outputs, spare, block, first, last).emit()

    def _place(self, unit: Index) -> tuple[Index, _Block]:
        """The channel block and the block of tiles of a unit."""
        e = self.e
        down, across = (e.dim(count) for count in self.places)
        images = e.mul(e.dim(self.sizes[0]), e.mul(down, across))
        group, place = e.div(unit, images), e.rem(unit, images)
        n, block = e.div(place, e.mul(down, across)), e.rem(place, e.mul(down, across))
        top = e.mul(e.div(block, across), self.tactic.tile_rows)
        left = e.mul(e.rem(block, across), self.tactic.tile_columns)
        rows = e.min(self.tactic.tile_rows, e.sub(e.dim(self.down), top))
        columns = e.min(self.tactic.tile_columns, e.sub(e.dim(self.across), left))
        return group, _Block(n, top, left, rows, columns)


@dataclass(frozen=True)
class _Block:
    """A block of tiles: of image n, ``rows`` by ``columns`` from (top, left), all counted in tiles."""

    n: Index
    top: Index
    left: Index
    rows: Index
    columns: Index


@dataclass(frozen=True, eq=False)
class _Forward:
    """Stage one: patches of 6x6 pixels into 36 planes [tile, channel]."""

    job: _Job
    rows: PaddedRows
    planes: Ssa
    spare: Ssa

    def emit(self, block: _Block) -> None:
        e, job = self.e, self.job
        pixel = self.job.shape.channels * 4

        def tile(y: Index, x: Index) -> None:
            patch = e.offset(self.rows.buffer, e.mul(e.mul(y, SIDE), e.dim(self.rows.row_bytes)))
            patch = e.offset(patch, e.mul(x, SIDE * pixel))
            to = e.offset(self.planes, e.mul(e.add(e.mul(y, job.tactic.tile_columns), x), job.input_channels * 4))
            lanes = e.lanes_for("float")
            e.loop(0, job.shape.channels, lanes, lambda c: self._patch(e.at(patch, "float", c), e.at(to, "float", c)))

        def row(y: Index) -> None:
            e.loop(0, block.columns, 1, lambda x: tile(y, x))

        e.loop(0, block.rows, 1, row)

    @property
    def e(self) -> Emitter:
        return self.job.e

    def _patch(self, source: Ssa, to: Ssa) -> None:
        e, width = self.e, self.e.target.vector_bytes
        type, row_bytes, pixel = vector("float", e.lanes_for("float")), self.rows.row_bytes, self.job.shape.channels * 4
        assert isinstance(row_bytes, int)
        for j in range(PATCH):
            column = [e.load(type, e.offset(source, i * row_bytes + j * pixel)) for i in range(PATCH)]
            for i, value in enumerate(times_b(e, column)):
                e.store(value, e.offset(self.spare, (i * PATCH + j) * width), width)
        for i in range(PATCH):
            line = [e.load(type, e.offset(self.spare, (i * PATCH + j) * width), width) for j in range(PATCH)]
            for j, value in enumerate(times_b(e, line)):
                e.store(value, e.offset(to, (i * PATCH + j) * self.job.input_plane_bytes), width)


@dataclass(frozen=True, eq=False)
class _Products:
    """Stage two: in each plane, tiles by channels times the transformed weights."""

    job: _Job
    inputs: Ssa
    outputs: Ssa

    def emit(self, block: _Block, first: Index, last: Index) -> None:
        e, job = self.job.e, self.job
        lanes, o = e.lanes_for("float"), job.sizes[3]
        plane_weights = job.shape.channels * -(-o // lanes) * lanes * 4

        def plane(xi: Index) -> None:
            a = e.offset(self.inputs, e.mul(xi, job.input_plane_bytes))
            b = e.offset(e.constant(0), e.mul(xi, plane_weights))
            c = e.offset(self.outputs, e.mul(xi, job.output_plane_bytes))

            def panel(columns: Columns) -> None:
                weights = e.offset(b, e.mul(columns.first, job.shape.channels * 4))
                to = e.at(c, "float", e.sub(columns.first, first))
                self._over_tiles(block, lambda t, count: self._tile(a, weights, to, columns.vectors, t, count))

            over_columns(e, o, job.tactic.vectors, (first, last), panel)

        e.loop(0, PRODUCTS, 1, plane)

    def _over_tiles(self, block: _Block, visit: Callable[[Index, int], None]) -> None:
        """All tiles of a unit as evenly as can be; rows of unknown length as they come."""
        e, job, tactic = self.job.e, self.job, self.job.tactic
        if not isinstance(job.down, int) or not isinstance(job.across, int):
            over_cascade(e, cascade(tactic.pixels), 0, block.columns, visit)
            return
        whole = Split.even(job.tiles, tactic.pixels)
        if job.down % tactic.tile_rows == 0:
            over_split(e, whole, 0, whole.extent, visit)
            return
        short = Split.even(tactic.tile_columns * (job.down % tactic.tile_rows), tactic.pixels)
        e.branch(
            e.icmp("eq", e.i64(block.rows), e.i64(tactic.tile_rows)),
            lambda: over_split(e, whole, 0, whole.extent, visit),
            lambda: over_split(e, short, 0, short.extent, visit),
        )

    def _tile(self, a: Ssa, weights: Ssa, c: Ssa, vectors: int, first: Index, count: int) -> None:
        e, job, width = self.job.e, self.job, self.job.e.target.vector_bytes
        row_bytes = job.input_channels * 4
        base = e.offset(a, e.mul(first, row_bytes))
        pixels = [(base, i * row_bytes) for i in range(count)]
        taps = Taps(1, 0, 1, 0, job.shape.channels)
        sums = accumulate(e, taps, pixels, (weights, vectors * width), zeros(e, count * vectors), vectors)
        to = e.offset(c, e.mul(first, job.output_row_bytes))
        for k, value in enumerate(sums):
            p, j = divmod(k, vectors)
            e.store(value, e.offset(to, p * job.output_row_bytes + j * width), width)


@dataclass(frozen=True, eq=False)
class _Back:
    """Stage three: 36 products per tile and channel into 16 outputs, bias and epilogue, store."""

    job: _Job
    planes: Ssa
    spare: Ssa
    block: _Block
    first: Index
    last: Index

    def emit(self) -> None:
        e = self.job.e

        def row(y: Index) -> None:
            e.loop(0, self.block.columns, 1, lambda x: self._tile(y, x))

        e.loop(0, self.block.rows, 1, row)

    def _tile(self, y: Index, x: Index) -> None:
        """One tile; the part of it that lies within the result."""
        e, job, (_, h, w, o) = self.job.e, self.job, self.job.sizes
        tile = e.add(e.mul(y, job.tactic.tile_columns), x)
        at = e.offset(self.planes, e.mul(tile, job.output_row_bytes))
        top, left = (e.mul(e.add(a, b), SIDE) for a, b in ((self.block.top, y), (self.block.left, x)))
        spot = Spot(self.block.n, top, left, SIDE, SIDE)
        ends = (self.first, self.last)

        def part(extent: tuple[Index, Index] | None) -> None:
            over_columns(e, o, 1, ends, lambda c: self._finish(at, spot, c, extent))

        if h % SIDE == 0 and w % SIDE == 0:
            part(None)
            return
        height, width = (e.min(SIDE, e.sub(e.dim(size), a)) for size, a in ((h, top), (w, left)))
        whole = e.icmp("eq", e.i64(e.add(height, width)), e.i64(2 * SIDE))
        e.branch(whole, lambda: part(None), lambda: part((height, width)))

    def _finish(self, at: Ssa, spot: Spot, columns: Columns, extent: tuple[Index, Index] | None) -> None:
        e, job, width = self.job.e, self.job, self.job.e.target.vector_bytes
        type = vector("float", e.lanes_for("float"))
        source = e.at(at, "float", e.sub(columns.first, self.first))
        for j in range(PATCH):
            plane = [e.offset(source, (i * PATCH + j) * job.output_plane_bytes) for i in range(PATCH)]
            for i, value in enumerate(times_a(e, [e.load(type, p, width) for p in plane])):
                e.store(value, e.offset(self.spare, (i * PATCH + j) * width), width)
        found: list[Ssa] = []
        for i in range(spot.height):
            line = [e.load(type, e.offset(self.spare, (i * PATCH + j) * width), width) for j in range(PATCH)]
            found += times_a(e, line)[: spot.width]
        if job.bias is not None:
            bias = e.load(type, e.at(job.bias, "float", columns.first), width)
            found = [e.fadd(value, bias) for value in found]
        if extent is None:
            job.epilogue.emit(e, spot, columns, found)
        else:
            job.epilogue.emit_part(e, spot, columns, found, extent)
