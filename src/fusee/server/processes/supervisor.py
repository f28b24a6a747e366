"""Starts the processes of a server, links them, starts again those that ended, and stops them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic

from fusee.server.observe.machine import Process
from fusee.server.processes.child import layout_of
from fusee.server.processes.link import Link, new_link
from fusee.server.processes.messages import Received, new_messages
from fusee.server.processes.remote import RemotePlane
from fusee.server.settings import Settings
from fusee.server.types import Json

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
STEADY_S = 60.0  # a process that lived that long starts with a clean record
ENDS_IN_A_ROW = 8


class Backoff:
    """How long to wait before a process is started again; ever longer, and not for ever, when it keeps ending."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._ends = 0
        self._started_s = clock()

    def started(self) -> None:
        self._started_s = self._clock()

    def ended(self) -> float | None:
        """Seconds to wait; None when it is not to be started again."""
        if self._clock() - self._started_s >= STEADY_S:
            self._ends = 0
        self._ends += 1
        if self._ends > ENDS_IN_A_ROW:
            return None
        return min(FIRST_DELAY_S * 2.0 ** (self._ends - 1), LONGEST_DELAY_S)


class _Running:
    """A process that was started."""

    def __init__(self, name: str, entry: str, settings: Settings, sockets: Mapping[str, socket.socket] | None) -> None:
        self.name = name
        self._messages, theirs = new_messages()
        with theirs:
            command = [sys.executable, "-m", "fusee.server.processes.child", entry, str(theirs.fileno())]
            # a group of its own: Ctrl-C is for the supervisor, who stops the others in order
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], process_group=0)
        self.pid = self._process.pid
        names = None if sockets is None else list(sockets)
        descriptors = [s.fileno() for s in (sockets or {}).values()]
        self.tell({"name": name, "settings": settings, "sockets": names}, descriptors)

    def tell(self, document: Json, descriptors: Sequence[int] = ()) -> None:
        """Send a message; to a process that is ending it is lost, and one that does not read is ended."""
        try:
            self._messages.send(document, descriptors)
        except BlockingIOError:
            self._process.kill()
        except OSError:
            return

    async def ready(self) -> Received | None:
        """Wait until it says so; None when it ended before."""
        return await self._messages.receive()

    async def ended(self) -> str:
        """Wait for its end; why it ended."""
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(self.pid)
        gone = asyncio.Event()
        loop.add_reader(pidfd, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        code = self._process.wait()
        self._messages.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def stop(self, grace_s: float) -> None:
        """Ask it to end, and end it when it has not within that time."""
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended(), grace_s)
            return
        self.signal(signal.SIGKILL)
        await self.ended()


class Supervisor:
    """The processes of one server: an engine process, and front ends, one for each mapping of listening sockets by
    door. Without any, this process is the front end, over ``plane``.

    ``engine`` and ``front_end`` are what ``child`` runs, as "module:function". All front ends listen on the same
    ports, each with sockets of its own (SO_REUSEPORT). This process keeps the sockets, so that connections wait for a
    front end that is started again instead of being refused.
    """

    def __init__(
        self,
        settings: Settings,
        engine: str,
        front_end: str = "",
        sockets: Sequence[Mapping[str, socket.socket]] = (),
    ) -> None:
        self._settings = settings
        self._layout = layout_of(settings)
        self._engine_entry, self._front_end_entry = engine, front_end
        self._sockets = tuple(sockets)
        self._engine: _Running | None = None
        self._front_ends: dict[int, _Running] = {}
        self._restarts: dict[str, int] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._ready: dict[str, asyncio.Future[Json]] = {}  # resolved by the first start that succeeds
        self._attaching: asyncio.Task[None] | None = None
        self.plane = None if sockets else RemotePlane(self._layout)
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Says which process ended and is not started again."""

    def start(self) -> None:
        """Start all processes, and again those that end."""
        self._keep("engine", self._start_engine, self._engine_ended)
        for number in range(len(self._sockets)):
            self._keep_front_end(number)

    async def opened(self) -> None:
        """Wait until all front ends have opened their doors."""
        await asyncio.gather(*(self._ready[f"frontend-{i}"] for i in range(len(self._sockets))))

    async def loaded(self) -> Json:
        """Wait until the engine process is ready; what it said then."""
        return await self._ready["engine"]

    def processes(self) -> tuple[Process, ...]:
        """The processes that run, this one included, and how often each was started again."""
        running = [r for r in (self._engine, *self._front_ends.values()) if r is not None]
        return (
            Process("server", os.getpid()),
            *(Process(r.name, r.pid, self._restarts.get(r.name, 0)) for r in running),
        )

    async def close(self, grace_s: float) -> None:
        """Stop the front ends, which answer what is under way, then the engine process."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(r.stop(grace_s) for r in self._front_ends.values()))
        if self.plane is not None:
            self.plane.close()
        if self._engine is not None:
            await self._engine.stop(grace_s)

    def _keep_front_end(self, number: int) -> None:
        def start() -> _Running:
            return self._start_front_end(number)

        def ended(why: str, delay_s: float | None) -> None:
            del self._front_ends[number]

        self._keep(f"frontend-{number}", start, ended)

    def _keep(self, name: str, start: Callable[[], _Running], ended: Callable[[str, float | None], None]) -> None:
        self._ready[name] = asyncio.get_running_loop().create_future()
        keeper = asyncio.create_task(self._kept(name, start, ended))
        keeper.add_done_callback(self._kept_no_more)
        self._keepers.append(keeper)

    async def _kept(self, name: str, start: Callable[[], _Running], ended: Callable[[str, float | None], None]) -> None:
        """Keep a process running until it ends too often, or before it was ever ready."""
        backoff = Backoff()
        while True:
            running = start()
            backoff.started()
            self._tell_processes()
            received = await running.ready()
            if received is not None and not self._ready[name].done():
                self._ready[name].set_result(received.document["ready"])
            why = await running.ended()
            delay_s = backoff.ended() if self._ready[name].done() else None
            ended(why, delay_s)
            if delay_s is None:
                self._fail(f"process {name} ended ({why}) and is not started again")
                return
            await asyncio.sleep(delay_s)
            self._restarts[name] = self._restarts.get(name, 0) + 1

    def _kept_no_more(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and keeper.exception() is not None:
            self._fail(f"processes are not watched any more: {keeper.exception()!r}")

    def _fail(self, why: str) -> None:
        if not self.failed.done():
            self.failed.set_result(why)

    def _start_engine(self) -> _Running:
        self._engine = _Running("engine", self._engine_entry, self._settings, None)
        if self.plane is not None:
            self._attaching = asyncio.create_task(self.plane.attach(self._new_link(self._engine)))
        for front_end in self._front_ends.values():
            self._link(front_end, self._engine)
        return self._engine

    def _engine_ended(self, why: str, delay_s: float | None) -> None:
        self._engine = None
        retry_after_s = None if delay_s is None else max(1.0, delay_s)
        if self.plane is not None:
            self.plane.ended(why, retry_after_s)
        for front_end in self._front_ends.values():
            front_end.tell({"ended": [why, retry_after_s]})

    def _start_front_end(self, number: int) -> _Running:
        name = f"frontend-{number}"
        front_end = _Running(name, self._front_end_entry, self._settings, self._sockets[number])
        self._front_ends[number] = front_end
        if self._engine is not None:
            self._link(front_end, self._engine)
        return front_end

    def _link(self, front_end: _Running, engine: _Running) -> None:
        link = self._new_link(engine)
        front_end.tell({"link": True}, link.descriptors())
        link.close()

    def _new_link(self, engine: _Running) -> Link:
        """The front end's side of a new link to that engine process, which gets the other."""
        front, other = new_link(self._layout)
        engine.tell({"link": True}, other.descriptors())
        other.close()
        return front

    def _tell_processes(self) -> None:
        if self._engine is not None:
            self._engine.tell({"processes": [list(p) for p in self.processes()]})
