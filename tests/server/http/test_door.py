"""The HTTP door over sockets: order, limits, slow and broken callers, TLS."""

from __future__ import annotations

import asyncio
import inspect
import ssl
import subprocess
from contextlib import suppress
from functools import wraps

import httptools
import orjson
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from fusee.server.errors import ServingError
from fusee.server.http.chunks import Chunks
from fusee.server.settings import Limits, TlsFiles
from fusee.server.tls import tls_context
from server.http.http_house import (
    FakePlane,
    Wire,
    binary_tensor,
    get,
    infer_body,
    open_door,
    post_infer,
)

LIVE = {"server_live": {"live": True}}
WAIT_S = 20.0


def on_both_loops(test):
    """Run a test on asyncio's loop and on uvloop, which treat buffers and closing differently."""

    @wraps(test)
    def run(*args, factory, **kwargs):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(test(*args, **kwargs), WAIT_S))

    asked = inspect.signature(test)
    factory = inspect.Parameter("factory", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = asked.replace(parameters=[*asked.parameters.values(), factory])
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    return pytest.mark.parametrize("factory", loops, ids=["asyncio", "uvloop"])(run)


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
    head = b"POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + body + b"0\r\n" + trailer + b"\r\n"


class TestConnection:
    @on_both_loops
    async def test_keeps_alive(self):
        async with open_door(FakePlane()) as door:
            wire = await Wire.to(door)
            for _ in range(3):
                answer = await wire.ask(post_infer(infer_body()))
                assert answer.status == 200
                assert "date" in answer.headers
                assert "connection" not in answer.headers

    @on_both_loops
    async def test_pipelined_requests_are_answered_in_order(self):
        async with open_door(FakePlane(answers=LIVE)) as door:
            wire = await Wire.to(door)
            await wire.send(b"".join(post_infer(infer_body(float(i))) + get("/v2/health/live") for i in range(20)))
            for i in range(20):
                assert orjson.loads((await wire.answer()).body)["outputs"][0]["data"] == [float(i)]
                assert (await wire.answer()).body == b""

    @on_both_loops
    async def test_the_second_waits_for_the_first(self):
        plane = FakePlane(holds=True)
        async with open_door(plane) as door:
            wire = await Wire.to(door)
            await wire.send(post_infer(infer_body(1.0)) + post_infer(infer_body(2.0)))
            await plane.arrived.get()
            assert len(plane.requests) == 1
            plane.waiting[0]()
            await plane.arrived.get()
            plane.waiting[1]()
            answers = [orjson.loads((await wire.answer()).body) for _ in range(2)]
            assert [a["outputs"][0]["data"] for a in answers] == [[1.0], [2.0]]

    @on_both_loops
    async def test_one_byte_at_a_time(self):
        async with open_door(FakePlane(answers=LIVE)) as door:
            wire = await Wire.to(door)
            for request in (post_infer(infer_body()), chunked(infer_body()), get("/v2/health/live")):
                for byte in request:
                    await wire.send(bytes([byte]))
                assert (await wire.answer()).status == 200

    @on_both_loops
    async def test_large_bodies_come_and_go_whole(self):
        size = 3_000_000
        header = orjson.dumps({"inputs": [binary_tensor(size)], "parameters": {"binary_data_output": True}})
        content = bytes(range(256)) * (size // 256) + bytes(size % 256)
        async with open_door(FakePlane()) as door:
            wire = await Wire.to(door)
            length = f"Inference-Header-Content-Length: {len(header)}"
            for _ in range(2):
                await wire.send(post_infer(header + content, length) + post_infer(header + content, length))
                for _ in range(2):
                    answer = await wire.answer()
                    assert answer.body[int(answer.headers["inference-header-content-length"]) :] == content
            assert door.core._held_bytes == 0

    @on_both_loops
    async def test_chunked_and_what_follows(self):
        body = infer_body(1.0, 2.0)
        async with open_door(FakePlane(answers=LIVE)) as door:
            wire = await Wire.to(door)
            await wire.send(chunked(body[:5], body[5:6], body[6:], trailer=b"X: y\r\n") + get("/v2/health/live"))
            assert (await wire.answer()).status == 200
            assert (await wire.answer()).body == b""
            assert door.core._held_bytes == 0

    @on_both_loops
    async def test_head_is_get_without_its_body(self):
        async with open_door(FakePlane(answers={"server_metadata": {"name": "fusee"}})) as door:
            wire = await Wire.to(door)
            await wire.send(get("/v2").replace(b"GET", b"HEAD", 1) + get("/v2"))
            answer = await wire.answer(has_body=False)
            assert answer.headers["content-length"] == "16"
            assert (await wire.answer()).body == b'{"name":"fusee"}'

    @on_both_loops
    async def test_continue_is_said_before_the_body(self):
        body = infer_body()
        async with open_door(FakePlane()) as door:
            wire = await Wire.to(door)
            request = post_infer(body, "Expect: 100-continue")
            await wire.send(request[: -len(body)])
            assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await wire.ask(body)).status == 200

    @pytest.mark.parametrize(
        ("request_line", "headers", "is_kept"),
        [
            ("HTTP/1.1", "Connection: close", False),
            ("HTTP/1.0", "", False),
            ("HTTP/1.0", "Connection: keep-alive", True),
        ],
    )
    @on_both_loops
    async def test_who_closes(self, request_line, headers, is_kept):
        async with open_door(FakePlane(answers=LIVE)) as door:
            wire = await Wire.to(door)
            extra = f"{headers}\r\n" if headers else ""
            answer = await wire.ask(f"GET /v2/health/live {request_line}\r\nHost: x\r\n{extra}\r\n".encode())
            assert answer.status == 200
            assert ("connection" in answer.headers) is not is_kept
            if not is_kept:
                assert await wire.is_closed()

    @on_both_loops
    async def test_whole_addresses_and_offers_to_upgrade(self):
        async with open_door(FakePlane(answers=LIVE)) as door:
            wire = await Wire.to(door)
            assert (await wire.ask(get("http://x/v2/health/live?a=1"))).status == 200
            upgrade = get("/v2/health/live", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: A")
            assert (await wire.ask(upgrade)).status == 200

    @on_both_loops
    async def test_not_found_keeps_the_connection(self):
        async with open_door(FakePlane(answers=LIVE)) as door:
            wire = await Wire.to(door)
            await wire.send(get("/nothing") + get("/v2/health/live"))
            assert [(await wire.answer()).status for _ in range(2)] == [404, 200]


class TestCallersWhoLeave:
    @on_both_loops
    async def test_the_ticket_is_cancelled(self):
        plane = FakePlane(holds=True)
        async with open_door(plane) as door:
            wire = await Wire.to(door)
            await wire.send(post_infer(infer_body()))
            await plane.arrived.get()
            wire.close()
            await plane.tickets[0].cancelled.wait()
            assert (door.core.under_way, door.core._held_bytes) == (0, 0)

    @on_both_loops
    async def test_in_the_middle_of_a_body(self):
        async with open_door(FakePlane()) as door:
            wire = await Wire.to(door)
            await wire.send(post_infer(bytes(100_000))[:50_000])
            while not door.connections or not door.core._held_bytes:
                await asyncio.sleep(0)
            wire.close()
            while door.connections:
                await asyncio.sleep(0)
            assert door.core._held_bytes == 0


BROKEN = [
    b"\r\n\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\r\n\r\n",
    b"GET /v2 HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    b"GET /v2 HTTP/1.1\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
    b"POST /v2 HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"GET /v2 HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /v2 HTTP/1.1\r\nHo\x00st: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


class TestLimits:
    @pytest.mark.parametrize("content", BROKEN)
    @on_both_loops
    async def test_what_is_no_http_is_refused_and_closed(self, content):
        async with open_door(FakePlane()) as door:
            wire = await Wire.to(door)
            answer = await wire.ask(content)
            assert answer.status in (400, 505)
            assert answer.headers["connection"] == "close"
            assert orjson.loads(answer.body)["error"]
            assert await wire.is_closed()

    @on_both_loops
    async def test_other_codings_are_not_offered(self):
        async with open_door(FakePlane()) as door:
            wire = await Wire.to(door)
            request = chunked(b"x").replace(b"chunked", b"gzip, chunked", 1)
            assert (await wire.ask(request)).status == 501

    @on_both_loops
    async def test_head_too_large(self):
        async with open_door(FakePlane(), header_bytes=500) as door:
            for end in (b"", b"\r\n\r\n"):
                wire = await Wire.to(door)
                answer = await wire.ask(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 600 + end)
                assert answer.status == 431
                assert await wire.is_closed()

    @on_both_loops
    async def test_body_too_large_by_its_length(self):
        async with open_door(FakePlane(), body_bytes=100) as door:
            wire = await Wire.to(door)
            answer = await wire.ask(post_infer(bytes(101)))
            assert answer.status == 413
            assert orjson.loads(answer.body)["error"] == (
                "the body is 101 bytes by its content-length, up to 100 are taken"
            )
            assert await wire.is_closed()

    @pytest.mark.parametrize(
        ("content", "limits", "status"),
        [
            (chunked(bytes(60), bytes(60)), {"body_bytes": 100}, 413),
            (chunked(*[b"x"] * 5), {"chunks": 4}, 413),
            (chunked(b"x", trailer=b"A: b\r\n" * 100), {"header_bytes": 200}, 413),
            (chunked(b"x").replace(b"1\r\nx", b"+1\r\nx"), {}, 400),
            (chunked(b"x").replace(b"1\r\nx", b"1\r\nxy"), {}, 400),
            (chunked(b"x").replace(b"1\r\nx", b"f" * 2000), {}, 400),
            (chunked(b"x").replace(b"1\r\nx", b"1\nx"), {}, 400),
        ],
    )
    @on_both_loops
    async def test_chunks(self, content, limits, status):
        async with open_door(FakePlane(), **limits) as door:
            wire = await Wire.to(door)
            assert (await wire.ask(content)).status == status
            assert await wire.is_closed()
            assert door.core._held_bytes == 0

    @on_both_loops
    async def test_bytes_of_all_bodies_together(self):
        plane = FakePlane(holds=True)
        async with open_door(plane, request_bytes=150) as door:
            first, second = await Wire.to(door), await Wire.to(door)
            await first.send(post_infer(infer_body().ljust(100)))
            await plane.arrived.get()
            answer = await second.ask(post_infer(infer_body().ljust(100)))
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            plane.waiting[0]()
            assert (await first.answer()).status == 200
            assert door.core._held_bytes == 0

    @on_both_loops
    async def test_connections(self):
        async with open_door(FakePlane(answers=LIVE), connections=1) as door:
            first = await Wire.to(door)
            assert (await first.ask(get("/v2/health/live"))).status == 200
            second = await Wire.to(door)
            assert (await second.answer()).status == 503
            assert await second.is_closed()

    @pytest.mark.parametrize(
        ("content", "limits", "status"),
        [
            (b"GET /v2", {"header_timeout_s": 0.05}, 408),
            (post_infer(bytes(50))[:-1], {"body_timeout_s": 0.05}, 408),
            (chunked(bytes(50))[:-20], {"body_timeout_s": 0.05}, 408),
            (b"", {"idle_timeout_s": 0.05}, None),
        ],
    )
    @on_both_loops
    async def test_slow_callers(self, content, limits, status):
        async with open_door(FakePlane(), **limits) as door:
            wire = await Wire.to(door)
            await wire.send(content)
            if status is not None:
                assert (await wire.answer()).status == status
            assert await wire.is_closed()

    @on_both_loops
    async def test_callers_who_do_not_read(self):
        size = 32_000_000
        header = orjson.dumps({"inputs": [binary_tensor(size)], "parameters": {"binary_data_output": True}})
        async with open_door(FakePlane(), body_timeout_s=0.5) as door:
            wire = await Wire.to(door)
            wire.writer.transport.pause_reading()
            await wire.send(post_infer(header + bytes(size), f"Inference-Header-Content-Length: {len(header)}"))
            while not door.connections:
                await asyncio.sleep(0)
            while door.connections:
                await asyncio.sleep(0.01)

    @on_both_loops
    async def test_no_more_is_read_ahead_than_a_little(self):
        plane = FakePlane(holds=True)
        async with open_door(plane) as door:
            wire = await Wire.to(door)
            await wire.send(post_infer(infer_body()))
            await plane.arrived.get()
            (connection,) = door.connections
            ahead = post_infer(infer_body()) * 1000
            wire.writer.write(ahead)
            while not connection._is_paused:
                await asyncio.sleep(0)
            assert len(connection._pending) < 200_000
            plane.holds = False
            plane.waiting[0]()
            for _ in range(1001):
                assert (await wire.answer()).status == 200


class TestClosing:
    @on_both_loops
    async def test_what_is_under_way_is_answered(self):
        plane = FakePlane(holds=True)
        async with open_door(plane) as door:
            busy, idle = await Wire.to(door), await Wire.to(door)
            await busy.send(post_infer(infer_body()))
            await plane.arrived.get()
            closing = asyncio.ensure_future(door.close(WAIT_S))
            assert await idle.is_closed()
            plane.waiting[0]()
            answer = await busy.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await busy.is_closed()
            await closing

    @on_both_loops
    async def test_grace_ends(self):
        plane = FakePlane(holds=True)
        async with open_door(plane) as door:
            wire = await Wire.to(door)
            await wire.send(post_infer(infer_body()))
            await plane.arrived.get()
            await door.close(0.0)
            await plane.tickets[0].cancelled.wait()
            with pytest.raises(ConnectionRefusedError):
                await Wire.to(door)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for this machine that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return TlsFiles(cert, key)


class TestTls:
    @on_both_loops
    async def test_whole_exchanges(self, certificate):
        size = 500_000
        header = orjson.dumps({"inputs": [binary_tensor(size)], "parameters": {"binary_data_output": True}})
        async with open_door(FakePlane(), tls=tls_context(certificate, ("http/1.1",))) as door:
            wire = await Wire.to(door, ssl.create_default_context(cafile=certificate.certificate))
            for _ in range(2):
                length = f"Inference-Header-Content-Length: {len(header)}"
                answer = await wire.ask(post_infer(header + bytes(size), length))
                assert answer.status == 200
                assert answer.body.endswith(bytes(size))
            assert (await wire.ask(b"no http\r\n\r\n")).status == 400
            assert await wire.is_closed()

    @on_both_loops
    async def test_callers_without_the_certificate_that_is_asked_for(self, certificate):
        files = TlsFiles(certificate.certificate, certificate.key, client_ca=certificate.certificate)
        async with open_door(FakePlane(answers=LIVE), tls=tls_context(files, ("http/1.1",))) as door:
            stranger = ssl.create_default_context(cafile=certificate.certificate)
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await (await Wire.to(door, stranger)).ask(get("/v2/health/live"))
            known = ssl.create_default_context(cafile=certificate.certificate)
            known.load_cert_chain(certificate.certificate, certificate.key)
            assert (await (await Wire.to(door, known)).ask(get("/v2/health/live"))).status == 200


class TestFuzz:
    """Whatever comes, the door answers in HTTP or hangs up, and serves the next caller."""

    def _survives(self, contents):
        async def run():
            async with open_door(FakePlane(answers=LIVE), header_bytes=2000, body_bytes=2000) as door:
                failures = []
                loop = asyncio.get_running_loop()
                loop.set_exception_handler(lambda _, context: failures.append(context))
                wire = await Wire.to(door)
                for content in contents:
                    await wire.send(content)
                wire.writer.write_eof()
                self._check_answers(await wire.reader.read())
                assert not failures, failures
                assert (await (await Wire.to(door)).ask(get("/v2/health/live"))).status == 200
                assert (door.core.under_way, door.core._held_bytes) == (0, 0)

        asyncio.run(run())

    def _check_answers(self, content):
        class Events:
            pass

        httptools.HttpResponseParser(Events()).feed_data(content)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(max_size=200), max_size=3))
    def test_any_bytes(self, contents):
        self._survives(contents)

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_requests_with_holes(self, data):
        request = data.draw(st.sampled_from((post_infer(infer_body()), chunked(infer_body()), get("/v2"), *BROKEN)))
        at = data.draw(st.integers(0, len(request)))
        cut = data.draw(st.integers(0, 10))
        self._survives([request[:at] + data.draw(st.binary(max_size=10)) + request[at + cut :]])

    @settings(max_examples=60, deadline=None)
    @given(st.one_of(st.text(max_size=8), st.integers(-2, 400).map(str)), st.binary(max_size=40))
    def test_any_split_of_header_and_binary_data(self, length, tail):
        header = f"Inference-Header-Content-Length: {length}".encode("ascii", "ignore").decode()
        if "\r" not in header and "\n" not in header:
            self._survives([post_infer(infer_body() + tail, header)])


class TestChunks:
    @given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.binary(max_size=30), st.data())
    def test_any_cut_gives_the_same(self, pieces, after, data):
        content = b"".join(b"%X;a=b\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
        chunks, at, rest = Chunks(Limits()), 0, None
        while at < len(content):
            to = data.draw(st.integers(at + 1, len(content)))
            rest = chunks.feed(content[at:to] + (after if to == len(content) else b""))
            assert (rest is None) == (to < len(content))
            at = to
        assert (bytes(chunks.content), rest) == (b"".join(pieces), after)

    @given(st.binary(max_size=100))
    def test_any_bytes(self, content):
        chunks = Chunks(Limits(body_bytes=50))
        with suppress(ServingError):
            chunks.feed(content)
        assert len(chunks.content) <= 50
