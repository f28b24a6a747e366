"""How the axes of two shapes with the same elements correspond.

A reshape falls into blocks: runs of axes before and after with the same product, such as (H, W) -> H*W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusee.base.dims import Dim, floordiv

Shape = Sequence[Dim]


@dataclass(frozen=True)
class Block:
    """Axes before a Reshape, and the axes after it that hold the same elements. Axes of size 1 before are in none."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def blocks(before: Shape, after: Shape) -> list[Block] | None:
    """The finest blocks of a Reshape, in order; None when sizes that are names hide them.

    An axis of size 1 after belongs to the block of the axis before it.
    """
    sources = [i for i, d in enumerate(before) if d != 1]
    targets = [i for i, d in enumerate(after) if d != 1]
    found: list[Block] = []
    while sources and targets:
        block = _next_block(before, after, sources, targets)
        if block is None:
            return None
        found.append(block)
    return None if sources or targets else _with_ones(found, after)


def _next_block(before: Shape, after: Shape, sources: list[int], targets: list[int]) -> Block | None:
    """Take the next block off the two lists of axes."""
    taken = [sources.pop(0)], [targets.pop(0)]
    left, right = before[taken[0][0]], after[taken[1][0]]
    while left != right:
        if _smaller(left, right) and sources:
            taken[0].append(sources.pop(0))
            left = left * before[taken[0][-1]]
        elif _smaller(right, left) and targets:
            taken[1].append(targets.pop(0))
            right = right * after[taken[1][-1]]
        else:
            return None
    return Block(tuple(taken[0]), tuple(taken[1]))


def _smaller(a: Dim, b: Dim) -> bool:
    """Whether a is less than b, or certainly a divisor of it."""
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    return floordiv(b, a) * a == b


def _with_ones(found: list[Block], after: Shape) -> list[Block]:
    """The blocks, each axis of size 1 in that of the axis before it, or in the first."""
    if not found:
        return [Block((), tuple(range(len(after))))]
    starts = [0, *[b.after[0] for b in found[1:]], len(after)]
    return [Block(b.before, tuple(range(starts[i], starts[i + 1]))) for i, b in enumerate(found)]


def reshaped_strides(before: Shape, strides: Sequence[Dim], after: Shape) -> tuple[Dim, ...] | None:
    """The strides under which a tensor with gaps is seen in another shape; None when only a copy has that shape."""
    found = blocks(before, after)
    if found is None:
        return None
    seen: dict[int, Dim] = {}
    for block in found:
        if any(strides[a] != strides[b] * before[b] for a, b in zip(block.before, block.before[1:], strict=False)):
            return None
        step: Dim = strides[block.before[-1]] if block.before else 1
        for axis in reversed(block.after):
            seen[axis] = step
            step = step * after[axis]
    return tuple(seen[axis] for axis in range(len(after)))
