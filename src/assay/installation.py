"""An installation opened: its rooms made from the settings, and closed again in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

from assay.errors import Reason, Refusal
from assay.judging import read_calibration
from assay.judging.judgement import Calibration
from assay.queue import open_queue
from assay.references import open_references
from assay.report.signing import Signer
from assay.services import Services
from assay.settings import Settings
from assay.store import Store
from assay.vision import Comparer, open_lens

PATIENCE_S = 60.0  # for a database, queue or server that starts beside us
log = logging.getLogger(__name__)
T = TypeVar("T")


def utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def opened(settings: Settings, clock: Callable[[], datetime] = utc_now) -> AsyncGenerator[Services]:
    """All rooms, ready. Waits up to PATIENCE_S for those on other machines. Raises Refusal."""
    async with AsyncExitStack() as closing:
        store = await _patiently(lambda: asyncio.to_thread(Store, settings, clock))
        closing.callback(store.close)
        queue = open_queue(settings)
        await _patiently(queue.open)
        closing.push_async_callback(queue.close)
        lens = open_lens(settings)
        await _patiently(lens.open)
        closing.push_async_callback(lens.close)
        comparer = Comparer(settings.engines, settings.threads)
        closing.callback(comparer.close)
        yield Services(
            settings=settings,
            store=store,
            queue=queue,
            lens=lens,
            comparer=comparer,
            references=await asyncio.to_thread(open_references, settings),
            calibration=calibration_of(settings),
            signer=Signer(settings.signing_key),
            clock=clock,
        )


def calibration_of(settings: Settings) -> Callable[[], Calibration | None]:
    """The present calibration of the installation: read again when its file changes."""
    read: list[tuple[int, Calibration]] = []

    def present() -> Calibration | None:
        if not settings.calibration.exists():
            return None
        changed_ns = settings.calibration.stat().st_mtime_ns
        if not read or read[0][0] != changed_ns:
            read[:] = [(changed_ns, read_calibration(settings.calibration))]
        return read[0][1]

    return present


async def _patiently(opening: Callable[[], Awaitable[T]]) -> T:
    """Tried again while what is opened is UNAVAILABLE, for PATIENCE_S at most."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while True:
        try:
            return await opening()
        except Refusal as err:
            if err.reason is not Reason.UNAVAILABLE or loop.time() >= deadline:
                raise
            log.warning("waiting: %s", err.message)
            await asyncio.sleep(err.retry_after_s or 1.0)
