"""Open-loop load: requests leave on schedule, and each is timed from when it was due, not from when it could be sent.

A server that stalls is thus charged for every request that its stall made late ("coordinated omission" is the error of
timing from the moment of sending).
"""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from fusee.base.errors import DeviceError
from fusee.client.address import Address
from fusee.client.arrivals import Arrivals
from fusee.client.connection import Connection
from fusee.client.infer import PreparedRequest

PERCENTS = (50.0, 90.0, 95.0, 99.0, 99.9)
DRAIN_S = 30.0  # to wait for answers after the last request was due


@dataclass(frozen=True)
class LoadReport:
    """What one load found. Latencies are of answers with status 200, in seconds; ``statuses`` counts all answers.

    ``lateness_s`` is how long after its time a request left, at the 99th percentile, for want of processor time or of
    a free connection: where it is a good part of the latency, the client and not the server was measured.
    """

    rate_per_s: float
    duration_s: float
    latencies_s: tuple[float, ...]
    statuses: dict[int, int]
    lateness_s: float
    wrong: int  # answers whose content differs from what was expected

    @property
    def throughput_per_s(self) -> float:
        return len(self.latencies_s) / self.duration_s

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)

    def percentiles_ms(self) -> dict[str, float]:
        """p50 to p99.9 and the maximum; empty when nothing was answered."""
        if not self.latencies_s:
            return {}
        found = np.percentile(self.latencies_s, PERCENTS) * 1e3
        names = (f"p{p:g}" for p in PERCENTS)
        return {**dict(zip(names, found.tolist(), strict=True)), "max": max(self.latencies_s) * 1e3}

    def p99_s(self) -> float:
        """The 99th percentile, with requests that failed counted as never answered."""
        latencies = [*self.latencies_s, *[float("inf")] * self.failed]
        return float(np.percentile(latencies, 99.0, method="higher")) if latencies else float("inf")


class _Load:
    """One load under way."""

    def __init__(
        self, address: Address, requests: Sequence[PreparedRequest], times_s: Sequence[float], connections: int
    ) -> None:
        self._address = address
        self._requests = requests
        self._times_s = times_s
        self._limit = connections
        self._idle: list[Connection] = []
        self._waiting: deque[int] = deque()  # requests that are due and have no connection yet
        self._opening: set[asyncio.Future[Connection]] = set()
        self._open = 0  # connections, those being opened included
        self._left = len(times_s)
        self._finished = asyncio.Event()
        self.latencies_s: list[float] = []
        self.lateness_s: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.wrong = 0
        self._start_s = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._idle = [await self._connect() for _ in range(min(self._limit, 16))]
        except OSError as err:
            raise DeviceError(f"no server answers at {self._address}: {err.strerror or err}") from err
        self._open = len(self._idle)
        self._start_s = loop.time()
        for i, at_s in enumerate(self._times_s):
            loop.call_at(self._start_s + at_s, self._due, i)
        budget_s = self._times_s[-1] + DRAIN_S
        try:
            await asyncio.wait_for(self._finished.wait(), budget_s)
        except TimeoutError:
            self.statuses[0] += self._left
        for connection in self._idle:
            connection.close()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, self._address.host, self._address.port))[1]

    def _due(self, index: int) -> None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                self._send(connection, index)
                return
            self._open -= 1
        self._waiting.append(index)
        self._open_another()

    def _open_another(self) -> None:
        if self._open == self._limit:
            return
        self._open += 1
        opening = asyncio.ensure_future(self._connect())
        self._opening.add(opening)
        opening.add_done_callback(self._opened)

    def _opened(self, opening: asyncio.Future[Connection]) -> None:
        self._opening.discard(opening)
        if opening.cancelled() or isinstance(opening.exception(), OSError):
            self._open -= 1
            if self._waiting:
                self._count(self._waiting.popleft(), 0, b"")
            return
        self._free(opening.result())

    def _send(self, connection: Connection, index: int) -> None:
        self.lateness_s.append(asyncio.get_running_loop().time() - self._start_s - self._times_s[index])

        def answered(status: int, body: bytes) -> None:
            self._count(index, status, body)
            self._free(connection)

        connection.send(self._requests[index % len(self._requests)].parts, answered)

    def _free(self, connection: Connection) -> None:
        if not connection.is_open:
            self._open -= 1
            if self._waiting:
                self._open_another()
        elif self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _count(self, index: int, status: int, body: bytes) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.latencies_s.append(asyncio.get_running_loop().time() - self._start_s - self._times_s[index])
            self.wrong += not self._requests[index % len(self._requests)].is_expected(body)
        self._left -= 1
        if not self._left:
            self._finished.set()


def run_load(
    address: Address, requests: Sequence[PreparedRequest], arrivals: Arrivals, connections: int = 256
) -> LoadReport:
    """Send a load, ``requests`` in turn, and wait for the answers. Raises DeviceError when no server listens there."""
    # select() waits for microseconds where epoll waits for whole milliseconds
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        load, elapsed_s = runner.run(_run(_Load(address, requests, arrivals.times_s(), connections)))
    return LoadReport(
        arrivals.rate_per_s,
        elapsed_s,
        tuple(load.latencies_s),
        dict(load.statuses),
        float(np.percentile(load.lateness_s, 99.0)) if load.lateness_s else 0.0,
        load.wrong,
    )


async def _run(load: _Load) -> tuple[_Load, float]:
    start_s = perf_counter()
    await load.run()
    return load, perf_counter() - start_s
