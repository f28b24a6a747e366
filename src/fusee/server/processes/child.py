"""A process that the supervisor started: ``python -m fusee.server.processes.child MODULE:FUNCTION DESCRIPTOR``.

The function is a coroutine function that takes a FrontEnd or an Engine and returns when that is stopping.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import uvloop

from fusee.base.errors import FuseeError
from fusee.server.observe.machine import Process
from fusee.server.plane import DataPlane
from fusee.server.processes.link import Link, link_of
from fusee.server.processes.messages import Messages, Received
from fusee.server.processes.plane_server import Operate, PlaneServer
from fusee.server.processes.remote import RemotePlane
from fusee.server.processes.ring import Layout, aligned
from fusee.server.settings import Limits, ModelControl, Settings, TlsFiles
from fusee.server.types import Json

_PR_SET_PDEATHSIG = 1


class Child(ABC):
    """This process. ``stopping`` is set when it is to answer what is under way and end."""

    def __init__(self, name: str, settings: Settings, messages: Messages) -> None:
        self.name = name
        self.settings = settings
        self.layout = layout_of(settings)
        self.stopping = asyncio.Event()
        self._messages = messages

    def ready(self, said: Json = None) -> None:
        """Tell the supervisor that the start has succeeded, and what it is to know."""
        self._messages.send({"ready": said})

    async def listen(self) -> None:
        """Take what the supervisor says until it is gone."""
        while (received := await self._messages.receive()) is not None:
            await self.told(received)

    @abstractmethod
    async def told(self, received: Received) -> None:
        """Take a message of the supervisor."""


class FrontEnd(Child):
    """A process that owns sockets, by the name of their door ("http", "grpc", "metrics"), and no models."""

    def __init__(self, name: str, settings: Settings, messages: Messages, sockets: Mapping[str, socket.socket]) -> None:
        super().__init__(name, settings, messages)
        self.sockets = sockets
        self.plane = RemotePlane(self.layout)

    async def told(self, received: Received) -> None:
        document = received.document
        if "link" in document:
            await self.plane.attach(link_of(received.descriptors))
        elif "ended" in document:
            self.plane.ended(*document["ended"])


class Engine(Child):
    """The process that owns the models."""

    def __init__(self, name: str, settings: Settings, messages: Messages) -> None:
        super().__init__(name, settings, messages)
        self._server: PlaneServer | None = None
        self._early: list[Link] = []
        self._processes: tuple[Process, ...] = ()

    def processes(self) -> tuple[Process, ...]:
        """All processes of this server, as the supervisor last told: for metrics."""
        return self._processes

    async def serve(self, plane: DataPlane, internal: Mapping[str, Operate] | None = None) -> None:
        """From now on front ends are answered; ``internal`` as PlaneServer has it."""
        self._server = PlaneServer(plane, self.layout, internal)
        early, self._early = self._early, []
        for link in early:
            await self._server.attach(link)

    async def told(self, received: Received) -> None:
        document = received.document
        if "processes" in document:
            self._processes = tuple(Process(*p) for p in document["processes"])
        elif "link" not in document:
            return
        elif self._server is None:
            self._early.append(link_of(received.descriptors))
        else:
            await self._server.attach(link_of(received.descriptors))


def layout_of(settings: Settings) -> Layout:
    """Rings for as many requests as may be under way, and several of the largest bodies at a time."""
    return Layout(settings.limits.requests, aligned(4 * settings.limits.body_bytes))


def settings_of(document: Json) -> Settings:
    """The settings of their JSON."""
    found = Settings(**document)
    tls = document["tls"]
    return replace(
        found,
        repository=tuple(map(Path, found.repository)),
        model_control=ModelControl(found.model_control),
        load_models=tuple(found.load_models),
        keys_file=_path(document["keys_file"]),
        tls=TlsFiles(Path(tls["certificate"]), Path(tls["key"]), _path(tls["client_ca"])) if tls else None,
        limits=Limits(**document["limits"]),
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _child(first: Received, messages: Messages) -> Child:
    document = first.document
    name, settings = document["name"], settings_of(document["settings"])
    if document["sockets"] is None:
        return Engine(name, settings, messages)
    sockets = {n: socket.socket(fileno=fd) for n, fd in zip(document["sockets"], first.descriptors, strict=True)}
    return FrontEnd(name, settings, messages, sockets)


async def _run(entry: str, messages: Messages) -> None:
    first = await messages.receive()
    if first is None:
        return  # the supervisor ended before it said what this process is
    child = _child(first, messages)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, child.stopping.set)
    listening = asyncio.create_task(child.listen())
    listening.add_done_callback(lambda _: child.stopping.set())
    module, _, function = entry.partition(":")
    await getattr(import_module(module), function)(child)
    if listening.done():
        listening.result()
    listening.cancel()


def die_with_parent() -> None:
    """The kernel ends this process when the one that started it ends, however that happens."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Exit code 2 says that an error was printed."""
    entry, descriptor = sys.argv[1:]
    die_with_parent()
    try:
        uvloop.run(_run(entry, Messages(socket.socket(fileno=int(descriptor)))))
    except FuseeError as err:
        print(f"fusee: {err}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
