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
    pieces: dict[str, tuple[int, bytes]] = {}
    end = 0
    for array in arrays:
        raw = np.ascontiguousarray(array).tobytes()
        digest = hashlib.sha256(raw).hexdigest()
        if digest not in pieces:
            pieces[digest] = (end, raw)
            end = align(end + len(raw))
        table.append(Weight(pieces[digest][0], len(raw), digest))
    data = np.zeros(end + PADDING_BYTES if end else 0, np.uint8)
    for start, raw in pieces.values():
        data[start : start + len(raw)] = np.frombuffer(raw, np.uint8)
    return Weights(tuple(table), data)
