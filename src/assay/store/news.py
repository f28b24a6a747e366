"""Wakes those who follow a case when this process changes it. Changes by other processes are found by looking."""

from __future__ import annotations

from threading import Lock
from weakref import WeakValueDictionary

from assay.queue.bell import Bell


class News:
    """A bell for each case that somebody follows. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._bells: WeakValueDictionary[str, Bell] = WeakValueDictionary()

    def bell(self, case_id: str) -> Bell:
        """Rings when the case has changed, for as long as somebody holds it."""
        with self._lock:
            bell = self._bells.get(case_id)
            if bell is None:
                bell = self._bells[case_id] = Bell()
            return bell

    def tell(self, case_id: str) -> None:
        """The case has changed; it is committed."""
        with self._lock:
            bell = self._bells.get(case_id)
        if bell is not None:
            bell.ring()
