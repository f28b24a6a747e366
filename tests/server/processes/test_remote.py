"""A plane behind a ring answers as the plane itself does, and nothing is lost, doubled or left over."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from fusee.server.door import Content, DoorCounts, Page
from fusee.server.errors import Reason, ServingError, not_found
from fusee.server.operations import Scope
from fusee.server.plane import DataPlane
from fusee.server.processes.channel import Channel
from fusee.server.processes.encoding import decode_answer, decode_request, encode_request, encode_response
from fusee.server.processes.link import Kind, new_link
from fusee.server.processes.merging import PAGE, REPORT, ReportedCounts, drawing, report, shown
from fusee.server.processes.plane_server import Operate, PlaneServer
from fusee.server.processes.remote import RemotePlane
from fusee.server.processes.ring import CorruptError, Layout, Message, aligned
from fusee.server.types import (
    InferRequest,
    InferResponse,
    Region,
    Tensor,
    Ticket,
    Timing,
    WantedOutput,
)
from fusee.server.wire import NUMPY
from server.processes.process_entries import DoublingPlane

LAYOUT = Layout(messages=64, area_bytes=1 << 22)
Answer = InferResponse | ServingError


def run(body: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(body, 10)

    uvloop.run(bounded())


@asynccontextmanager
async def linked(
    plane: DataPlane, layout: Layout = LAYOUT, internal: dict[str, Operate] | None = None
) -> AsyncGenerator[RemotePlane]:
    """Both sides in this process."""
    front, engine = new_link(layout)
    remote, server = RemotePlane(layout), PlaneServer(plane, layout, internal)
    await remote.attach(front)
    await server.attach(engine)
    await is_ready(remote)
    try:
        yield remote
    finally:
        remote.close()
        server.close()


async def is_ready(remote: RemotePlane) -> None:
    while not (await remote.call("server_ready", {}))["ready"]:
        await asyncio.sleep(0)


class Taken:
    """The answers to one request; a second final one is an error."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.final: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def __call__(self, answer: Answer) -> None:
        self.answers.append(answer)
        if isinstance(answer, ServingError) or answer.final:
            self.final.set_result(answer)


def request(model: str, *arrays: Any) -> InferRequest:
    return InferRequest(model, "", "7", tuple(tensor(f"x{i}", np.asarray(a)) for i, a in enumerate(arrays)))


def tensor(name: str, array: np.ndarray[Any, Any]) -> Tensor:
    datatype = next(n for n, dtype in NUMPY.items() if dtype == array.dtype)
    return Tensor(name, datatype, array.shape, array)


async def infer(plane: DataPlane, asked: InferRequest) -> Answer:
    taken = Taken()
    plane.infer(asked, taken)
    return await taken.final


def assert_same(a: Answer, b: Answer) -> None:
    if isinstance(a, ServingError) or isinstance(b, ServingError):
        assert isinstance(a, ServingError)
        assert isinstance(b, ServingError)
        assert (a.reason, a.message, a.retry_after_s) == (b.reason, b.message, b.retry_after_s)
        return
    assert (a.model, a.version, a.id, a.parameters, a.final) == (b.model, b.version, b.id, b.parameters, b.final)
    for one, other in zip(a.outputs, b.outputs, strict=True):
        assert_same_tensor(one, other)


def assert_same_tensor(a: Tensor, b: Tensor) -> None:
    assert (a.name, a.datatype, tuple(a.shape), a.region) == (b.name, b.datatype, tuple(b.shape), b.region)
    if a.array is not None and b.array is not None:
        assert (a.array.dtype, a.array.shape) == (b.array.dtype, b.array.shape)
        assert a.array.tolist() == b.array.tolist()


STRINGS = np.array([[b"", b"\x00\xff"], [b"text", "ü".encode()]], dtype=object)
ARRAYS: list[np.ndarray[Any, Any]] = [
    *(np.arange(6).reshape(2, 3).astype(dtype) for name, dtype in NUMPY.items() if name not in ("BOOL", "BYTES")),
    np.array([True, False]),
    STRINGS,
    np.empty((0, 3), np.float32),
    np.array(5, np.int64),
    np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::3],
]


def test_answers_are_those_of_the_plane_itself():
    async def body() -> None:
        plane = DoublingPlane()
        async with linked(plane) as remote:
            for asked in (
                request("m", *ARRAYS[:13]),
                request("m", *ARRAYS[13:]),
                request("m"),
                request("absent", [1.0]),
            ):
                asked.parameters = {"a": 1, "b": 2.5, "c": "text", "d": True, "e": float("inf")}
                assert_same(await infer(remote, asked), await infer(plane, asked))

    run(body())


def test_calls_are_those_of_the_plane_itself():
    async def body() -> None:
        plane = DoublingPlane()
        async with linked(plane) as remote:
            assert await remote.call("model_config", {"name": "m"}) == await plane.call("model_config", {"name": "m"})
            with pytest.raises(ServingError) as caught:
                await remote.call("model_metadata", {"name": "x"})
            assert_same(caught.value, not_found("Request for unknown model: 'x' is not found"))
            answers = await asyncio.gather(*(remote.call("a", {"n": i, "text": "x" * 50_000}) for i in range(50)))
            assert [a["n"] for a in answers] == list(range(50))

    run(body())


def test_a_bug_in_a_call_is_an_internal_error():
    async def body() -> None:
        logged: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context["exception"]))
        async with linked(DoublingPlane()) as remote:
            with pytest.raises(ServingError, match="ZeroDivisionError: a bug") as caught:
                await remote.call("bug", {})
        assert caught.value.reason is Reason.INTERNAL
        assert [type(e) for e in logged] == [ZeroDivisionError]

    run(body())


def test_several_answers_to_one_request_come_in_order():
    async def body() -> None:
        plane = DoublingPlane()
        async with linked(plane, Layout(messages=4, area_bytes=4096)) as remote:
            here, there = Taken(), Taken()
            asked = request("parts", np.arange(300, dtype=np.float32))
            plane.infer(asked, here)
            remote.infer(asked, there)
            await there.final
            assert len(there.answers) == 301
            for a, b in zip(there.answers, here.answers, strict=True):
                assert_same(a, b)

    run(body())


def test_a_request_is_cancelled_once_and_its_plane_told():
    async def body() -> None:
        plane = DoublingPlane()
        async with linked(plane) as remote:
            taken = Taken()
            ticket = remote.infer(request("hold", [1.0]), taken)
            while not plane.held:
                await asyncio.sleep(0)
            ticket.cancel()
            ticket.cancel()
            error = await taken.final
            assert isinstance(error, ServingError)
            assert error.reason is Reason.CANCELLED
            while plane.cancelled == 0:
                await asyncio.sleep(0)
            await infer(remote, request("m", [1.0]))
            assert (plane.cancelled, len(taken.answers)) == (1, 1)
            done = Taken()
            ticket = remote.infer(request("m", [1.0]), done)
            await done.final
            ticket.cancel()
            await infer(remote, request("m", [1.0]))
            assert len(done.answers) == 1

    run(body())


def test_a_full_ring_refuses_and_recovers():
    async def body() -> None:
        plane = DoublingPlane()
        async with linked(plane) as remote:
            held = [Taken() for _ in range(LAYOUT.messages)]
            tickets: list[Ticket] = [remote.infer(request("hold", [1.0]), taken) for taken in held]
            error = await infer(remote, request("m", [1.0]))
            assert isinstance(error, ServingError)
            assert (error.reason, error.retry_after_s) == (Reason.OVERLOADED, 1.0)
            assert error.message == "64 requests are under way from one front end, as many as may be"
            for ticket in tickets:
                ticket.cancel()
            while plane.cancelled < len(tickets):
                await asyncio.sleep(0)
            plane.held.clear()
            while not isinstance(await infer(remote, request("m", [1.0])), InferResponse):
                await asyncio.sleep(0)

    run(body())


def test_no_room_for_a_tensor_is_overload_and_more_than_the_ring_is_too_large():
    async def body() -> None:
        plane = DoublingPlane()
        async with linked(plane) as remote:
            half = np.zeros(LAYOUT.area_bytes // 2, np.uint8)
            taken = Taken()
            ticket = remote.infer(request("hold", half), taken)
            error = await infer(remote, request("m", half))
            assert isinstance(error, ServingError)
            assert error.reason is Reason.OVERLOADED
            assert error.message.startswith("the engine process is behind: no ")
            error = await infer(remote, request("m", half, half))
            assert isinstance(error, ServingError)
            assert error.reason is Reason.TOO_LARGE
            assert error.message.endswith(f"bytes, the engine process takes {LAYOUT.area_bytes}")
            ticket.cancel()
            while plane.cancelled == 0:
                await asyncio.sleep(0)
            plane.held.clear()
            while not isinstance(await infer(remote, request("m", half)), InferResponse):
                await asyncio.sleep(0)

    run(body())


def test_an_answer_larger_than_the_ring_is_an_error():
    class Growing(DoublingPlane):
        def infer(self, request: InferRequest, done: Any) -> Ticket:
            done(InferResponse("m", "1", "7", (tensor("y", np.zeros(LAYOUT.area_bytes, np.uint8)),)))
            return super().infer(InferRequest("absent", "", "", ()), lambda _: None)

    async def body() -> None:
        async with linked(Growing()) as remote:
            error = await infer(remote, request("m", [1.0]))
            assert isinstance(error, ServingError)
            assert error.reason is Reason.TOO_LARGE
            assert error.message.endswith(f"the ring takes up to {LAYOUT.area_bytes}")

    run(body())


def test_inputs_stay_while_the_plane_holds_them():
    """Their place is taken again when nothing looks at them any more, not when the answer was given."""

    async def body() -> None:
        plane = DoublingPlane()
        async with linked(plane, Layout(messages=64, area_bytes=1 << 16)) as remote:
            remote.infer(request("hold", np.full(1000, 7.0)), Taken()).cancel()
            for number in range(200):
                answer = await infer(remote, request("m", np.full(1000, float(number))))
                assert isinstance(answer, InferResponse)
                assert answer.outputs[0].values()[0] == 2 * number
            assert (plane.held[0].inputs[0].values() == 7).all()

    run(body())


def test_an_engine_that_goes_away_fails_what_is_under_way_once():
    async def body() -> None:
        front, engine = new_link(LAYOUT)
        remote, server = RemotePlane(LAYOUT), PlaneServer(DoublingPlane(), LAYOUT)
        await remote.attach(front)
        await server.attach(engine)
        await is_ready(remote)
        held = [Taken() for _ in range(10)]
        for taken in held:
            remote.infer(request("hold", [1.0]), taken)
        calling = asyncio.ensure_future(remote.call("a", {}))
        await asyncio.sleep(0)
        server.close()
        remote.ended("signal 11", 2.0)
        for taken in held:
            error = await taken.final
            assert isinstance(error, ServingError)
            assert (error.reason, error.retry_after_s) == (Reason.UNAVAILABLE, 2.0)
            assert error.message == "the engine process ended (signal 11) while the request was under way"
        with pytest.raises(ServingError, match="signal 11"):
            await calling
        assert await remote.call("server_live", {}) == {"live": True}
        assert await remote.call("server_ready", {}) == {"ready": False}

    run(body())


def test_a_front_end_that_goes_away_has_its_requests_cancelled():
    async def body() -> None:
        plane = DoublingPlane()
        async with linked(plane) as remote:
            remote.infer(request("hold", [1.0]), Taken())
            while not plane.held:
                await asyncio.sleep(0)
            remote.close()
            while plane.cancelled == 0:
                await asyncio.sleep(0)

    run(body())


def test_thousands_of_requests_leave_no_descriptor_and_no_memory():
    async def body() -> None:
        plane = DoublingPlane()
        await burst(plane, 200)
        gc.collect()
        before = len(os.listdir("/proc/self/fd")), rings_mapped()
        for _ in range(10):
            await burst(plane, 300)
        gc.collect()
        assert (len(os.listdir("/proc/self/fd")), rings_mapped()) == before

    async def burst(plane: DoublingPlane, count: int) -> None:
        async with linked(plane) as remote:
            for _ in range(count // 20):
                asked = [request("m", np.full(2000, i, np.float32), STRINGS) for i in range(20)]
                for answer in await asyncio.gather(*(infer(remote, a) for a in asked)):
                    assert isinstance(answer, InferResponse)

    run(body())


def rings_mapped() -> int:
    return Path("/proc/self/maps").read_text().count("memfd:fusee-ring")


# What the other side may write.


def _header(asked: InferRequest) -> tuple[bytes, np.ndarray[Any, Any]]:
    header, parts = encode_request(asked)
    content = bytearray()
    for part in parts:
        content += bytes(part) + bytes(aligned(len(part)) - len(part))
    return header, np.frombuffer(content or b"", np.uint8)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
regions = st.builds(Region, names, st.integers(0, 2**40), st.integers(0, 2**40))
values = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), names)


@given(
    names,
    st.lists(st.sampled_from(ARRAYS), max_size=4),
    st.lists(st.builds(WantedOutput, names, st.integers(0, 9), st.one_of(st.none(), regions)), max_size=3),
    st.dictionaries(names, values, max_size=3),
    st.one_of(st.none(), st.integers(0, 2**62)),
    regions,
)
def test_requests_come_out_as_they_went_in(name, arrays, outputs, parameters, deadline_ns, region):
    asked = request(name, *arrays)
    asked.inputs += (Tensor("there", "FP32", (3,), None, region),)
    asked.outputs, asked.parameters, asked.deadline_ns = tuple(outputs), parameters, deadline_ns
    asked.priority, asked.timeout_us, asked.traceparent, asked.is_streaming = 2, 3, "00-a-b-01", True
    found = decode_request(*_header(asked))
    for one, other in zip(found.inputs, asked.inputs, strict=True):
        assert_same_tensor(one, other)
    found.inputs = asked.inputs = ()
    assert found == asked


@settings(max_examples=200)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_random_headers_are_refused(header: bytes, content: bytes):
    with pytest.raises(CorruptError):
        decode_request(header, np.frombuffer(content, np.uint8))
    with pytest.raises(CorruptError):
        decode_answer(header, np.frombuffer(content, np.uint8), Timing())


_json = st.recursive(st.one_of(st.none(), values), lambda inner: st.lists(inner, max_size=6), max_leaves=30)


@given(st.data())
def test_headers_with_a_part_replaced_are_refused_or_mean_something(data: st.DataObject):
    import orjson

    header, content = _header(request("m", np.arange(3.0), STRINGS))
    document = orjson.loads(header)
    document[data.draw(st.integers(0, len(document) - 1))] = data.draw(_json)
    damaged = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
    with suppress(CorruptError, ServingError):
        decode_request(damaged, content)


@pytest.mark.parametrize("is_engine", [True, False])
@pytest.mark.parametrize(
    ("kind", "header"), [(Kind.REQUEST, b"{}"), (Kind.ANSWER, b"[]"), (9, b""), (0, b""), (Kind.ANSWER, b'["x"]')]
)
def test_what_is_no_message_cuts_the_other_side_off(is_engine: bool, kind: int, header: bytes):
    async def body() -> None:
        logged: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context["message"]))
        front, engine = new_link(LAYOUT)
        liar = Channel((engine if is_engine else front).ends, LAYOUT, not is_engine, _ignore, _nothing, _ignore)
        liar_link = engine if is_engine else front
        remote, server = RemotePlane(LAYOUT), PlaneServer(DoublingPlane(), LAYOUT)
        await (remote.attach(front) if is_engine else server.attach(engine))
        if kind == 0:
            liar.send_short(0, 12345)
        else:
            liar.send(kind, 1, header)
        while not logged:
            await asyncio.sleep(0)
        assert "is cut off: " in logged[0]
        liar_link.control.setblocking(False)
        while await asyncio.get_running_loop().sock_recv(liar_link.control, 100):
            pass  # the end comes: the other side has hung up
        liar.close()
        liar_link.control.close()
        remote.close()
        server.close()

    run(body())


def _ignore(_: Message | str) -> None:
    """Nothing is expected."""


def _nothing() -> None:
    """Nothing is expected."""


def test_an_error_in_one_answers_callback_does_not_lose_the_next():
    async def body() -> None:
        logged: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context["exception"]))
        async with linked(DoublingPlane()) as remote:

            def fail(_: Answer) -> None:
                raise ZeroDivisionError

            remote.infer(request("m", [1.0]), fail)
            answers = await asyncio.gather(*(infer(remote, request("m", [1.0])) for _ in range(5)))
            assert all(isinstance(a, InferResponse) for a in answers)
            assert [type(e) for e in logged] == [ZeroDivisionError]

    run(body())


def test_timing_comes_back_with_the_answer():
    asked = Timing(1)
    header, _ = encode_response(InferResponse("m", "1", "7", ()), Timing(1, 2, 3, 4, 5, 6))
    decode_answer(header, np.empty(0, np.uint8), asked)
    assert asked == Timing(1, 2, 3, 4, 5, 6)


def test_what_front_ends_count_is_merged_and_pages_are_shown(monkeypatch: pytest.MonkeyPatch):
    async def body() -> None:
        merged = ReportedCounts()

        async def drawn() -> Content:
            return Content("text/plain", b"drawn: \xc3\xbc")

        internal = {REPORT: merged.report, PAGE: drawing([Page("/metrics", Scope.READ, drawn)])}
        async with linked(DoublingPlane(), internal=internal) as remote:
            counts = DoorCounts()
            counts.answered("http", 200)
            await report(remote, counts)
            counts.answered("http", 200)
            counts.answered("http", 404)
            await report(remote, counts)
            monkeypatch.setattr(os, "getpid", lambda: -1)  # another front end, or this one started again
            await report(remote, counts)
            assert list(merged.items()) == [(("http", 200), 4), (("http", 404), 2)]
            page = shown(remote, "/metrics", Scope.READ)
            assert await page.render() == Content("text/plain", "drawn: ü".encode())
            with pytest.raises(ServingError, match="there is no page /else"):
                await shown(remote, "/else", Scope.READ).render()

    run(body())
