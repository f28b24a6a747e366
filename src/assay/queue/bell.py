"""Wakes the claimers of this process when a job is published in it."""

from __future__ import annotations

import asyncio
import threading


class Bell:
    """Tasks of any event loop wait for it, any thread rings it. No ring between looking and waiting is missed:
    a waiter says how often it had rung when it last looked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rings = 0
        self._sleepers: set[asyncio.Future[None]] = set()

    @property
    def rings(self) -> int:
        return self._rings

    def ring(self) -> None:
        with self._lock:
            self._rings += 1
            sleepers, self._sleepers = self._sleepers, set()
        for sleeper in sleepers:
            sleeper.get_loop().call_soon_threadsafe(_wake, sleeper)

    async def wait(self, rings: int, timeout_s: float) -> None:
        """Until it has rung more than ``rings`` times, or ``timeout_s`` has passed."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._rings > rings:
                return
            self._sleepers.add(sleeper)
        try:
            await asyncio.wait((sleeper,), timeout=timeout_s)
        finally:
            with self._lock:
                self._sleepers.discard(sleeper)
            sleeper.cancel()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
