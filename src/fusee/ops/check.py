"""What type rules and references of several ops ask of their operands."""

from __future__ import annotations

from collections.abc import Sequence

from fusee.base.dims import Dim, equal, evaluate
from fusee.base.errors import ShapeError
from fusee.base.types import TensorType


def numbers(dims: Sequence[Dim]) -> tuple[int, ...]:
    """Dims as numbers, for references. Raises InternalError when a name in them has no value."""
    return tuple(evaluate(d, {}) for d in dims)


def need_axis(axis: int, rank: int, what: str = "axis") -> None:
    """Raise ShapeError when an axis is not one of a tensor of that rank (axes count from 0, never from the end)."""
    if not 0 <= axis < rank:
        raise ShapeError(f"{what} {axis} is not one of the {rank} axes")


def need_rank(found: TensorType, rank: int, what: str) -> None:
    """Raise ShapeError when a tensor has not that many axes."""
    if found.rank != rank:
        raise ShapeError(f"{what} is {found}; it must have rank {rank}")


def need_equal(a: Dim, b: Dim, what: str) -> None:
    """Raise ShapeError when two sizes certainly differ."""
    if equal(a, b) == 0:
        raise ShapeError(f"{what}: {a} is not {b}")


def need_same_dtype(operands: Sequence[TensorType], what: str) -> None:
    """Raise ShapeError when element types differ."""
    if len({t.dtype for t in operands}) > 1:
        raise ShapeError(f"{what} have different element types: {', '.join(map(str, operands))}")
