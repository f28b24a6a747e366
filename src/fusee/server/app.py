"""A server put together, in one process or in several, and the order in which it starts and stops."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

import uvloop

from fusee.base.errors import DeviceError
from fusee.server.access import Access, read_keys
from fusee.server.door import DoorCounts, House
from fusee.server.doors import Doors
from fusee.server.engine_room import EngineRoom, check_repository
from fusee.server.errors import ServingError
from fusee.server.listening import Ports, check_exposure, listen, listen_again, ports_of
from fusee.server.observe.logs import LogSettings
from fusee.server.operations import Scope
from fusee.server.plane import DataPlane
from fusee.server.processes.child import Engine, FrontEnd
from fusee.server.processes.merging import PAGE, REPORT, ReportedCounts, drawing, keep_reporting, report, shown
from fusee.server.processes.remote import RemotePlane
from fusee.server.processes.supervisor import Supervisor
from fusee.server.settings import Settings

GRACE_S = 30.0  # for requests under way when the server stops
ENGINE, FRONT_END = f"{__name__}:run_engine", f"{__name__}:run_front_end"
T = TypeVar("T")
PAGES = ("/metrics", "/metrics/openmetrics", "/status", "/status.json")


class Server(Protocol):
    """A server from start to end. Its doors open first, so that probes are answered while models load."""

    async def open(self) -> Ports:
        """Open the doors. Raises DeviceError or RequestError."""
        ...

    async def load(self) -> list[str]:
        """Wait for the models. Gives those that could not be loaded, and why."""
        ...

    async def broken(self) -> str:
        """Wait until the server cannot go on by itself, which may be for ever; why it cannot."""
        ...

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Take nothing new, answer what is under way, give everything back."""
        ...


class SingleServer:
    """Doors and engines in this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        counts = DoorCounts()
        self._room = EngineRoom(settings, counts)
        self._doors = Doors(house(settings, self._room.plane, counts), settings, self._room.pages)

    async def open(self) -> Ports:
        sockets = listen(self._settings)
        ports = ports_of(self._settings, sockets)
        await self._doors.open(sockets)
        return ports

    async def load(self) -> list[str]:
        return await self._room.load()

    async def broken(self) -> str:
        return await asyncio.get_running_loop().create_future()

    async def close(self, grace_s: float = GRACE_S) -> None:
        await self._doors.close(grace_s)
        await self._room.close()


class SupervisedServer:
    """Engines in a process of their own. Doors in this one, or, by ``frontends``, in as many others."""

    def __init__(self, settings: Settings) -> None:
        check_repository(settings)
        self._settings = settings
        self._sockets = [listen(settings, is_shared=settings.frontends > 0)]
        self._sockets += [listen_again(settings, self._sockets[0]) for _ in range(1, settings.frontends)]
        self._supervisor = Supervisor(settings, ENGINE, FRONT_END, self._sockets if settings.frontends else ())
        plane = self._supervisor.plane
        self._front = _Front(settings, plane) if plane is not None else None

    async def open(self) -> Ports:
        ports = ports_of(self._settings, self._sockets[0])
        self._supervisor.start()
        if self._front is not None:
            await self._front.open(self._sockets[0])
        await self._or_failed(self._supervisor.opened())
        return ports

    async def load(self) -> list[str]:
        return await self._or_failed(self._supervisor.loaded())

    async def broken(self) -> str:
        return await asyncio.shield(self._supervisor.failed)

    async def close(self, grace_s: float = GRACE_S) -> None:
        if self._front is not None:
            await self._front.close(grace_s)
        await self._supervisor.close(grace_s)

    async def _or_failed(self, waited: Coroutine[Any, Any, T]) -> T:
        """What is waited for, unless a process fails for good before. Raises DeviceError then."""
        waiting = asyncio.ensure_future(waited)
        await asyncio.wait((waiting, self._supervisor.failed), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        raise DeviceError(self._supervisor.failed.result())


class _Front:
    """Doors in this process, engines in another."""

    def __init__(self, settings: Settings, plane: RemotePlane) -> None:
        self._plane = plane
        self._logs = LogSettings(settings.log_json, has_access=settings.access_log)
        self._counts = DoorCounts()
        pages = [shown(plane, path, Scope.READ) for path in PAGES]
        self._doors = Doors(house(settings, plane, self._counts), settings, pages)
        self._reporting: asyncio.Task[None] | None = None

    async def open(self, sockets: Mapping[str, socket.socket]) -> None:
        self._logs.open()
        await self._doors.open(sockets)
        self._reporting = asyncio.create_task(keep_reporting(self._plane, self._counts))

    async def close(self, grace_s: float) -> None:
        await self._doors.close(grace_s)
        if self._reporting is not None:
            self._reporting.cancel()
        with suppress(ServingError):  # without an engine process there is nobody to tell
            await report(self._plane, self._counts)
        self._logs.close()


async def run_engine(engine: Engine) -> None:
    """What the engine process does."""
    counts = ReportedCounts()
    room = EngineRoom(engine.settings, counts, engine.processes)
    await engine.serve(room.plane, {REPORT: counts.report, PAGE: drawing(room.pages)})
    loading = asyncio.create_task(room.load())
    stopping = asyncio.create_task(engine.stopping.wait())
    await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        engine.ready(loading.result())
    await stopping
    loading.cancel()
    await room.close()


async def run_front_end(front_end: FrontEnd) -> None:
    """What a front end's process does."""
    front = _Front(front_end.settings, front_end.plane)
    await front.open(front_end.sockets)
    front_end.ready()
    await front_end.stopping.wait()
    await front.close(GRACE_S)
    front_end.plane.close()


def house(settings: Settings, plane: DataPlane, counts: DoorCounts) -> House:
    """What the doors of a process need. Raises RequestError for a keys file that cannot be read."""
    access = Access(read_keys(settings.keys_file) if settings.keys_file else ())
    is_local = access.is_open and not settings.allow_anonymous
    return House(plane, access, settings.limits, counts, settings.access_log, is_local)


def server_of(settings: Settings) -> Server:
    """The server that the settings ask for. Raises RequestError or DeviceError."""
    check_exposure(settings)
    return SupervisedServer(settings) if settings.is_isolated or settings.frontends else SingleServer(settings)


async def serve(settings: Settings, opened: Callable[[Ports], None], loaded: Callable[[list[str]], None]) -> None:
    """Run a server until SIGINT or SIGTERM; a second signal ends it at once.

    ``loaded`` is given the models that could not be loaded, and why. Raises DeviceError when the server cannot go on.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, told)
    server = server_of(settings)
    try:
        opened(await server.open())
        await _until(told, server, loaded)
    finally:
        await server.close()


async def _until(told: asyncio.Event, server: Server, loaded: Callable[[list[str]], None]) -> None:
    """Load, then serve until told to stop."""
    stopping, loading = asyncio.create_task(told.wait()), asyncio.create_task(server.load())
    breaking = asyncio.create_task(server.broken())
    try:
        await asyncio.wait((stopping, loading, breaking), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loaded(loading.result())
        await asyncio.wait((stopping, breaking), return_when=asyncio.FIRST_COMPLETED)
        if breaking.done():
            raise DeviceError(breaking.result())
    finally:
        for task in (stopping, loading, breaking):
            task.cancel()


def _stop(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        raise KeyboardInterrupt
    stopping.set()


@contextmanager
def serving(settings: Settings) -> Generator[Ports]:
    """A server on a thread of this process, ready when the block begins: for programs, notebooks and tests.

        with serving(Settings(repository=(Path("models"),), http_port=0)) as ports: ...

    Raises what ``Server`` raises.
    """
    ready: Future[tuple[Ports, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=uvloop.run, args=(_serve_until(settings, ready),), name="fusee-server")
    thread.start()
    try:
        ports, loop, stopping = ready.result()
    except BaseException:
        thread.join()
        raise
    try:
        yield ports
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()


async def _serve_until(
    settings: Settings, ready: Future[tuple[Ports, asyncio.AbstractEventLoop, asyncio.Event]]
) -> None:
    stopping = asyncio.Event()
    try:
        server = server_of(settings)
        ports = await server.open()
        try:
            await server.load()
        except BaseException:
            await server.close(0.0)
            raise
    except BaseException as err:
        ready.set_exception(err)
        return
    ready.set_result((ports, asyncio.get_running_loop(), stopping))
    await stopping.wait()
    await server.close()
