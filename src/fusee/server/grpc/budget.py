"""How many frames that cost a peer nothing it may send."""

from __future__ import annotations

from fusee.server.grpc.frames import ENHANCE_YOUR_CALM, ConnectionFault

_EARNED = 3.0


class Budget:
    """A bucket of tokens, refilled with time and with every answer. What makes work without asking for an answer takes
    from it: resets, pings, settings, empty frames, tiny window updates."""

    __slots__ = ("_capacity", "_filled_s", "_per_s", "_tokens")

    def __init__(self, capacity: float, per_s: float, now_s: float) -> None:
        self._capacity = capacity
        self._per_s = per_s
        self._tokens = capacity
        self._filled_s = now_s

    def spend(self, what: str, now_s: float) -> None:
        """Raises ConnectionFault when nothing is left."""
        self._tokens = min(self._capacity, self._tokens + (now_s - self._filled_s) * self._per_s) - 1.0
        self._filled_s = now_s
        if self._tokens < 0.0:
            raise ConnectionFault(
                ENHANCE_YOUR_CALM, f"too many {what} frames; up to {self._per_s:g} a second are taken in the long run"
            )

    def earn(self) -> None:
        """An answer is sent, for which a peer may well send window updates and a ping."""
        self._tokens = min(self._capacity, self._tokens + _EARNED)
