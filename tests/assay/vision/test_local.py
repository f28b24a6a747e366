"""The lens in this process, where its queue is full or its caller gives up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.assay.vision.lens_house import OpenLens, some_photos

from assay.errors import Reason, Refusal
from assay.vision.engines import MOST_REQUESTS
from assay.vision.lens import Lens

pytestmark = pytest.mark.runs_alone


async def crowd(lens: Lens) -> BaseException | None:
    """More callers than may wait, who all give up when the first is refused."""
    photos = some_photos(1)
    asked = [asyncio.create_task(lens.look(photos)) for _ in range(MOST_REQUESTS + 40)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
    refused = next(task.exception() for task in asked if task.done() and task.exception() is not None)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    return refused


def test_refuses_more_than_may_wait_and_answers_those_that_come_later(packed_engines: Path) -> None:
    with OpenLens("local", packed_engines) as opened:
        refused = opened.run(crowd(opened.lens))
        assert isinstance(refused, Refusal)
        assert refused.reason is Reason.OVERLOADED
        assert refused.retry_after_s
        assert len(opened.look(some_photos(1))) == 1
        opened.run(opened.lens.close())
        opened.run(opened.lens.open())
        opened.run(opened.lens.open())  # again is harmless
        assert len(opened.look(some_photos(1))) == 1
