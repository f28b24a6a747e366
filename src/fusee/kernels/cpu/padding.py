"""Copies of input rows in scratch with a border around them, so that windows never meet the edge of the image."""

from __future__ import annotations

from dataclasses import dataclass

from fusee.base.dims import Dim
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.ssa import Index, Ssa, literal, vector

SLACK_BYTES = 512  # rows are written in whole vectors, so the last one may end behind its place
MOST_PLANES = 4  # channels that are interleaved while they are copied


@dataclass(frozen=True, eq=False)
class Image:
    """An f32 image batch in memory; strides in elements. Its channels lie side by side, or are planes of their own."""

    start: Ssa
    height: Dim
    width: Dim
    channels: int
    strides: tuple[Dim, Dim, int]  # n, h, w
    plane: Dim = 1  # from a channel to the next

    @property
    def rows_touch(self) -> bool:
        """Whether the pixels of a row lie side by side."""
        return self.strides[2] == self.channels and self.plane == 1


@dataclass(frozen=True, eq=False)
class PaddedRows:
    """A buffer of ``width`` padded pixels a row; pixel (y, x) of the image stands at (y + top, x + left)."""

    image: Image
    buffer: Ssa
    width: Dim
    top: int
    left: int
    fill: float = 0.0

    @property
    def row_bytes(self) -> Dim:
        return self.width * (self.image.channels * 4)

    def copy(self, e: Emitter, n: Index, first: Index, rows: Index, skip: Index) -> None:
        """Fill ``rows`` rows of the buffer, the first being padded row ``first``, from padded column ``skip`` on."""
        start = e.offset(self.image.start, e.mul(e.mul(n, e.dim(self.image.strides[0])), 4))
        height, down = e.dim(self.image.height), e.dim(self.image.strides[1])

        def row(r: Index) -> None:
            target = e.offset(self.buffer, e.mul(r, e.dim(self.row_bytes)))
            y = e.sub(e.add(first, r), self.top)
            inside = e.icmp("ult", e.i64(y), e.i64(height))
            line = e.offset(start, e.mul(e.mul(y, down), 4))
            e.branch(inside, lambda: self._line(e, target, line, skip), lambda: self._outside(e, target))

        e.loop(0, rows, 1, row)

    def _outside(self, e: Emitter, target: Ssa) -> None:
        self._border(e, target, 0, e.dim(self.width))

    def _line(self, e: Emitter, target: Ssa, line: Ssa, skip: Index) -> None:
        """One row: border, pixels, border; in this order, because each may write a little too far."""
        width = e.dim(self.width)
        before = e.min(e.max(e.sub(self.left, skip), 0), width)
        x = e.max(e.sub(skip, self.left), 0)
        count = e.max(e.min(e.sub(e.dim(self.image.width), x), e.sub(width, before)), 0)
        self._border(e, target, 0, before)
        pixel_bytes = self.image.channels * 4
        source = e.offset(line, e.mul(x, self.image.strides[2] * 4))
        inner = e.offset(target, e.mul(before, pixel_bytes))
        if self.image.rows_touch:
            copy_floats(e, inner, source, e.mul(count, self.image.channels))
        elif self.image.plane != 1:
            interleave(e, inner, source, (self.image.channels, e.dim(self.image.plane)), count)
        else:
            e.loop(0, count, 1, lambda p: self._pixel(e, inner, source, p))
        self._border(e, target, e.add(before, count), width)

    def _pixel(self, e: Emitter, target: Ssa, source: Ssa, p: Index) -> None:
        to = e.offset(target, e.mul(p, self.image.channels * 4))
        copy_floats(e, to, e.offset(source, e.mul(p, self.image.strides[2] * 4)), self.image.channels)

    def _border(self, e: Emitter, target: Ssa, first: Index, last: Index) -> None:
        """Fill padded pixels [first, last) of a row."""
        lanes, pixel = e.lanes_for("float"), self.image.channels
        value = literal(vector("float", lanes), self.fill)
        lo, hi = e.mul(first, pixel), e.mul(last, pixel)
        if isinstance(lo, int) and isinstance(hi, int) and lo >= hi:
            return
        e.loop(lo, hi, lanes, lambda i: e.store(value, e.at(target, "float", i), 4))


def interleave(e: Emitter, target: Ssa, source: Ssa, planes: tuple[int, Index], count: Index) -> None:
    """Copy ``count`` pixels from so many planes, so many elements apart, to where their channels lie side by side."""
    lanes, (channels, plane) = e.lanes_for("float"), planes
    type = vector("float", lanes)

    def block(x: Index, mask: Ssa) -> None:
        rows = [e.at(source, "float", e.add(e.mul(plane, c), x)) for c in range(channels)]
        loaded = [e.load_masked(type, row, mask) for row in rows]
        to = e.at(target, "float", e.mul(x, channels))
        for k in range(channels):
            e.store(_woven(e, loaded, k * lanes), e.offset(to, k * lanes * 4), 4)

    whole = e.mul(e.div(count, lanes), lanes)
    e.loop(0, whole, lanes, lambda x: block(x, literal(vector("i1", lanes), 1)))
    e.branch(e.less(whole, count), lambda: block(whole, e.first_lanes(e.sub(count, whole), lanes)))


def _woven(e: Emitter, planes: list[Ssa], first: int) -> Ssa:
    """One vector of interleaved channels, from flat position ``first`` on."""
    lanes, channels = planes[0].lanes, len(planes)
    places = [divmod(first + lane, channels) for lane in range(lanes)]
    found = e.shuffle(planes[0], planes[0], [x for x, _ in places])
    for c in range(1, channels):
        picks = [lanes + x if channel == c else lane for lane, (x, channel) in enumerate(places)]
        found = e.shuffle(found, planes[c], picks)
    return found


def copy_floats(e: Emitter, target: Ssa, source: Ssa, count: Index) -> None:
    """Copy floats in whole vectors: exactly ``count`` are read, up to a vector more are written."""
    lanes = e.lanes_for("float")
    type = vector("float", lanes)
    whole = e.mul(e.div(count, lanes), lanes)

    def step(i: Index) -> None:
        e.store(e.load(type, e.at(source, "float", i)), e.at(target, "float", i), 4)

    def rest() -> None:
        mask = e.first_lanes(e.sub(count, whole), lanes)
        e.store(e.load_masked(type, e.at(source, "float", whole), mask), e.at(target, "float", whole), 4)

    if not (isinstance(whole, int) and whole == 0):
        e.loop(0, whole, lanes, step)
    if not (isinstance(count, int) and count == whole):
        rest()
