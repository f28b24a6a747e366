"""How often one key may ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from assay.errors import Reason, Refusal

_MOST_NAMES = 10_000


class Rates:
    """A token bucket for each name: full, it holds a minute's worth, which may be spent at once."""

    def __init__(self, per_minute: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._now_s = now_s
        self._lock = Lock()
        self._left: dict[str, tuple[float, float]] = {}  # tokens at a time

    def take(self, name: str) -> None:
        """Raises Refusal OVERLOADED, saying when to come again."""
        with self._lock:
            now_s = self._now_s()
            tokens, since_s = self._left.pop(name, (float(self._per_minute), now_s))
            tokens = min(self._per_minute, tokens + (now_s - since_s) * self._per_minute / 60)
            self._left[name] = (max(0.0, tokens - 1) if tokens >= 1 else tokens, now_s)
            if len(self._left) > _MOST_NAMES:  # the one that has not asked for longest
                del self._left[next(iter(self._left))]
        if tokens < 1:
            wait_s = (1 - tokens) * 60 / self._per_minute
            message = f"{self._per_minute} requests a minute are allowed; try again in {wait_s:.1f} s"
            raise Refusal(Reason.OVERLOADED, message, wait_s)
