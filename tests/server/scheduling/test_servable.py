"""Engines behind a queue: the right answer for everyone, once, whatever else happens at the same time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

import fusee
from fusee.base.errors import InternalError, RequestError
from fusee.base.types import Array
from fusee.server.errors import Reason, ServingError
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.scheduling.instance import Arrays, Instance
from fusee.server.scheduling.servable import EngineServable, serve_engine
from fusee.server.types import InferRequest, InferResponse, Tensor, WantedOutput

Answer = InferResponse | ServingError
GREEDY = "max_batch_size: 8 dynamic_batching {}"
PATIENT = "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 60000000 }"


def config_of(text: str) -> ModelConfig:
    return text_format.Parse('name: "m" ' + text, ModelConfig())


def serve(engine: fusee.Engine, text: str, budget_s: float = 0.05) -> EngineServable:
    loop = asyncio.get_running_loop()
    return serve_engine("m", "1", engine, config_of(text), loop.call_soon_threadsafe, threads=1, budget_s=budget_s)


def request(array: Array, name: str = "x", **more: Any) -> InferRequest:
    return InferRequest("m", "", "", (Tensor(name, "FP32", array.shape, array),), **more)


def rows(n: int, value: float = 0.0) -> Array:
    return np.full((n, 16), value, np.float32)


def ask(servable: EngineServable, asked: InferRequest) -> asyncio.Future[Answer]:
    """The future answer; a second answer to the same request would raise."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    servable.submit(asked, future.set_result)
    return future


def output(answer: Answer) -> Array:
    assert isinstance(answer, InferResponse), answer
    return answer.outputs[0].values()


def error(answer: Answer) -> ServingError:
    assert isinstance(answer, ServingError)
    return answer


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def within_time() -> None:
        await asyncio.wait_for(scenario(), 60)

    asyncio.run(within_time())


class Gate:
    """Holds runs of instances back until they are let through, and may make them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.failure: Exception | None = None
        self._open = threading.Semaphore(0)
        self._entered: asyncio.Queue[int] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        run = Instance.run

        def held(instance: Instance, arrays: Arrays) -> Arrays:
            size = len(next(iter(arrays.values())))
            self.sizes.append(size)
            self._loop.call_soon_threadsafe(self._entered.put_nowait, size)
            self._open.acquire()
            if self.failure is not None:
                raise self.failure
            return run(instance, arrays)

        monkeypatch.setattr(Instance, "run", held)

    async def entered(self) -> int:
        """Wait until an instance has begun; the size of its batch."""
        return await self._entered.get()

    def let(self, runs: int) -> None:
        self._open.release(runs)


def test_a_request_is_answered_at_once_where_that_is_quickest(identity: fusee.Engine):
    async def scenario() -> None:
        servable = serve(identity, GREEDY)
        answers: list[Answer] = []
        servable.submit(request(rows(2, 3.0)), answers.append)
        np.testing.assert_array_equal(output(answers[0]), rows(2, 3.0))
        assert servable.statistics.execution_count == 1
        assert servable.statistics.inference_count == 2
        await servable.close()

    play(scenario)


def test_a_request_takes_its_arrays_to_the_engine_uncopied(identity: fusee.Engine, monkeypatch: pytest.MonkeyPatch):
    async def scenario() -> None:
        servable = serve(identity, GREEDY, budget_s=0)
        seen: list[Array] = []
        run = Instance.run
        monkeypatch.setattr(Instance, "run", lambda self, arrays: seen.append(arrays["x"]) or run(self, arrays))
        array = rows(3)
        await ask(servable, request(array))
        assert seen[0] is array
        await servable.close()

    play(scenario)


def test_requests_that_wait_are_joined_and_each_gets_its_part(identity: fusee.Engine, monkeypatch: pytest.MonkeyPatch):
    async def scenario() -> None:
        servable = serve(identity, GREEDY.replace("{}", "{ max_queue_delay_microseconds: 1 }"))
        gate = Gate(monkeypatch)
        first = ask(servable, request(rows(1, 9.0)))
        await gate.entered()
        others = [ask(servable, request(rows(n, n))) for n in (1, 2, 3)]
        gate.let(2)
        assert await first
        for n, answer in enumerate(await asyncio.gather(*others), 1):
            np.testing.assert_array_equal(output(answer), rows(n, n))
        assert gate.sizes == [1, 6]
        assert {s: t.compute_infer.count for s, t in servable.statistics.batches.items()} == {1: 1, 6: 1}
        await servable.close()

    play(scenario)


def test_outputs_handed_out_are_never_written_again(adder: fusee.Engine):
    async def scenario() -> None:
        servable = serve(
            adder, "max_batch_size: 4 dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 1000 }"
        )
        kept: list[tuple[float, Array]] = []
        for turn in range(30):
            values = [float(10 * turn + i) for i in range(4)]
            asked = [
                InferRequest(
                    "m", "", "", tuple(Tensor(n, "FP32", (1, 4), np.full((1, 4), v, np.float32)) for n in "ab")
                )
                for v in values
            ]
            answers = await asyncio.gather(*(ask(servable, r) for r in asked))
            kept += zip(values, map(output, answers), strict=True)
        for value, array in kept:
            np.testing.assert_array_equal(array, np.full((1, 4), 2 * value, np.float32))
        assert servable.statistics.execution_count < len(kept)
        await servable.close()

    play(scenario)


@pytest.mark.parametrize(
    "text",
    [
        "max_batch_size: 8",
        GREEDY,
        GREEDY + " instance_group { count: 3 }",
        "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 200 } instance_group { count: 2 }",
        "max_batch_size: 8 dynamic_batching { preserve_ordering: true max_queue_delay_microseconds: 50 } "
        "instance_group { count: 3 }",
    ],
)
def test_every_one_of_many_requests_gets_its_own_answer(identity: fusee.Engine, text: str):
    async def scenario() -> None:
        servable = serve(identity, text)
        order: list[int] = []

        async def client(number: int) -> None:
            for turn in range(40):
                n, value = 1 + (number + turn) % 3, 1000.0 * number + turn
                np.testing.assert_array_equal(output(await ask(servable, request(rows(n, value)))), rows(n, value))

        await asyncio.gather(*(client(number) for number in range(20)))
        futures = [ask(servable, request(rows(1, i))) for i in range(50)]
        for i, future in enumerate(futures):
            future.add_done_callback(lambda _, i=i: order.append(i))
        await asyncio.gather(*futures)
        assert "preserve" not in text or order == sorted(order)
        assert servable.statistics.success.count == 850
        assert servable.statistics.pending == 0
        assert servable.queue_length == 0
        await servable.close()

    play(scenario)


def test_with_preserved_order_a_quick_batch_waits_for_a_slow_one(
    identity: fusee.Engine, monkeypatch: pytest.MonkeyPatch
):
    async def scenario() -> None:
        text = "max_batch_size: 1 dynamic_batching { preserve_ordering: true max_queue_delay_microseconds: 1 }"
        servable = serve(identity, text + " instance_group { count: 2 }")
        released = threading.Event()
        run = Instance.run

        def slow_first(instance: Instance, arrays: Arrays) -> Arrays:
            if arrays["x"][0, 0] == 0:
                released.wait()
            else:
                released.set()
            return run(instance, arrays)

        monkeypatch.setattr(Instance, "run", slow_first)
        order: list[float] = []
        futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
        for i, future in enumerate(futures):

            def done(answer: Answer, future: asyncio.Future[None] = future) -> None:
                order.append(output(answer)[0, 0])
                future.set_result(None)

            servable.submit(request(rows(1, i)), done)
        await asyncio.gather(*futures)
        assert order == [0.0, 1.0]
        await servable.close()

    play(scenario)


def test_wanted_outputs_and_wrong_requests(identity: fusee.Engine):
    async def scenario() -> None:
        servable = serve(identity, GREEDY)
        answer = await ask(servable, request(rows(1), outputs=(WantedOutput("y"),)))
        assert isinstance(answer, InferResponse)
        assert [t.name for t in answer.outputs] == ["y"]
        wrong = error(await ask(servable, request(rows(9))))
        assert wrong.message == "inference request batch-size must be <= 8 for 'm'"
        assert servable.statistics.failures["OTHER"] == 1
        await servable.close()

    play(scenario)


def test_a_cancelled_request_leaves_the_queue_and_one_under_way_is_dropped(
    identity: fusee.Engine, monkeypatch: pytest.MonkeyPatch
):
    async def scenario() -> None:
        servable = serve(identity, "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 1 }")
        gate = Gate(monkeypatch)
        answers: list[Answer] = []
        under_way = servable.submit(request(rows(1)), answers.append)
        await gate.entered()
        queued = servable.submit(request(rows(1)), answers.append)
        kept = ask(servable, request(rows(1, 5.0)))
        queued.cancel()
        under_way.cancel()
        under_way.cancel()
        assert [error(a).reason for a in answers] == [Reason.CANCELLED, Reason.CANCELLED]
        gate.let(2)
        np.testing.assert_array_equal(output(await kept), rows(1, 5.0))
        assert gate.sizes == [1, 1]
        assert len(answers) == 2
        assert servable.statistics.failures["CANCELED"] == 2
        assert servable.statistics.pending == 0
        await servable.close()

    play(scenario)


def test_a_full_queue_refuses_with_a_time_to_come_back(identity: fusee.Engine, monkeypatch: pytest.MonkeyPatch):
    async def scenario() -> None:
        servable = serve(
            identity,
            "max_batch_size: 1 dynamic_batching { max_queue_delay_microseconds: 1 "
            "default_queue_policy { max_queue_size: 2 } }",
        )
        gate = Gate(monkeypatch)
        accepted = [ask(servable, request(rows(1)))]
        await gate.entered()
        accepted += [ask(servable, request(rows(1))) for _ in range(2)]
        refused = error(await ask(servable, request(rows(1))))
        assert (refused.reason, refused.message) == (Reason.OVERLOADED, "Exceeds maximum queue size")
        assert refused.retry_after_s is not None
        assert refused.retry_after_s > 0
        gate.let(3)
        assert all(isinstance(a, InferResponse) for a in await asyncio.gather(*accepted))
        assert servable.statistics.failures["REJECTED"] == 1
        await servable.close()

    play(scenario)


def test_what_expires_is_told_while_all_instances_compute(identity: fusee.Engine, monkeypatch: pytest.MonkeyPatch):
    async def scenario() -> None:
        policy = "default_queue_policy { allow_timeout_override: true }"
        servable = serve(
            identity, "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 1 " + policy + " }"
        )
        gate = Gate(monkeypatch)
        first = ask(servable, request(rows(1)))
        await gate.entered()
        expired = ask(servable, request(rows(1), timeout_us=2000))
        missed = ask(servable, request(rows(1), deadline_ns=monotonic_ns() + 5_000_000))
        assert error(await missed).reason is Reason.DEADLINE
        assert error(await expired).reason is Reason.EXPIRED
        assert not first.done()
        gate.let(1)
        await first
        await servable.close()

    play(scenario)


def test_close_answers_what_was_accepted_and_holds_nothing_back(identity: fusee.Engine):
    async def scenario() -> None:
        servable = serve(identity, PATIENT)
        waiting = [ask(servable, request(rows(1, i))) for i in range(3)]
        await servable.close()
        for i, answer in enumerate(await asyncio.gather(*waiting)):
            np.testing.assert_array_equal(output(answer), rows(1, i))
        late = error(await ask(servable, request(rows(1))))
        assert late.reason is Reason.UNAVAILABLE
        assert not [t for t in threading.enumerate() if t.name.startswith("m-")]

    play(scenario)


@pytest.mark.parametrize(
    ("failure", "reason", "counted"),
    [
        (ServingError(Reason.INTERNAL, "the model broke"), Reason.INTERNAL, "BACKEND"),
        (ServingError(Reason.INVALID, "index 9 is outside"), Reason.INVALID, "OTHER"),
    ],
)
def test_a_failing_run_fails_its_requests_alone(
    identity: fusee.Engine, monkeypatch: pytest.MonkeyPatch, failure: ServingError, reason: Reason, counted: str
):
    async def scenario() -> None:
        servable = serve(identity, "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 1 }")
        gate = Gate(monkeypatch)
        gate.failure = failure
        gate.let(1)
        assert error(await ask(servable, request(rows(1)))).reason is reason
        assert servable.statistics.failures[counted] == 1
        gate.failure = None
        gate.let(1)
        np.testing.assert_array_equal(output(await ask(servable, request(rows(1, 2.0)))), rows(1, 2.0))
        await servable.close()

    play(scenario)


class _Session:
    """A session whose runs raise."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def run(self, inputs: Arrays) -> Arrays:
        raise self._failure


@pytest.mark.parametrize(
    ("failure", "reason", "message"),
    [
        (RequestError("index 9 is outside"), Reason.INVALID, "index 9 is outside"),
        (InternalError("phase 2 broke"), Reason.INTERNAL, "phase 2 broke"),
        (ZeroDivisionError("by zero"), Reason.INTERNAL, "ZeroDivisionError in the model: by zero"),
    ],
)
def test_whatever_a_session_raises_becomes_an_answer(failure: Exception, reason: Reason, message: str):
    with pytest.raises(ServingError) as caught:
        Instance(_Session(failure)).run({})  # pyright: ignore[reportArgumentType]
    assert (caught.value.reason, caught.value.message) == (reason, message)


def test_one_wrong_request_of_a_batch_fails_alone(identity: fusee.Engine, monkeypatch: pytest.MonkeyPatch):
    async def scenario() -> None:
        text = "max_batch_size: 4 dynamic_batching { preferred_batch_size: 3 max_queue_delay_microseconds: 60000000 }"
        servable = serve(identity, text)
        run = Instance.run

        def picky(instance: Instance, arrays: Arrays) -> Arrays:
            if (arrays["x"] < 0).any():
                raise ServingError(Reason.INVALID, "below zero")
            return run(instance, arrays)

        monkeypatch.setattr(Instance, "run", picky)
        answers = await asyncio.gather(*(ask(servable, request(rows(1, v))) for v in (1.0, -1.0, 2.0)))
        assert error(answers[1]).message == "below zero"
        np.testing.assert_array_equal(output(answers[0]), rows(1, 1.0))
        np.testing.assert_array_equal(output(answers[2]), rows(1, 2.0))
        await servable.close()

    play(scenario)


def test_an_engine_of_one_batch_size_runs_its_requests_one_at_a_time(fixed: fusee.Engine):
    async def scenario() -> None:
        servable = serve(fixed, GREEDY)
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        answers = await asyncio.gather(*(ask(servable, request(array)) for _ in range(3)))
        for answer in answers:
            np.testing.assert_array_equal(output(answer), -array)
        assert not servable.options.is_batching
        wrong = error(await ask(servable, request(array[:1])))
        assert wrong.reason is Reason.INVALID
        await servable.close()

    play(scenario)


def test_every_stage_of_a_request_has_its_time(identity: fusee.Engine):
    async def scenario() -> None:
        for text in (GREEDY, "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 1 }"):
            servable = serve(identity, text)
            asked = request(rows(1))
            await ask(servable, asked)
            t = asked.timing
            stages = [t.received_ns, t.queued_ns, t.started_ns, t.input_done_ns, t.infer_done_ns, t.finished_ns]
            assert stages == sorted(stages)
            assert stages[0] > 0
            await servable.close()

    play(scenario)


def test_it_says_why_requests_waited(identity: fusee.Engine):
    async def scenario() -> None:
        servable = serve(identity, PATIENT)
        await asyncio.gather(*(ask(servable, request(rows(1))) for _ in range(4)))
        explained = servable.explain()
        assert [(e.batch_size, e.requests, e.why) for e in explained] == [
            (4, 4, "nothing more fits into the batch")
        ] * 4
        assert all(e.waited_us >= 0 for e in explained)
        await servable.close()

    play(scenario)


def test_batches_are_measured_before_the_first_request(identity: fusee.Engine):
    async def scenario() -> None:
        servable = serve(identity, "max_batch_size: 6 dynamic_batching { preferred_batch_size: 3 }", budget_s=60)
        ((_, table),) = servable.latencies.items()
        assert list(table.figures) == [1, 2, 3, 4, 6]
        assert all(ns > 0 for ns in table.figures.values())
        assert servable.statistics.execution_count == 0
        await servable.close()

    play(scenario)


def test_threads_end_though_nothing_ever_ran(identity: fusee.Engine):
    async def scenario() -> None:
        servable = serve(identity, GREEDY + " instance_group { count: 2 }")
        assert len([t for t in threading.enumerate() if t.name.startswith("m-")]) == 3
        await servable.close()
        assert not [t for t in threading.enumerate() if t.name.startswith("m-")]

    play(scenario)
