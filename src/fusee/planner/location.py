"""Where values live while the plan is drawn: storages, and views of them with strides."""

from __future__ import annotations

from dataclasses import dataclass

from fusee.base.dims import Dim, product
from fusee.base.types import Array, Shape
from fusee.engine.plan import Space


@dataclass(eq=False)
class Storage:
    """A piece of memory. ``taken_by`` is set when another storage moves into this one's place (in-place results)."""

    space: Space
    size_bytes: Dim
    index: int = -1  # input or output number
    array: Array | None = None  # the constant it holds
    merged_into: Storage | None = None

    def root(self) -> Storage:
        """The storage whose memory this one really is."""
        return self.merged_into.root() if self.merged_into else self


@dataclass(frozen=True)
class Location:
    """A tensor in a storage: its offset, and its strides in elements (None: row-major)."""

    storage: Storage
    offset_bytes: Dim = 0
    strides: tuple[Dim, ...] | None = None


def row_major(shape: Shape) -> tuple[Dim, ...]:
    """The strides of a tensor without gaps, in elements."""
    return tuple(product(shape[axis + 1 :]) for axis in range(len(shape)))


def window(inside: Location, outer: Shape, starts: tuple[Dim, ...], shape: Shape, itemsize_bytes: int) -> Location:
    """The location of the box at ``starts`` with ``shape`` in a tensor of shape ``outer``."""
    strides = inside.strides or row_major(outer)
    offset: Dim = 0
    for start, stride in zip(starts, strides, strict=True):
        offset = offset + start * stride
    where = inside.offset_bytes + offset * itemsize_bytes
    return Location(inside.storage, where, None if is_row_major(strides, shape) else strides)


def is_row_major(strides: tuple[Dim, ...], shape: Shape) -> bool:
    """Whether the strides leave no gaps; those of dimensions of size 1 do not matter."""
    return all(s == r or d == 1 for s, r, d in zip(strides, row_major(shape), shape, strict=True))
