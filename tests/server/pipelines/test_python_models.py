"""Pipelines in Python: how they are declared, loaded, run, queued, cancelled."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from threading import Event, Semaphore
from time import monotonic_ns
from typing import Annotated, Any, NamedTuple, TypedDict

import numpy as np
import pytest

from fusee.base.errors import RequestError
from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.pipelines import Array, Call, Pipeline
from fusee.server.pipelines import tensor as typed
from fusee.server.pipelines.backends import complete_pipeline, serve_python
from fusee.server.pipelines.python_model import AHEAD, PythonModel
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.repository.config import parse_config
from fusee.server.repository.loading import LoadContext
from fusee.server.settings import Settings
from fusee.server.types import InferResponse, TensorSpec, WantedOutput
from server.pipelines.toy_models import PATIENCE_S, Answers, Loop, Shelf, Toy, request, shelf, tensor, toy

Vector = Annotated[Array, typed("FP32", -1)]
Words = Annotated[Array, typed("BYTES", -1)]


class Both(NamedTuple):
    twice: Vector
    name: Words


@dataclass
class AsDataclass:
    twice: Vector


class AsMapping(TypedDict):
    twice: Vector


X = tensor("x", "FP32", [1, 2])


@contextmanager
def serving(function: Any, loop: Loop, models: Shelf | None = None, text: str = "") -> Iterator[PythonModel]:
    config = parse_config(f'name: "py" instance_group {{ count: 2 }} {text}', "py")
    pipeline = function if isinstance(function, Pipeline) else Pipeline.of(function)
    complete_pipeline(config, pipeline)
    served = PythonModel(pipeline, config, "1", models or shelf(), loop.post, {})
    try:
        yield served
    finally:
        served.executor.shutdown()


def ask(function: Any, *inputs: Any, models: Shelf | None = None, text: str = "", **fields: Any) -> Answers:
    loop, answers = Loop(), Answers()
    with serving(function, loop, models, text) as served:
        served.submit(request("py", *inputs, **fields), answers)
        loop.until(lambda: answers.given)
        assert served.statistics.pending == 0
    return answers


def double(call: Call, x: Vector) -> Both:
    return Both(x * 2, np.array(["zwei", b"\xff"], object))


def doubler(is_held: bool = False) -> Toy:
    config = (
        'name: "double" input { name: "x" data_type: TYPE_FP32 dims: [-1] } '
        'output { name: "y" data_type: TYPE_FP32 dims: [-1] }'
    )
    return toy(config, lambda x: {"y": x * 2}, is_held)


def test_annotations_declare_the_tensors():
    assert Pipeline.of(double) == Pipeline(
        double,
        (TensorSpec("x", "FP32", (-1,)),),
        (TensorSpec("twice", "FP32", (-1,)), TensorSpec("name", "BYTES", (-1,))),
    )


@pytest.mark.parametrize("answer", [Both, AsDataclass, AsMapping])
def test_forms_of_answers(answer: Any):
    def run(call: Call, x: Vector) -> Any:
        return answer(**{n: x * 2 if n == "twice" else np.array(["n"]) for n in answer.__annotations__})

    run.__annotations__["return"] = answer
    assert ask(run, X, outputs=(WantedOutput("twice"),)).outputs == {"twice": [2, 4]}


def test_a_single_output_needs_no_name():
    def run(call: Call, x: Vector) -> Vector:
        return x + 1

    assert ask(run, X).outputs == {"output": [2, 3]}


def test_strings_go_in_and_come_out_as_bytes():
    def run(call: Call, words: Words) -> Words:
        return np.array([w.decode().upper() for w in words])

    assert ask(run, tensor("words", "BYTES", [b"a", "ö".encode()])).outputs == {"output": [b"A", "Ö".encode()]}


def test_an_optional_input():
    def run(call: Call, x: Vector, shift: Vector | None = None) -> Vector:
        return x if shift is None else x + shift

    run.__annotations__["shift"] = Vector
    assert ask(run, X).outputs == {"output": [1, 2]}
    assert ask(run, X, tensor("shift", "FP32", [10])).outputs == {"output": [11, 12]}


def test_a_declared_pipeline_needs_no_annotations():
    def run(call: Any, **inputs: Any) -> Mapping[str, Any]:
        return {"a": inputs["input:0"].sum(), "b": [1, 2]}

    outputs = (TensorSpec("a", "FP32", ()), TensorSpec("b", "INT64", (2,)))
    pipeline = Pipeline(run, (TensorSpec("input:0", "FP32", (-1,)),), outputs)
    assert ask(pipeline, tensor("input:0", "FP32", [1, 2])).outputs == {"a": 3, "b": [1, 2]}


def test_batches_come_whole():
    def run(call: Call, x: Annotated[Array, typed("FP32", 2)]) -> Annotated[Array, typed("FP32", 1)]:
        return x.sum(axis=1, keepdims=True)

    batch = tensor("x", "FP32", [[1, 2], [3, 4]])
    assert ask(run, batch, text="max_batch_size: 2").outputs == {"output": [[3], [7]]}
    assert "batch-size must be <= 1" in ask(run, batch, text="max_batch_size: 1").error.message


def test_models_are_called_through_their_queues():
    def run(call: Call, x: Vector) -> Vector:
        started = [call.start("double", {"x": x + i}) for i in range(2)]
        return call("double", x=started[0].result()["y"] + started[1].result()["y"])["y"]

    models = shelf(doubler())
    answers = ask(run, X, models=models, traceparent="00-a-b-01", priority=3, parameters={"k": 1})
    assert answers.outputs == {"output": [12, 20]}
    sent = models.models["double"].requests
    assert len(sent) == 3
    assert (sent[0].callers, sent[0].traceparent, sent[0].priority, sent[0].id) == (("py",), "00-a-b-01", 3, "7")


def test_parameters_of_the_request():
    def run(call: Call, x: Vector) -> Vector:
        return x * np.float32(call.parameters["factor"])

    assert ask(run, X, parameters={"factor": 3}).outputs == {"output": [3, 6]}


def test_what_goes_wrong_in_a_called_model():
    def run(call: Call, x: Vector) -> Vector:
        return call("double", x=x.astype(np.int32))["y"]

    assert "data-type is 'INT32'" in ask(run, X, models=shelf(doubler())).error.message
    assert ask(run, X).error.reason is Reason.NOT_FOUND


def test_decoupled_models_are_not_called():
    def run(call: Call, x: Vector) -> Vector:
        return call("double", x=x)["y"]

    many = doubler()
    many.config.model_transaction_policy.decoupled = True
    assert ask(run, X, models=shelf(many)).error.reason is Reason.UNSUPPORTED


def test_exceptions_are_told_by_type_and_message_only(caplog: pytest.LogCaptureFixture):
    def run(call: Call, x: Vector) -> Vector:
        raise LookupError("no such colour")

    with caplog.at_level(logging.ERROR):
        error = ask(run, X).error
    assert (error.reason, error.message) == (Reason.INTERNAL, "model 'py': LookupError: no such colour")
    assert "Traceback" in caplog.text


def test_leaving_the_program_is_an_error_like_others():
    def run(call: Call, x: Vector) -> Vector:
        raise SystemExit(3)

    assert ask(run, X).error.message == "model 'py': SystemExit: 3"


def test_a_pipeline_may_refuse_a_request():
    def run(call: Call, x: Vector) -> Vector:
        raise invalid("too dark")

    assert (ask(run, X).error.reason, ask(run, X).error.message) == (Reason.INVALID, "too dark")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros(2), "output 'output' is float64, declared as FP32: use .astype(float32)"),
        (np.zeros((2, 2), np.float32), "output 'output' has shape [2,2], declared [-1]"),
        ({"other": 1}, "output 'other' is not declared; declared are ['output']"),
        ({}, "output 'output' is declared but not in the answer, which has []"),
    ],
)
def test_answers_that_are_not_as_declared(answer: Any, message: str):
    def run(call: Call, x: Vector) -> Vector:
        return answer

    error = ask(run, X).error
    assert (error.reason, error.message) == (Reason.INTERNAL, f"model 'py': TypeError: {message}")


def test_strings_must_be_strings():
    def run(call: Call, x: Vector) -> Words:
        return [1]  # pyright: ignore

    assert "a tensor of strings holds 1 at 0; expected bytes or str" in ask(run, X).error.message


def counting(call: Call, x: Vector) -> Iterator[Vector]:
    for i in range(3):
        yield x + np.float32(i)


def test_a_generator_is_a_decoupled_model():
    loop, answers = Loop(), Answers()
    with serving(counting, loop) as served:
        assert served.config.model_transaction_policy.decoupled
        served.submit(request("py", X, is_streaming=True), answers)
        loop.until(lambda: answers.given and getattr(answers.given[-1], "final", True))
        assert served.statistics.success.count == 1
        assert sum(served.statistics.first_response_ms.counts) == 1
    assert [a.final for a in answers.given if isinstance(a, InferResponse)] == [False, False, False, True]
    assert [a.outputs[0].values().tolist() for a in answers.given[:-1]] == [[1, 2], [2, 3], [3, 4]]  # pyright: ignore
    assert answers.given[-1].outputs == ()  # pyright: ignore


def test_a_generator_that_fails_midway():
    def run(call: Call, x: Vector) -> Iterator[Vector]:
        yield x
        raise ValueError("broke")

    loop, answers = Loop(), Answers()
    with serving(run, loop) as served:
        served.submit(request("py", X), answers)
        loop.until(lambda: len(answers.given) == 2)
    assert isinstance(answers.given[1], ServingError)
    assert answers.given[1].message == "model 'py': ValueError: broke"


def test_a_generator_waits_for_the_loop_and_ends_when_cancelled():
    made, ended = Semaphore(0), Event()

    def run(call: Call, x: Vector) -> Iterator[Vector]:
        try:
            while True:
                made.release()
                yield x
        finally:
            ended.set()

    loop, answers = Loop(), Answers()
    with serving(run, loop) as served:
        ticket = served.submit(request("py", X), answers)
        for _ in range(AHEAD + 1):
            assert made.acquire(timeout=PATIENCE_S)
        assert not made.acquire(blocking=False)  # the loop has taken none
        ticket.cancel()
        assert ended.wait(PATIENCE_S)
        while not loop.is_idle:
            loop.step()
    assert answers.error.reason is Reason.CANCELLED


def test_cancelling_ends_a_call_that_is_waited_for():
    seen: list[Reason] = []

    def run(call: Call, x: Vector) -> Vector:
        try:
            return call("double", x=x)["y"]
        except ServingError as err:
            seen.append(err.reason)
            raise

    loop, answers, inner = Loop(), Answers(), doubler(is_held=True)
    with serving(run, loop, shelf(inner)) as served:
        ticket = served.submit(request("py", X), answers)
        loop.until(lambda: inner.held)
        ticket.cancel()
        assert answers.error.reason is Reason.CANCELLED
        loop.step()  # what the run ended with
    assert seen == [Reason.CANCELLED]
    assert len(inner.cancelled) == 1
    assert len(answers.given) == 1


def test_the_queue_is_bounded_and_cancelled_requests_leave_it():
    go, runs = Event(), []

    def run(call: Call, x: Vector) -> Vector:
        runs.append(x)
        assert go.wait(PATIENCE_S)
        return x

    loop = Loop()
    text = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }"
    with serving(run, loop, text=text) as served:
        answers = [Answers() for _ in range(5)]
        tickets = [served.submit(request("py", X), a) for a in answers[:4]]
        assert answers[3].error.reason is Reason.OVERLOADED
        assert answers[3].error.message == "model 'py': 1 requests wait, at most 1 may"
        assert served.statistics.pending == 3
        tickets[2].cancel()
        assert answers[2].error.reason is Reason.CANCELLED
        served.submit(request("py", X), answers[4])
        go.set()
        loop.until(lambda: all(a.given for a in answers))
        assert answers[4].response
        assert served.statistics.failures == {"REJECTED": 1, "CANCELED": 1, "BACKEND": 0, "OTHER": 0}
    assert len(runs) == 3


def test_a_deadline_that_passed_before_it_started():
    assert ask(double, X, deadline_ns=monotonic_ns() - 1).error.reason is Reason.DEADLINE


def test_a_model_that_calls_itself_is_refused():
    def run(call: Call, x: Vector) -> Vector:
        return call("py", x=x)["output"]

    loop, answers, models = Loop(), Answers(), shelf()
    with serving(run, loop, models) as served:
        models.models["py"] = served
        served.submit(request("py", X), answers)
        loop.until(lambda: answers.given)
    assert answers.error.message == "model 'py' was called by itself: py -> py"


def test_closing_waits_for_runs():
    go, answers, loop = Event(), Answers(), Loop()

    def run(call: Call, x: Vector) -> Vector:
        assert go.wait(PATIENCE_S)
        return x

    async def close(served: PythonModel) -> None:
        served.submit(request("py", X), answers)
        closing = asyncio.ensure_future(served.close())
        await asyncio.sleep(0)
        assert not closing.done()
        go.set()
        loop.until(lambda: answers.given)
        await closing

    with serving(run, loop) as served:
        asyncio.run(close(served))
    assert answers.response


def lacks_type(call: Call, x: Array) -> Vector: ...


def lacks_answer(call: Call, x: Vector): ...


def takes_nothing() -> Vector: ...


def takes_any(call: Call, *x: Vector) -> Vector: ...


def yields_no_iterator(call: Call, x: Vector) -> Vector:  # pyright: ignore
    yield x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lacks_type, "lacks_type(): argument 'x' does not say its type; expected such as x: Annotated[Array, tensor("),
        (lacks_answer, "lacks_answer() does not say what it gives; expected the result to be annotated as"),
        (takes_nothing, "takes_nothing() takes nothing; expected call first"),
        (takes_any, "takes_any(): argument *x: 'Vector' has no name that an input could have"),
        (yields_no_iterator, "yields answers; expected its result to be annotated as Iterator[...] of them"),
    ],
)
def test_functions_that_declare_too_little(function: Any, message: str):
    with pytest.raises(RequestError) as caught:
        Pipeline.of(function)
    assert message in str(caught.value)


def test_an_unknown_datatype():
    with pytest.raises(RequestError, match=r"tensor\('FLOAT'\): the datatype is unknown; expected BOOL, UINT8"):
        typed("FLOAT", 1)


FILE = """
    from __future__ import annotations
    from dataclasses import dataclass
    from typing import Annotated
    from fusee.server.pipelines import Array, Call, tensor

    @dataclass
    class Answer:
        y: Annotated[Array, tensor("FP32", -1)]

    def run(call: Call, x: Annotated[Array, tensor("FP32", -1)]) -> Answer:
        return Answer(x + 1)
"""


def context(folder: Path, file: str, text: str = "", is_allowed: bool = True) -> LoadContext:
    path = folder / "pipeline.py"
    path.write_text(dedent(file))
    config = parse_config(f'name: "py" backend: "python" {text}', "py")
    settings = Settings((folder,), allow_python_models=is_allowed)
    return LoadContext("py", "3", folder, path, config, {}, settings, Loop().post, shelf())


def test_a_file_is_loaded_and_completes_its_configuration(tmp_path: Path):
    given = context(tmp_path, FILE)
    served = serve_python(given)
    assert (served.name, served.version, served.inputs) == ("py", "3", (TensorSpec("x", "FP32", (-1,)),))
    assert [(o.name, list(o.dims)) for o in served.config.output] == [("y", [-1])]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipeline.py"]  # nothing is written beside it
    asyncio.run(served.close())


def test_a_changed_file_is_read_anew(tmp_path: Path):
    for amount in (1, 2):
        given = context(tmp_path, FILE.replace("x + 1", f"x + {amount}"))
        served = serve_python(given)
        assert isinstance(served, PythonModel)
        assert served.pipeline.run(None, x=np.zeros(1)).y == amount
        asyncio.run(served.close())


def test_a_module_goes_with_its_model(tmp_path: Path):
    """And not with the one that was there before it, which is closed after it was loaded."""
    before, after = (serve_python(context(tmp_path, FILE)) for _ in range(2))
    asyncio.run(before.close())
    assert "fusee_pipelines.py.3.pipeline_py" in sys.modules
    asyncio.run(after.close())
    assert not [name for name in sys.modules if name.startswith("fusee_pipelines.py.")]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("x = 1", "py/3/pipeline.py: has no run(); expected a function run(call, ...) with annotated tensors"),
        ("class TritonPythonModel: ...", "is written for the Triton Python backend, which is not run here"),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def run(:", "SyntaxError"),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("def run(call): ...", "py/3/pipeline.py: run() does not say what it gives"),
    ],
)
def test_files_that_are_no_pipeline(tmp_path: Path, file: str, message: str):
    with pytest.raises(ServingError) as caught:
        serve_python(context(tmp_path, file))
    assert caught.value.reason is Reason.INVALID
    assert message in caught.value.message
    assert not [name for name in sys.modules if name.startswith("fusee_pipelines.py.")]


def test_no_file_is_run_where_python_models_are_not_allowed(tmp_path: Path):
    with pytest.raises(ServingError, match="--allow-python-models") as caught:
        serve_python(context(tmp_path, "raise SystemExit", is_allowed=False))
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('input { name: "z" data_type: TYPE_FP32 dims: [1] }', "input 'z' is configured; the pipeline's are x"),
        (
            'input { name: "x" data_type: TYPE_INT8 dims: [1] }',
            "input 'x' is INT8[1] in the configuration and FP32[-1] in the pipeline",
        ),
        ("model_transaction_policy { decoupled: true }", "is decoupled, but the pipeline returns one answer"),
    ],
)
def test_a_configuration_that_says_something_else(text: str, message: str):
    config = ModelConfig()
    config.MergeFrom(parse_config(text, "py"))
    with pytest.raises(ServingError) as caught:
        complete_pipeline(config, Pipeline.of(double))
    assert message in caught.value.message
