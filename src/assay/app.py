"""The application put together: the web, the relay and the workers, on one event loop or on several machines."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette

from assay.errors import Refusal, invalid
from assay.installation import opened
from assay.pipeline.judge import CaseJudge
from assay.pipeline.relay import Relay
from assay.pipeline.worker import Worker, WorkerLimits
from assay.services import Services
from assay.settings import Settings
from assay.web import health_door, web
from assay.web.heads import LimitedHeads
from assay.web.webhooks import deliver_webhooks

RETENTION_S = 3600.0  # between looks at what has to be erased
ORPHANED_AFTER = timedelta(hours=1)  # files that no case names: what was being written when a process ended
GRACE_S = 10  # for requests under way when the web stops
KEEP_ALIVE_S = 30  # of a connection without requests: longer than any Retry-After, so that one who waits can go on
log = logging.getLogger(__name__)


async def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """The web, with ``settings.workers`` beside it, until SIGINT or SIGTERM. ``ready`` gets the address."""
    async with opened(settings) as services:
        relay = Relay(services.store, services.queue)
        listening = _listen(settings.host, settings.port)
        server = _Web(web(services, relay.wake))
        beside = [relay.run(), deliver_webhooks(services), erase_expired(services)]
        beside += [worker(services).run() for _ in range(settings.workers)]
        ready(f"http://{settings.host}:{listening.getsockname()[1]}")
        await _until_stopped(server.serve([listening]), beside, server.stop)


async def work(settings: Settings, ready: Callable[[int], None]) -> None:
    """Workers alone, as many as ``settings.workers`` (at least one), until SIGINT or SIGTERM, with health and metrics
    on ``settings.health_port``, if any. ``ready`` is told how many workers there are."""
    async with opened(settings) as services:
        relay = Relay(services.store, services.queue)
        workers = [worker(services) for _ in range(max(1, settings.workers))]
        main, stop = _health(services)
        beside = [relay.run(), *(each.run() for each in workers)]
        ready(len(workers))
        await _until_stopped(main, beside, stop)


def _health(services: Services) -> tuple[Coroutine[Any, Any, object], Callable[[], None]]:
    """What runs until the other is called: the door of health and metrics, or nothing."""
    settings = services.settings
    if not settings.health_port:
        stopped = asyncio.Event()
        return stopped.wait(), stopped.set
    server = _Web(health_door(services))
    return server.serve([_listen(settings.host, settings.health_port)]), server.stop


def worker(services: Services) -> Worker:
    """One that judges with these services. Raises Refusal INVALID where nothing is calibrated."""
    settings = services.settings
    if services.calibration() is None:
        raise invalid(f"{settings.calibration} is not there; make it with `assay calibrate`, or copy the one shipped")
    limits = WorkerLimits(settings.batch_cases, settings.lease_s, settings.most_attempts)
    return Worker(services.store, services.queue, CaseJudge(services), limits, services.meter)


async def erase_expired(services: Services) -> None:
    """Erase what its tenant's retention has run out for, now and then, until cancelled."""
    while True:
        try:
            now = services.clock()
            erased = await asyncio.to_thread(services.store.retention.expire, now)
            swept = await asyncio.to_thread(services.store.retention.sweep_orphans, now - ORPHANED_AFTER)
            log.info("%d cases erased at the end of their retention, %d orphaned files swept", erased, swept)
        except Refusal as err:
            log.warning("nothing erased: %s", err.message)
        await asyncio.sleep(RETENTION_S)


class _Web(uvicorn.Server):
    """Signals are the application's: there is more than the web to stop."""

    def __init__(self, app: Starlette) -> None:
        configuration = uvicorn.Config(app, http=LimitedHeads, log_config=None, timeout_keep_alive=KEEP_ALIVE_S)
        configuration.timeout_graceful_shutdown = GRACE_S
        super().__init__(configuration)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


async def _until_stopped(
    main: Coroutine[Any, Any, object], beside: Sequence[Coroutine[Any, Any, None]], stop: Callable[[], None]
) -> None:
    """Run ``main`` until a signal has ``stop`` called, and ``beside`` as long; what fails of them ends all."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in beside]
        await main
        for task in tasks:
            task.cancel()


def _listen(host: str, port: int) -> socket.socket:
    """Raises Refusal INVALID for an address that cannot be had."""
    try:
        listening = socket.create_server((host, port), backlog=1024)
    except OSError as err:
        raise invalid(f"cannot listen on {host}:{port}: {err.strerror or err}; choose another") from err
    # asyncio leaves connections of such a socket with Nagle's algorithm: an answer's body would wait 40 ms for an ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
