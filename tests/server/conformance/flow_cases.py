"""Cases of several requests and answers: asynchronous, concurrent, streamed, cancelled, late."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException

from server.conformance.case import Case, Cases
from server.conformance.clients import ALL, BOTH_GRPC, GRPC, GRPC_AIO, HTTP, Client, In, refused
from server.conformance.records import Record, error_record
from server.conformance.service_cases import NUMBERS, SUMMANDS

FLOW = Cases()
WAIT_S = 20.0


def delay(ms: int) -> list[In]:
    return [In("DELAY_MS", np.array([[ms]], np.uint32))]


def numbered(count: int) -> list[list[In]]:
    """Inputs of as many requests, each with its own numbers."""
    return [[In("INPUT0", NUMBERS + i), In("INPUT1", NUMBERS)] for i in range(count)]


def outcome(client: Client, result: Any, error: InferenceServerException | None, names: tuple[str, ...] = ()) -> Record:
    return error_record(error.status(), error.message(), names) if error else client.result(result)


def at_once(client: Client, model: str, requests: Sequence[Sequence[In]], **options: Any) -> list[Record]:
    """All requests under way together; their records in the order of the requests."""
    arguments = [{**client.request(model, inputs), **options} for inputs in requests]
    if client.is_aio:
        return client.run(_gathered(client, arguments))
    if client.form == HTTP:
        handles = [client.raw.async_infer(**each) for each in arguments]
        return [refused((), lambda h=handle: client.result(h.get_result())) for handle in handles]
    records: list[Record] = [None] * len(arguments)
    remaining = threading.Semaphore(0)

    def done(index: int, result: Any, error: InferenceServerException | None) -> None:
        answer = outcome(client, result, error)
        records[index] = answer if error else {"answer": answer}
        remaining.release()

    for index, each in enumerate(arguments):
        client.raw.async_infer(**each, callback=partial(done, index))
    assert all(remaining.acquire(timeout=WAIT_S) for _ in arguments)
    return records


async def _gathered(client: Client, arguments: Sequence[dict[str, Any]]) -> list[Record]:
    found = await asyncio.gather(*(client.raw.infer(**each) for each in arguments), return_exceptions=True)
    return [
        error_record(each.status(), each.message(), ())
        if isinstance(each, InferenceServerException)
        else {"answer": client.result(each)}
        for each in found
    ]


def streamed(client: Client, asked: Sequence[dict[str, Any]], names: tuple[str, ...] = ()) -> list[Record]:
    """What one stream answers to those requests, until the server ends it."""
    if client.form == GRPC_AIO:
        return client.run(_streamed(client, asked, names))
    records: list[Record] = []
    client.raw.start_stream(lambda result, error: records.append(outcome(client, result, error, names)))
    for each in asked:
        client.raw.async_stream_infer(**each)
    client.raw.stop_stream()
    return records


async def _streamed(client: Client, asked: Sequence[dict[str, Any]], names: tuple[str, ...]) -> list[Record]:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for each in asked:
            yield each

    return [outcome(client, result, error, names) async for result, error in client.raw.stream_infer(requests())]


@FLOW.case("many at once", *ALL)
def _(client: Client) -> Record:
    return at_once(client, "simple", numbered(12))


@FLOW.case("many at once, some wrong", *ALL)
def _(client: Client) -> Record:
    bad = [In("INPUT0", NUMBERS[:, :3]), In("INPUT1", NUMBERS)]
    return at_once(client, "simple", [*numbered(4), bad, *numbered(3), bad])


@FLOW.case("many lengths at once", *ALL)
def _(client: Client) -> Record:
    return at_once(client, "identity_fp32", [[In("INPUT0", np.ones((1, n), np.float32))] for n in (3, 4, 3, 5, 4, 3)])


@FLOW.case("waiting longer than the timeout", *ALL)
def _(client: Client) -> Record:
    """One of three runs; the others' time in the queue is over when it ends."""
    records = at_once(client, "slow", [delay(300)] * 3, timeout=100_000)
    return sorted(each.get("error", {}).get("status", "answered") for each in records)


@FLOW.case("a full queue", *BOTH_GRPC)
def _(client: Client) -> Record:
    records = at_once(client, "slow", [delay(50)] * 16)
    return sorted({each.get("error", {}).get("status", "answered") for each in records})


@FLOW.case("the caller's deadline", *BOTH_GRPC)
def _(client: Client) -> Record:
    late = refused((), lambda: client.infer("slow", delay(400), client_timeout=0.1))
    return {"late": late, "then": client.infer("slow", delay(0))}


@FLOW.case("a cancelled request", GRPC)
def _(client: Client) -> Record:
    answered = threading.Event()
    records: list[Record] = []

    def done(result: Any, error: InferenceServerException | None) -> None:
        records.append(outcome(client, result, error))
        answered.set()

    under_way = client.raw.async_infer(**client.request("slow", delay(300)), callback=done)
    under_way.cancel()
    assert answered.wait(WAIT_S)
    return {"cancelled": records, "then": client.infer("slow", delay(0))}


@FLOW.case("a cancelled task", GRPC_AIO)
def _(client: Client) -> Record:
    async def cancelled() -> bool:
        task = asyncio.ensure_future(client.raw.infer(**client.request("slow", delay(300))))
        await asyncio.sleep(0)
        task.cancel()
        return isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)

    return {"cancelled": client.run(cancelled()), "then": client.infer("slow", delay(0))}


@FLOW.case("a stream", *BOTH_GRPC)
def _(client: Client) -> Record:
    asked = [{**client.request("simple", each), "request_id": f"r{i}"} for i, each in enumerate(numbered(5))]
    return sorted(streamed(client, asked), key=lambda each: each.get("id", ""))


@FLOW.case("a stream with an empty last answer", *BOTH_GRPC)
def _(client: Client) -> Record:
    asked = {**client.request("simple", SUMMANDS), "enable_empty_final_response": True}
    return streamed(client, [asked])


@FLOW.case("a stream with errors in it", *BOTH_GRPC)
def _(client: Client) -> Record:
    """Each on a stream of its own, for an error may come before an earlier answer."""
    bad = [In("INPUT0", NUMBERS[:, :3]), In("INPUT1", NUMBERS)]
    return {
        "shape": streamed(client, [client.request("simple", bad)], ("INPUT0",)),
        "model": streamed(client, [client.request("unknown", SUMMANDS)], ("unknown",)),
        "version": streamed(client, [{**client.request("simple", SUMMANDS), "model_version": "7"}], ("simple",)),
    }


def _repeated(count: int, has_final: bool, client: Client) -> Record:
    request = client.request("repeat", [In("IN", np.arange(10, 10 + count, dtype=np.int32))])
    return streamed(client, [{**request, "request_id": "r", "enable_empty_final_response": has_final}])


FLOW += [
    Case("several answers to one request", BOTH_GRPC, partial(_repeated, 4, False)),
    Case("several answers and an empty last one", BOTH_GRPC, partial(_repeated, 4, True)),
    Case("no answer but the empty last one", BOTH_GRPC, partial(_repeated, 0, True)),
]


@FLOW.case("a stream of two models", *BOTH_GRPC)
def _(client: Client) -> Record:
    repeat = {**client.request("repeat", [In("IN", np.array([1, 2], np.int32))]), "request_id": "repeat"}
    simple = {**client.request("simple", SUMMANDS), "request_id": "simple"}
    records = streamed(
        client,
        [
            repeat,
            simple,
            {**client.request("classes", [In("INPUT0", np.ones((1, 10), np.float32))]), "request_id": "classes"},
        ],
    )
    return sorted(records, key=lambda each: (each.get("id", ""), str(each.get("outputs"))))
