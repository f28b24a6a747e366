"""The weights section: constants one after the other, each at a multiple of 64 bytes, equal ones stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from fusee.base.types import Array
from fusee.engine.abi import PADDING_BYTES, align
from fusee.engine.plan import Weight


@dataclass(frozen=True, eq=False)
class Weights:
    """Every constant of an engine. ``table`` says where each lies in ``data`` (bytes); plans refer to it by index."""

    table: tuple[Weight, ...] = ()
    data: Array = field(default_factory=lambda: np.zeros(0, np.uint8))


def pack_weights(arrays: Iterable[Array]) -> Weights:
    """Lay out arrays, in order; equal bytes share their place."""
    table: list[Weight] = []
    pieces: dict[str, tuple[int, Array]] = {}
    end = 0
    for array in arrays:
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        digest = hashlib.sha256(raw.data).hexdigest()
        if digest not in pieces:
            pieces[digest] = (end, raw)
            end = align(end + raw.size)
        table.append(Weight(pieces[digest][0], raw.size, digest))
    data = np.zeros(end + PADDING_BYTES if end else 0, np.uint8)
    for start, raw in pieces.values():
        data[start : start + raw.size] = raw
    return Weights(tuple(table), data)
