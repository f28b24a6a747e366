"""What the engines tell of a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

SIDE = 320  # pixels: the networks see the whole photograph, resized to SIDE x SIDE
GRID = 40  # patches along each side
PATCHES = GRID * GRID
PATCH_FEATURES = 64
EMBEDDING = 128

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class EngineIdentity(NamedTuple):
    """Which engine answers. Reports name both digests."""

    model_digest: str  # SHA-256 of the ONNX file, in hex: features of one network compare, on any machine
    engine_digest: str  # SHA-256 of the engine built from it here: the same bits come out of the same engine


class Features(NamedTuple):
    """Of one photograph, from the photo engine."""

    patches: Floats  # [PATCHES, PATCH_FEATURES], each of length 1, row by row
    embedding: Floats  # [EMBEDDING], of length 1
    view: Floats  # [6] probabilities in the order of VIEWS
    view_map: Floats  # [GRID, GRID]: where the likeliest view was seen (class activation map)


class Comparison(NamedTuple):
    """Of one photograph with a bank of genuine patches, from the compare engine."""

    distance_map: Floats  # [SIDE, SIDE]: how unlike the nearest genuine patch, smoothed
    score: float  # one-class distance of the photograph: the map's smooth maximum
    nearest: NDArray[np.int64]  # [PATCHES]: row of the bank


class Lens(Protocol):
    """Asks the photo engine, in this process or on a server. Photographs of different cases run together there."""

    @property
    def identity(self) -> EngineIdentity: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def look(self, photos: Sequence[Pixels]) -> list[Features]:
        """Each u8[SIDE, SIDE, 3], RGB. The same photograph gives the same bits whatever it runs with.

        Raises Refusal UNAVAILABLE or OVERLOADED.
        """
        ...
