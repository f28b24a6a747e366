"""How long each step took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from assay.report.document import Stage


class StageClock:
    """Collects the stages of one case, in the order in which they end, and tells of each. Used on a loop's thread."""

    def __init__(self, tell: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
        self._tell = tell
        self._stages: list[Stage] = []
        self._telling: list[asyncio.Task[None]] = []

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(self._stages)

    @contextmanager
    def timed(self, name: str) -> Generator[None]:
        start = perf_counter()
        yield
        stage = Stage(name, (perf_counter() - start) * 1000)
        self._stages.append(stage)
        self._telling.append(asyncio.create_task(self._tell(stage)))

    async def told(self) -> None:
        """All stages so far have been told."""
        await asyncio.gather(*self._telling)
