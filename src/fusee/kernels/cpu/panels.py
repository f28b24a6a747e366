"""Columns of a matrix as panels [K, width], which register tiles read as one stream: packed at build, or in scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusee.base.dims import Dim
from fusee.base.types import Array
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.ssa import Index, Ssa, literal, vector

SLACK_BYTES = 4096  # the last block of rows of a transposed panel is written whole


def pack_columns(matrix: Array, width: int) -> Array:
    """[K, N] -> [N / width, K, width], zeros behind the last column."""
    k, n = matrix.shape
    panels = -(-n // width)
    padded = np.zeros((k, panels * width), np.float32)
    padded[:, :n] = matrix
    return np.ascontiguousarray(padded.reshape(k, panels, width).transpose(1, 0, 2))


def pack_panels(matrix: Array, width: int, lanes: int) -> Array:
    """[K, N] as a stream of panels ``[K, width]``; the last one only as many vectors wide as it needs."""
    n = matrix.shape[1]
    whole = n // width * width
    last = -(-(n - whole) // lanes) * lanes
    parts = [pack_columns(matrix[:, :whole], width).ravel()] if whole else []
    if last:
        parts.append(pack_columns(matrix[:, whole:], last).ravel())
    return np.concatenate(parts)


def pad_vector(values: Array, lanes: int) -> Array:
    """A per-channel vector with zeros up to a whole number of vectors."""
    return np.pad(values.astype(np.float32, copy=False), (0, -values.size % lanes))


@dataclass(frozen=True, eq=False)
class PackedWeights:
    """Weights packed at build time by ``pack_panels``."""

    start: Ssa
    column_bytes: int  # of one column's reduction

    def panel(self, e: Emitter, column: Index) -> Ssa:
        return e.offset(self.start, e.mul(column, self.column_bytes))

    def step_bytes(self, e: Emitter, vectors: int) -> int:
        return vectors * e.target.vector_bytes


@dataclass(frozen=True, eq=False)
class Matrix:
    """An f32 matrix [K, N] in memory, with one of its axes contiguous; strides in elements."""

    start: Ssa
    length: Dim  # K
    columns: Dim  # N
    down: Dim  # from k to k + 1
    right: Dim  # from n to n + 1


@dataclass(frozen=True, eq=False)
class ScratchPanels:
    """Panels of the columns from ``first`` on, packed into ``buffer``; what is behind the last column is not used."""

    matrix: Matrix
    buffer: Ssa
    width: int
    first: Index

    def panel(self, e: Emitter, column: Index) -> Ssa:
        """The address of the panel that begins with that column."""
        return e.offset(self.buffer, e.mul(e.sub(column, self.first), e.dim(self.matrix.length * 4)))

    def step_bytes(self, e: Emitter, vectors: int) -> int:
        return self.width * 4

    def pack(self, e: Emitter, last: Index) -> None:
        """Fill the panels of [first, last)."""
        fill = self._rows if self.matrix.right == 1 else self._transposed
        e.loop(self.first, last, self.width, lambda column: fill(e, column, self.panel(e, column)))

    def _rows(self, e: Emitter, column: Index, target: Ssa) -> None:
        """Columns that lie side by side: copy row by row."""
        matrix, lanes = self.matrix, e.lanes_for("float")
        left = e.sub(e.dim(matrix.columns), column)
        vectors = range(self.width // lanes)
        type = vector("float", lanes)
        masks = [e.first_lanes(e.max(e.sub(left, j * lanes), 0), lanes) for j in vectors]
        source = e.at(matrix.start, "float", column)

        def row(k: Index) -> None:
            line = e.at(source, "float", e.mul(k, e.dim(matrix.down)))
            to = e.offset(target, e.mul(k, self.width * 4))
            for j, mask in enumerate(masks):
                value = e.load_masked(type, e.offset(line, j * lanes * 4), mask)
                e.store(value, e.offset(to, j * lanes * 4), lanes * 4)

        e.loop(0, e.dim(matrix.length), 1, row)

    def _transposed(self, e: Emitter, column: Index, target: Ssa) -> None:
        """Rows that lie side by side: transpose square blocks in registers."""
        lanes = e.lanes_for("float")
        for j in range(self.width // lanes):
            self._strip(e, e.add(column, j * lanes), e.offset(target, j * lanes * 4))

    def _strip(self, e: Emitter, column: Index, target: Ssa) -> None:
        """One vector's width of columns, all K."""
        matrix, lanes = self.matrix, e.lanes_for("float")
        length, last = e.dim(matrix.length), e.sub(e.dim(matrix.columns), 1)
        lines = [
            e.at(matrix.start, "float", e.mul(e.min(e.add(column, i), last), e.dim(matrix.right))) for i in range(lanes)
        ]
        whole = e.mul(e.div(length, lanes), lanes)
        type = vector("float", lanes)

        def block(k: Index, mask: Ssa) -> None:
            rows = [e.load_masked(type, e.at(line, "float", k), mask) for line in lines]
            to = e.offset(target, e.mul(k, self.width * 4))
            for i, row in enumerate(transpose(e, rows)):
                e.store(row, e.offset(to, i * self.width * 4), lanes * 4)

        everything = literal(vector("i1", lanes), 1)
        e.loop(0, whole, lanes, lambda k: block(k, everything))
        if not (isinstance(length, int) and length == whole):
            mask = e.first_lanes(e.sub(length, whole), lanes)
            e.branch(e.less(whole, length), lambda: block(whole, mask))


def panel_bytes(matrix_length: Dim, width: int, panels: Dim) -> Dim:
    """Scratch for that many panels."""
    return matrix_length * (width * 4) * panels + SLACK_BYTES


def transpose(e: Emitter, rows: Sequence[Ssa]) -> list[Ssa]:
    """A square block held in registers, transposed: swap ever smaller off-diagonal quarters."""
    lanes, block = len(rows), list(rows)
    distance = lanes // 2
    while distance:
        low = [i if not i & distance else lanes + (i ^ distance) for i in range(lanes)]
        high = [i ^ distance if not i & distance else lanes + i for i in range(lanes)]
        for i in range(lanes):
            if not i & distance:
                a, b = block[i], block[i + distance]
                block[i], block[i + distance] = e.shuffle(a, b, low), e.shuffle(a, b, high)
        distance //= 2
    return block
