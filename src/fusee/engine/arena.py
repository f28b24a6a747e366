"""Where buffers lie in an arena: buffers alive at the same time never overlap, others share memory."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from fusee.engine.abi import ALIGNMENT_BYTES, PADDING_BYTES, align


@dataclass(frozen=True)
class Lifetime:
    """A buffer to place: ``size_bytes`` from step ``first`` to step ``last``, both included."""

    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Placement:
    """Each buffer's offset, a multiple of 64 bytes, and the bytes the arena needs, read padding included."""

    offsets: tuple[int, ...]
    arena_bytes: int


def place(buffers: Sequence[Lifetime]) -> Placement:
    """Put the largest buffer first, each at the lowest offset where nothing alive at the same time lies.

    Deterministic: equal sizes go in the order given.
    """
    offsets = [0] * len(buffers)
    placed: list[tuple[int, int, Lifetime]] = []  # (offset, end, buffer), sorted by offset
    for i in sorted(range(len(buffers)), key=lambda i: (-buffers[i].size_bytes, i)):
        size_bytes = align(max(buffers[i].size_bytes, 1), ALIGNMENT_BYTES)
        offsets[i] = _lowest_gap(buffers[i], size_bytes, placed)
        insort(placed, (offsets[i], offsets[i] + size_bytes, buffers[i]), key=lambda p: p[:2])
    return Placement(tuple(offsets), max((end for _, end, _ in placed), default=0) + PADDING_BYTES)


def _lowest_gap(buffer: Lifetime, size_bytes: int, placed: Sequence[tuple[int, int, Lifetime]]) -> int:
    offset = 0
    for start, end, other in placed:
        if other.last < buffer.first or buffer.last < other.first:
            continue
        if offset + size_bytes <= start:
            return offset
        offset = max(offset, end)
    return offset
