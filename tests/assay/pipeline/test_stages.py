"""Stages are timed and told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from assay.pipeline.stages import StageClock
from assay.report.document import Stage


def test_stages_that_end_while_others_are_told_are_told_together() -> None:
    told: list[list[str]] = []

    async def work() -> StageClock:
        may_go_on = asyncio.Event()

        async def tell(stages: Sequence[Stage]) -> None:
            told.append([stage.name for stage in stages])
            await may_go_on.wait()

        clock = StageClock(tell)
        with clock.timed("read"):
            pass
        await asyncio.sleep(0)  # the first is being told
        for name in ("look", "compare"):
            with clock.timed(name):
                pass
        may_go_on.set()
        await clock.told()
        return clock

    clock = asyncio.run(work())
    assert told == [["read"], ["look", "compare"]]
    assert [stage.name for stage in clock.stages] == ["read", "look", "compare"]
