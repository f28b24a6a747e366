"""Evidence as it is kept: content by its hash."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HeatMap:
    """A map over a photograph as it is stored: a grey PNG of SIDE x SIDE pixels, 0 at ``low`` and 255 at ``high``."""

    png: bytes
    sha256: str
    low: float
    high: float
