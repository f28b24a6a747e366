"""How long each step took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from assay.report.document import Stage


class StageClock:
    """Collects the stages of one case in the order in which they end, and tells of them: of several at once, where they
    end faster than they can be told. Used on a loop's thread."""

    def __init__(self, tell: Callable[[Sequence[Stage]], Coroutine[Any, Any, None]]) -> None:
        self._tell = tell
        self._stages: list[Stage] = []
        self._told = 0
        self._telling: asyncio.Task[None] | None = None

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(self._stages)

    @contextmanager
    def timed(self, name: str) -> Generator[None]:
        start = perf_counter()
        yield
        self._stages.append(Stage(name, (perf_counter() - start) * 1000))
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_new())

    async def told(self) -> None:
        """All stages so far have been told."""
        if self._telling is not None:
            await self._telling

    async def _tell_new(self) -> None:
        while self._told < len(self._stages):
            new = self._stages[self._told :]
            self._told = len(self._stages)
            await self._tell(new)
