"""Open-loop load against a server whose behaviour is known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from fusee.base.errors import DeviceError, RequestError
from fusee.client.address import Address
from fusee.client.arrivals import Arrivals, Spacing
from fusee.client.capacity import STEP, find_capacity
from fusee.client.infer import PreparedRequest
from fusee.client.load import LoadReport, run_load

REQUEST = PreparedRequest([b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"], lambda body: body == b"yes")


def _answer(status: int, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


@contextmanager
def _server(answer: Callable[[int], bytes | None]) -> Generator[Address]:
    """Answers the n-th request with ``answer(n)``; None closes the connection."""
    started, ports, count = threading.Event(), list[int](), [0]
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            found = answer(count[0])
            count[0] += 1
            if found is None:
                break
            writer.write(found)
        writer.close()

    async def start() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield Address("127.0.0.1", ports[0])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(_end_all(loop))
        loop.close()


async def _end_all(loop: asyncio.AbstractEventLoop) -> None:
    others = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def test_every_request_is_counted_once():
    with _server(lambda n: _answer(200, b"yes")) as address:
        report = run_load(address, [REQUEST], Arrivals(2000.0, 0.1, Spacing.POISSON, 1))
    assert report.statuses == {200: 200}
    assert len(report.latencies_s) == 200
    assert report.wrong == 0
    assert all(latency > 0 for latency in report.latencies_s)
    assert list(report.percentiles_ms()) == ["p50", "p90", "p95", "p99", "p99.9", "max"]


def test_refusals_wrong_answers_and_lost_connections_are_told_apart():
    answers = {0: _answer(503, b""), 1: _answer(200, b"no"), 2: None, 3: _answer(200, b"yes", "Connection: close\r\n")}
    with _server(lambda n: answers.get(n, _answer(200, b"yes"))) as address:
        report = run_load(address, [REQUEST], Arrivals(500.0, 0.04, Spacing.CONSTANT, 0))
    assert report.statuses == {503: 1, 0: 1, 200: 18}
    assert (report.failed, report.wrong) == (2, 1)


def test_a_stall_is_charged_to_every_request_that_it_made_late():
    """One connection and a server that stalls once: what waited behind the stall is timed from when it was due."""
    stall = threading.Event()

    def answer(n: int) -> bytes:
        if n == 0:
            stall.wait(0.2)
        return _answer(200, b"yes")

    with _server(answer) as address:
        report = run_load(address, [REQUEST], Arrivals(100.0, 0.1, Spacing.CONSTANT, 0), connections=1)
    assert len(report.latencies_s) == 10
    assert sorted(report.latencies_s)[0] > 0.1  # the last was due 0.09 s after the first, and waited for it too


def test_no_server():
    with pytest.raises(DeviceError, match=r"no server answers at 127\.0\.0\.1:1: "):
        run_load(Address("127.0.0.1", 1), [REQUEST], Arrivals(1.0, 0.1))


def _report(rate: float, latency_s: float, failed: int = 0) -> LoadReport:
    statuses = {200: 100} | ({503: failed} if failed else {})
    return LoadReport(rate, 1.0, (latency_s,) * 100, statuses, 0.0, 0)


@pytest.mark.parametrize("limit", [3.0, 100.0, 777.0])
def test_the_capacity_is_found(limit: float):
    found = find_capacity(lambda rate: _report(rate, 0.01 if rate <= limit else 0.5), 40.0, 0.05)
    assert found.best is not None
    assert limit / STEP <= found.best.rate_per_s <= limit


def test_failures_count_as_never_answered():
    assert find_capacity(lambda rate: _report(rate, 0.01, failed=2), 10.0, 0.05).best is None
    assert _report(1.0, 0.01, failed=2).p99_s() == float("inf")


@pytest.mark.parametrize("text", ["https://a:1", "http://", "http://a:1/x", "a:99999"])
def test_addresses_that_cannot_be(text: str):
    with pytest.raises(RequestError, match="expected http://host:port"):
        Address.of(text)


def test_addresses():
    assert Address.of("http://box:81/") == Address("box", 81)
    assert Address.of("box") == Address("box", 8000)


def test_arrivals_come_at_the_rate():
    for spacing in Spacing:
        times = Arrivals(50.0, 4.0, spacing, 3).times_s()
        assert len(times) == 200
        assert times == sorted(times)
        assert 0.0 <= times[0] <= times[-1] <= 4.0
