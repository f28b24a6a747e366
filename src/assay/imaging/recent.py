"""Photographs read lately: the judging in the same process need not decode them a second time."""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

from assay.imaging.uploads import Upload
from assay.vision.lens import Pixels

MOST = 192  # photographs, 0.35 MB each


class Sight(NamedTuple):
    """What the judging needs of a photograph. It follows from the photograph's bytes alone."""

    pixels: Pixels  # u8[SIDE, SIDE, 3]
    picture: bytes  # the JPEG that reports show

    @classmethod
    def of(cls, upload: Upload) -> Sight:
        return cls(upload.pixels, upload.picture)


class RecentSights:
    """By the SHA-256 of the photograph. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, Sight] = {}

    def put(self, upload: Upload) -> None:
        """The one that was not asked for the longest gives way."""
        with self._lock:
            self._kept.pop(upload.sha256, None)
            self._kept[upload.sha256] = Sight.of(upload)
            if len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]

    def take(self, sha256: str) -> Sight | None:
        """It is kept no longer: a case is judged once."""
        with self._lock:
            return self._kept.pop(sha256, None)
