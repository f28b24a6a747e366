"""Coordinates of a dense kernel's results: (n, h, w) of a pixel and its channels, and how tensors lie over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusee.base.dims import Dim, product
from fusee.base.errors import InternalError
from fusee.base.types import Shape
from fusee.kernels.kernel import Operand

AXES = 3  # a pixel's coordinates: n, h, w


def strides_of(operand: Operand) -> tuple[Dim, ...]:
    """Distances in elements between neighbours along each axis of a tensor."""
    if operand.strides is not None:
        return operand.strides
    shape = operand.type.shape
    return tuple(product(shape[axis + 1 :]) for axis in range(len(shape)))


def broadcast_steps(shape: Shape, strides: Sequence[Dim], rank: int) -> tuple[Dim, ...]:
    """Distances along each axis of a result of that rank; 0 along axes where the tensor broadcasts."""
    steps = tuple(0 if size == 1 else step for size, step in zip(shape, strides, strict=True))
    return (0,) * (rank - len(steps)) + steps


@dataclass(frozen=True)
class Space:
    """The pixels of a result: how many along (n, h, w), and each tensor's steps along them, in elements."""

    sizes: tuple[Dim, Dim, Dim]
    steps: tuple[tuple[Dim, Dim, Dim], ...]

    @property
    def pixels(self) -> Dim:
        return product(self.sizes)


def merge_axes(sizes: Sequence[Dim], steps: Sequence[Sequence[Dim]]) -> Space | None:
    """Join axes that every tensor crosses evenly, so that rows are long; None when more than three remain.

    ``steps`` holds one row per tensor, one distance per axis.
    """
    kept: list[tuple[Dim, tuple[Dim, ...]]] = []
    for axis in range(len(sizes) - 1, -1, -1):
        outer = tuple(row[axis] for row in steps)
        if sizes[axis] == 1:
            continue
        if kept and all(o == i * kept[-1][0] for o, i in zip(outer, kept[-1][1], strict=True)):
            kept[-1] = (kept[-1][0] * sizes[axis], kept[-1][1])
        else:
            kept.append((sizes[axis], outer))
    if len(kept) > AXES:
        return None
    kept += [(1, (0,) * len(steps))] * (AXES - len(kept))
    return _space([size for size, _ in reversed(kept)], [row for _, row in reversed(kept)])


def separate_axes(sizes: Sequence[Dim], steps: Sequence[Sequence[Dim]]) -> Space:
    """The axes as they are, for a kernel that walks each by itself."""
    if len(sizes) != AXES:
        raise InternalError(f"expected the {AXES} axes of a pixel, got sizes {list(sizes)}")
    return _space(sizes, list(zip(*steps, strict=True)))


def _space(sizes: Sequence[Dim], by_axis: Sequence[Sequence[Dim]]) -> Space:
    n, h, w = sizes
    rows = zip(*by_axis, strict=True)
    return Space((n, h, w), tuple((a, b, c) for a, b, c in rows))
