"""A server put together: sockets, doors, the plane behind them, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import uvloop

from fusee.base.errors import DeviceError, RequestError
from fusee.runtime.cores import default_threads
from fusee.server.access import Access, read_keys
from fusee.server.backends import backends
from fusee.server.door import Door, DoorCounts, House, Page
from fusee.server.errors import not_found
from fusee.server.grpc import open_grpc
from fusee.server.http import open_http
from fusee.server.local import LocalPlane
from fusee.server.observe import metrics, status
from fusee.server.observe.logs import LogSettings
from fusee.server.observe.sources import Sources
from fusee.server.observe.tracing import Tracer
from fusee.server.repository.repository import Repository
from fusee.server.settings import Settings
from fusee.server.shared_memory import SharedMemory
from fusee.server.tls import tls_context
from fusee.server.types import ANSWERED, Done, InferRequest, Json, Ticket

GRACE_S = 30.0  # for requests under way when the server stops


@dataclass(frozen=True)
class Ports:
    """Where a server listens; None is a door that stays shut."""

    host: str
    http: int | None
    grpc: int | None
    metrics: int | None


def check_exposure(settings: Settings) -> None:
    """Refuse to listen where other machines reach without keys, unless that was asked for. Raises RequestError."""
    if settings.keys_file or settings.allow_anonymous or _is_loopback(settings.host):
        return
    raise RequestError(
        f"--host {settings.host} can be reached from other machines and there is no --keys-file: everybody could use "
        "and change the models. Give a keys file (fusee serve --new-key NAME makes an entry), or say --allow-anonymous"
    )


def check_repository(settings: Settings) -> None:
    """Raises RequestError for a repository that is no folder."""
    for folder in settings.repository:
        if not folder.is_dir():
            raise RequestError(f"{folder}: is no folder; fusee serve takes folders of models")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_socket(host: str, port: int, is_shared: bool = False) -> socket.socket:
    """A socket that listens; ``is_shared`` lets other processes listen on the same port. Raises DeviceError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(address)
        found.listen(1024)
        found.setblocking(False)
    except OSError as err:
        raise DeviceError(f"cannot listen on {host}:{port}: {err.strerror or err}; is another server running?") from err
    return found


class _PagesAlone:
    """The plane of the metrics port: who scrapes may not infer there."""

    def infer(self, request: InferRequest, done: Done) -> Ticket:
        done(not_found("this port has pages alone, such as /metrics"))
        return ANSWERED

    async def call(self, operation: str, arguments: Mapping[str, Json]) -> Json:
        raise not_found("this port has pages alone, such as /metrics")


class Doors:
    """The open doors of one process."""

    def __init__(self, house: House, settings: Settings, pages: Sequence[Page]) -> None:
        self._house = house
        self._settings = settings
        self._pages = pages
        self._doors: list[Door] = []

    async def open(self) -> Ports:
        """Open all doors that the settings name. Raises DeviceError or RequestError; nothing is left open then."""
        settings = self._settings
        try:
            http = await self._http(self._house, settings.http_port)
            grpc = await self._grpc(settings.grpc_port)
            pages_alone = replace(self._house, plane=_PagesAlone(), counts=DoorCounts())
            metrics = await self._http(pages_alone, settings.metrics_port)
        except BaseException:
            await self.close(0.0)
            raise
        return Ports(settings.host, http, grpc, metrics)

    async def _http(self, house: House, port: int | None) -> int | None:
        if port is None:
            return None
        tls = tls_context(self._settings.tls, ("http/1.1",)) if self._settings.tls else None
        door = await open_http(house, self._pages, listening_socket(self._settings.host, port), tls)
        self._doors.append(door)
        return door.port

    async def _grpc(self, port: int | None) -> int | None:
        if port is None:
            return None
        tls = tls_context(self._settings.tls, ("h2",)) if self._settings.tls else None
        door = await open_grpc(self._house, listening_socket(self._settings.host, port), tls)
        self._doors.append(door)
        return door.port

    async def close(self, grace_s: float) -> None:
        await asyncio.gather(*(door.close(grace_s) for door in self._doors))
        self._doors.clear()


class Server:
    """A server in this process. Its doors open first, so that probes are answered while models load."""

    def __init__(self, settings: Settings) -> None:
        check_exposure(settings)
        check_repository(settings)
        access = Access(read_keys(settings.keys_file) if settings.keys_file else ())
        loop = asyncio.get_running_loop()
        self._logs = LogSettings(settings.log_json)
        self._logs.open()
        self._tracer = Tracer(settings.otlp_endpoint, settings.trace_file)
        self._decoders = ThreadPoolExecutor(default_threads(), "fusee-decode")
        self._models = Repository(settings, backends(self._decoders), loop.call_soon_threadsafe)
        plane = LocalPlane(self._models, SharedMemory(settings.shared_memory_prefix), self._tracer, self._logs)
        counts = DoorCounts()
        sources = Sources(
            self._models.servables,
            lambda: self._models.index(False),
            self._models.comparison,
            exemplars=self._tracer.exemplars,
            doors=counts,
        )
        pages = (*metrics.pages(sources), *status.pages(sources))
        self._doors = Doors(House(plane, access, settings.limits, counts), settings, pages)

    async def open(self) -> Ports:
        """Open the doors. Raises DeviceError or RequestError."""
        return await self._doors.open()

    async def load(self) -> list[str]:
        """Load what the repository and the settings say. Gives the models that could not be loaded, and why."""
        await self._models.start()
        gc.collect()
        gc.freeze()  # what is loaded stays: collections in the middle of requests need not look at it
        index = self._models.index(False)
        return [f"{m['name']}: {m['reason']}" for m in index if m.get("state") == "UNAVAILABLE" and m.get("reason")]

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Take nothing new, answer what is under way, give everything back."""
        await self._doors.close(grace_s)
        await self._models.close()
        self._decoders.shutdown()
        self._tracer.close()
        self._logs.close()


async def serve(settings: Settings, opened: Callable[[Ports], None], loaded: Callable[[list[str]], None]) -> None:
    """Run a server until SIGINT or SIGTERM; a second signal ends it at once.

    ``loaded`` is given the models that could not be loaded, and why.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    server = Server(settings)
    opened(await server.open())
    loading = asyncio.ensure_future(server.load())
    loading.add_done_callback(lambda done: stopping.set() if done.exception() else loaded(done.result()))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stopping)
    await stopping.wait()
    if not loading.done():
        loading.cancel()
    await server.close()
    if loading.done() and not loading.cancelled():
        loading.result()


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
        server = Server(settings)
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
