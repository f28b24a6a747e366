"""The snapshots asked for lately, kept in memory: a store reads each from its files once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from assay.references.snapshot import Snapshot

MOST = 32  # snapshots, of 4 MB each


class RecentSnapshots:
    """By digest; they never change. Any number of threads may ask."""

    def __init__(self, read: Callable[[str], Snapshot | None]) -> None:
        """``read`` gives the snapshot of a digest, None when there is none."""
        self._read = read
        self._kept: dict[str, Snapshot] = {}  # the latest asked for last
        self._turn = threading.Lock()

    def get(self, digest: str) -> Snapshot | None:
        with self._turn:
            snapshot = self._kept.pop(digest, None)
            if snapshot is not None:
                self._kept[digest] = snapshot
                return snapshot
        snapshot = self._read(digest)  # outside: another thread need not wait for the disk
        if snapshot is not None:
            with self._turn:
                self._kept[digest] = snapshot
                if len(self._kept) > MOST:
                    del self._kept[next(iter(self._kept))]
        return snapshot
