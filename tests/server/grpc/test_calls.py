"""The calls of the protocol, asked by gRPC's own clients."""

from __future__ import annotations

import asyncio
import hashlib
import queue
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from fusee.server.access import Access, Key
from fusee.server.errors import Reason, ServingError
from fusee.server.grpc.status import CODES
from fusee.server.operations import Scope
from fusee.server.proto.grpc_service_pb2 import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
    RepositoryIndexResponse,
)
from fusee.server.proto.health_pb2 import HealthCheckRequest, HealthCheckResponse
from fusee.server.settings import Limits
from fusee.server.types import Region, WantedOutput
from server.grpc.grpc_house import FakePlane, RunningDoor, running_door

SERVICE = "/inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def shared_door() -> Iterator[RunningDoor]:
    with running_door() as running:
        yield running


@pytest.fixture
def door(shared_door: RunningDoor) -> RunningDoor:
    plane = shared_door.plane
    plane.requests.clear()
    plane.calls.clear()
    plane.held.clear()
    plane.cancelled.clear()
    plane.noticed.clear()
    return shared_door


@pytest.fixture
def client(door: RunningDoor) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(door.address) as opened:
        yield opened


@pytest.fixture
def channel(door: RunningDoor) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(door.address, options=[("grpc.max_receive_message_length", -1)]) as opened:
        yield opened


def tensor(array: np.ndarray[Any, Any], name: str = "INPUT0") -> triton.InferInput:
    given = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array)
    return given


def infer(channel: grpc.Channel, request: ModelInferRequest, **options: Any) -> ModelInferResponse:
    call = channel.unary_unary(
        f"{SERVICE}/ModelInfer",
        request_serializer=ModelInferRequest.SerializeToString,
        response_deserializer=ModelInferResponse.FromString,
    )
    return call(request, timeout=20, **options)


def refused(channel: grpc.Channel, request: ModelInferRequest, **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        infer(channel, request, **options)
    return raised.value


def numbers(*values: float, model: str = "identity", **fields: Any) -> ModelInferRequest:
    request = ModelInferRequest(model_name=model, **fields)
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[len(values)])
    request.raw_input_contents.append(np.array(values, np.float32).tobytes())
    return request


ARRAYS = [
    np.array([[True, False]]),
    *(np.array([[1, 2], [3, 4]], t) for t in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")),
    np.array([b"one", b"", b"\xff"], object),
    np.zeros((0, 3), np.float32),
    np.float32(np.random.default_rng(0).normal(size=(5_000_000,))),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_identity(client: triton.InferenceServerClient, array: np.ndarray[Any, Any], coding: str | None) -> None:
    answer = client.infer("identity", [tensor(array)], request_id="a1", compression_algorithm=coding)
    assert answer.get_response().id == "a1"
    assert answer.get_response().model_version == "1"
    np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), array)


def test_answers_are_compressed_as_the_request_is(channel: grpc.Channel) -> None:
    answer = infer(channel, numbers(*[1.0] * 1000), compression=grpc.Compression.Gzip)
    assert len(answer.raw_output_contents[0]) == 4000


def test_many_at_a_time(door: RunningDoor) -> None:
    async def ask() -> None:
        async with triton_aio.InferenceServerClient(door.address) as client:

            async def one(i: int) -> None:
                array = np.full((1 + i % 7, 3), i, np.int32)
                answer = await client.infer("later", [tensor(array)], request_id=str(i))
                np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), array)

            await asyncio.gather(*(one(i) for i in range(200)))

    asyncio.run(ask())


def test_what_the_plane_is_asked(door: RunningDoor, channel: grpc.Channel) -> None:
    request = numbers(1, 2, model_version="3", id="é")
    request.parameters["priority"].uint64_param = 2
    request.parameters["timeout"].int64_param = 5000
    request.parameters["mine"].double_param = 0.5
    request.parameters["sequence_id"].int64_param = 0
    request.outputs.add(name="OUTPUT0").parameters["classification"].int64_param = 3
    parameters = request.outputs.add(name="OUTPUT1").parameters
    parameters["shared_memory_region"].string_param = "there"
    parameters["shared_memory_offset"].int64_param = 16
    parameters["shared_memory_byte_size"].int64_param = 64
    infer(channel, request, metadata=[("traceparent", "00-abc-def-01")])
    asked = door.plane.requests[0]
    assert (asked.model, asked.version, asked.id) == ("identity", "3", "é")
    assert (asked.priority, asked.timeout_us, asked.parameters) == (2, 5000, {"mine": 0.5})
    assert asked.outputs == (WantedOutput("OUTPUT0", 3), WantedOutput("OUTPUT1", 0, Region("there", 16, 64)))
    assert asked.traceparent == "00-abc-def-01"
    assert asked.deadline_ns is not None
    assert 0 < asked.deadline_ns - asked.timing.received_ns <= 20 * 10**9
    assert not asked.is_streaming


def test_inputs_in_shared_memory_have_no_contents(door: RunningDoor, channel: grpc.Channel) -> None:
    request = numbers(1, 2)
    entry = request.inputs.add(name="INPUT1", datatype="FP32", shape=[4])
    entry.parameters["shared_memory_region"].string_param = "there"
    entry.parameters["shared_memory_byte_size"].int64_param = 16
    request.model_name = "region"
    parameters = request.outputs.add(name="OUTPUT0").parameters
    parameters["shared_memory_region"].string_param = "there"
    parameters["shared_memory_byte_size"].int64_param = 8
    answer = infer(channel, request)
    assert door.plane.requests[0].inputs[1].region == Region("there", 0, 16)
    assert list(answer.raw_output_contents) == [b"", np.float32(7).tobytes()]
    assert list(answer.outputs[0].shape) == [2]


TYPED = [
    ("BOOL", "bool_contents", [True, False]),
    ("INT8", "int_contents", [-128, 127]),
    ("INT32", "int_contents", [-5, 5]),
    ("INT64", "int64_contents", [-(2**60), 2**60]),
    ("UINT16", "uint_contents", [0, 65535]),
    ("UINT64", "uint64_contents", [0, 2**64 - 1]),
    ("FP32", "fp32_contents", [0.5, -1.0]),
    ("FP64", "fp64_contents", [0.1, float("nan")]),
    ("BYTES", "bytes_contents", [b"\xff", b""]),
]


def typed(datatype: str, field: str, values: list[Any], shape: list[int] | None = None) -> ModelInferRequest:
    request = ModelInferRequest(model_name="identity")
    entry = request.inputs.add(name="INPUT0", datatype=datatype, shape=shape or [len(values)])
    getattr(entry.contents, field).extend(values)
    return request


@pytest.mark.parametrize(("datatype", "field", "values"), TYPED, ids=[t[0] for t in TYPED])
def test_typed_contents(door: RunningDoor, channel: grpc.Channel, datatype: str, field: str, values: list[Any]) -> None:
    infer(channel, typed(datatype, field, values))
    np.testing.assert_array_equal(door.plane.requests[0].inputs[0].values().tolist(), values)


def _with(request: ModelInferRequest, **changes: int | str | bool) -> ModelInferRequest:
    for name, value in changes.items():
        choice = (
            "bool_param" if isinstance(value, bool) else "string_param" if isinstance(value, str) else "int64_param"
        )
        request.parameters[name].CopyFrom(InferParameter(**{choice: value}))
    return request


def _twice(request: ModelInferRequest) -> ModelInferRequest:
    request.inputs.append(request.inputs[0])
    return request


def _both(request: ModelInferRequest) -> ModelInferRequest:
    request.inputs[0].contents.fp32_contents.append(1.0)
    return request


def _extra_raw(request: ModelInferRequest) -> ModelInferRequest:
    request.raw_input_contents.append(b"")
    return request


def _region(request: ModelInferRequest, **parameters: int | str) -> ModelInferRequest:
    for name, value in parameters.items():
        field = "string_param" if isinstance(value, str) else "int64_param"
        request.inputs[0].parameters[name].CopyFrom(InferParameter(**{field: value}))
    return request


WRONG = [
    (ModelInferRequest(model_name="identity"), "has no inputs"),
    (_twice(numbers(1)), "input 'INPUT0' appears twice"),
    (_both(numbers(1)), "has contents, but the request has raw_input_contents"),
    (_extra_raw(numbers(1)), "2 raw_input_contents, expected 1"),
    (_with(numbers(1), headers="x"), "'headers' is reserved"),
    (_with(numbers(1), triton_x=1), "'triton_x' is reserved"),
    (_with(numbers(1), priority=-1), "'priority' is to be a whole number"),
    (_with(numbers(1), timeout="1"), "'timeout' is to be a whole number"),
    (_region(numbers(1), shared_memory_offset=4), "without 'shared_memory_region'"),
    (_region(numbers(1), shared_memory_region="a"), "without 'shared_memory_byte_size'"),
    (typed("FP16", "fp32_contents", [1.0]), "FP16 has no typed contents"),
    (typed("FP33", "fp32_contents", [1.0]), "datatype 'FP33' is unknown"),
    (typed("FP32", "fp64_contents", [1.0]), "fp64_contents are given, but FP32 belongs in fp32_contents"),
    (typed("INT8", "int_contents", [128]), "out of the range of INT8"),
    (typed("FP32", "fp32_contents", [1.0], [2]), "1 elements, expected 2"),
    (typed("BYTES", "bytes_contents", [b"a"], [2]), "1 elements, expected 2"),
]


@pytest.mark.parametrize(("request_", "text"), WRONG, ids=[w[1] for w in WRONG])
def test_wrong_requests(channel: grpc.Channel, request_: ModelInferRequest, text: str) -> None:
    error = refused(channel, request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text in error.details()


def test_sequences_are_not_offered(channel: grpc.Channel) -> None:
    error = refused(channel, _with(numbers(1), sequence_id=7))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_that_is_no_message(channel: grpc.Channel) -> None:
    call = channel.unary_unary(f"{SERVICE}/ModelInfer")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"\x0a\x05abc", timeout=20)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_statuses(door: RunningDoor, channel: grpc.Channel) -> None:
    for reason in Reason:
        message = f"100 % wrong:\n{reason.value} é"
        door.plane.failures = {"failing": ServingError(reason, message)}
        error = refused(channel, numbers(1, model="failing"))
        assert error.code().value[0] == CODES[reason]
        assert error.details() == message


def test_an_overloaded_server_says_when_to_come_back(channel: grpc.Channel) -> None:
    error = refused(channel, numbers(1, model="busy"))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailers = dict(error.trailing_metadata())
    assert (trailers["retry-after"], trailers["grpc-retry-pushback-ms"]) == ("3", "2500")


def test_unknown_methods_and_codings(door: RunningDoor, channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/inference.Other/Thing")(b"", timeout=20)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "/inference.Other/Thing" in raised.value.details()


def test_cancelling_a_call_cancels_its_ticket(door: RunningDoor, channel: grpc.Channel) -> None:
    call = channel.unary_unary(f"{SERVICE}/ModelInfer", request_serializer=ModelInferRequest.SerializeToString)
    under_way = call.future(numbers(1, model="hold", id="c1"))
    assert door.plane.noticed.wait(10)
    door.plane.noticed.clear()
    under_way.cancel()
    assert door.plane.noticed.wait(10)
    assert door.plane.cancelled == ["c1"]


def test_a_lost_connection_cancels_its_tickets(door: RunningDoor) -> None:
    channel = grpc.insecure_channel(door.address)
    call = channel.unary_unary(f"{SERVICE}/ModelInfer", request_serializer=ModelInferRequest.SerializeToString)
    under_way = call.future(numbers(1, model="hold", id="c2"))
    assert door.plane.noticed.wait(10)
    door.plane.noticed.clear()
    channel.close()
    assert door.plane.noticed.wait(10)
    assert door.plane.cancelled == ["c2"]
    assert under_way.exception(10) is not None


class Answers:
    """The answers of a stream, as they come."""

    def __init__(self, client: triton.InferenceServerClient, **options: Any) -> None:
        self._queue: queue.Queue[tuple[Any, Any]] = queue.Queue()
        client.start_stream(lambda result, error: self._queue.put((result, error)), **options)

    def result(self) -> Any:
        result, error = self._queue.get(timeout=20)
        assert error is None, error
        return result

    def error(self) -> InferenceServerException:
        result, error = self._queue.get(timeout=20)
        assert result is None
        return error


def final(answer: Any) -> bool:
    return answer.get_response().parameters["triton_final_response"].bool_param


def test_streamed_requests(client: triton.InferenceServerClient) -> None:
    answers = Answers(client)
    for i in range(300):
        client.async_stream_infer("later", [tensor(np.array([i], np.int32))], request_id=str(i))
    seen = [answers.result() for _ in range(300)]
    assert {int(a.get_response().id): int(a.as_numpy("OUTPUT0")[0]) for a in seen} == {i: i for i in range(300)}
    assert all(final(a) for a in seen)
    client.stop_stream()


def test_a_model_that_answers_several_times(client: triton.InferenceServerClient) -> None:
    answers = Answers(client)
    values = tensor(np.array([5, 6, 7], np.int32))
    client.async_stream_infer("repeat", [values])
    seen = [answers.result() for _ in range(3)]
    assert [(int(a.as_numpy("OUTPUT0")[0]), final(a)) for a in seen] == [(5, False), (6, False), (7, False)]
    client.async_stream_infer("repeat", [values], enable_empty_final_response=True)
    seen = [answers.result() for _ in range(4)]
    assert [final(a) for a in seen] == [False, False, False, True]
    assert not seen[3].get_response().outputs
    client.stop_stream()


def test_what_is_wrong_with_one_streamed_request_leaves_the_others(client: triton.InferenceServerClient) -> None:
    answers = Answers(client)
    one = tensor(np.array([1], np.int32))
    client.async_stream_infer("nothing", [one], request_id="bad")
    assert "unknown model" in answers.error().message()
    client.async_stream_infer("identity", [one], request_id="good")
    assert answers.result().get_response().id == "good"
    client.stop_stream()


def test_a_stream_that_asks_for_statuses_ends_with_one(channel: grpc.Channel) -> None:
    call = channel.stream_stream(
        f"{SERVICE}/ModelStreamInfer",
        request_serializer=ModelInferRequest.SerializeToString,
        response_deserializer=ModelStreamInferResponse.FromString,
    )
    responses = call(iter([numbers(1, model="nothing")]), metadata=[("triton_grpc_error", "true")], timeout=20)
    with pytest.raises(grpc.RpcError) as raised:
        next(responses)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_half_closed_stream_waits_for_its_answers(door: RunningDoor, channel: grpc.Channel) -> None:
    call = channel.stream_stream(
        f"{SERVICE}/ModelStreamInfer",
        request_serializer=ModelInferRequest.SerializeToString,
        response_deserializer=ModelStreamInferResponse.FromString,
    )
    responses = call(iter([numbers(1, model="hold", id="h")]), timeout=20)
    assert door.plane.noticed.wait(10)
    held = door.plane.held[0]
    door.call(lambda: door.plane.answer(held.request, held.done))
    assert [r.infer_response.id for r in responses] == ["h"]
    assert responses.code() is grpc.StatusCode.OK
    assert door.plane.requests[0].is_streaming


def test_large_messages_on_a_stream(client: triton.InferenceServerClient) -> None:
    answers = Answers(client)
    array = np.arange(5_000_000, dtype=np.float32)
    for _ in range(3):
        client.async_stream_infer("identity", [tensor(array)])
    for _ in range(3):
        np.testing.assert_array_equal(answers.result().as_numpy("OUTPUT0"), array)
    client.stop_stream()


def test_operations(door: RunningDoor, client: triton.InferenceServerClient) -> None:
    answers = door.plane.answers
    answers.update(
        model_ready={"ready": True},
        server_metadata={"name": "fusee", "version": "1", "extensions": ["statistics"]},
        model_metadata={"name": "m", "versions": ["1"], "inputs": [{"name": "a", "datatype": "FP32", "shape": [-1]}]},
        model_config={"name": "m", "max_batch_size": 8, "dynamic_batching": {"max_queue_delay_microseconds": 100}},
        model_statistics={"model_stats": [{"name": "m", "inference_stats": {"success": {"count": 2, "ns": 2**40}}}]},
        repository_index={"models": [{"name": "m", "version": "1", "state": "READY", "reason": ""}]},
        repository_model_load={},
        system_shared_memory_status={"regions": {"r": {"name": "r", "key": "/k", "offset": 0, "byte_size": 64}}},
        system_shared_memory_register={},
        trace_setting={"trace_level": ["OFF"], "trace_rate": "1000"},
        log_settings={"log_info": True, "log_verbose_level": 0, "log_format": "default"},
    )
    assert client.is_server_live()
    assert client.is_model_ready("m", "1")
    assert client.get_server_metadata().extensions == ["statistics"]
    assert client.get_model_metadata("m").inputs[0].shape == [-1]
    assert client.get_model_config("m").config.dynamic_batching.max_queue_delay_microseconds == 100
    assert client.get_inference_statistics("m").model_stats[0].inference_stats.success.ns == 2**40
    assert client.get_model_repository_index().models[0].state == "READY"
    client.load_model("m", config="{}", files={"file:1/model.bin": b"\x00\x01"})
    client.register_system_shared_memory("r", "/k", 2**33, offset=8)
    assert client.get_system_shared_memory_status().regions["r"].byte_size == 64
    changed = client.update_trace_settings("m", {"trace_level": ["TIMESTAMPS"], "trace_rate": "5", "trace_count": None})
    assert list(changed.settings["trace_rate"].value) == ["1000"]
    assert list(changed.settings["trace_level"].value) == ["OFF"]
    logs = client.update_log_settings({"log_info": True, "log_verbose_level": 1})
    assert logs.settings["log_info"].bool_param
    assert logs.settings["log_format"].string_param == "default"
    asked = dict(door.plane.calls)
    assert asked["model_ready"] == {"name": "m", "version": "1"}
    assert asked["repository_model_load"]["parameters"] == {"config": "{}", "file:1/model.bin": "AAE="}
    assert asked["system_shared_memory_register"] == {"name": "r", "key": "/k", "offset": 8, "byte_size": 2**33}
    assert asked["trace_setting"] == {
        "model_name": "m",
        "settings": {"trace_level": ["TIMESTAMPS"], "trace_rate": "5", "trace_count": None},
    }
    assert asked["log_settings"] == {"settings": {"log_info": True, "log_verbose_level": 1}}


def test_an_operation_that_fails(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="no answer to repository_model_unload") as raised:
        client.unload_model("m")
    assert raised.value.status() == "StatusCode.NOT_FOUND"


def test_health(door: RunningDoor, channel: grpc.Channel) -> None:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    for service in ("", "inference.GRPCInferenceService"):
        assert check(HealthCheckRequest(service=service), timeout=20).status == HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as raised:
        check(HealthCheckRequest(service="other"), timeout=20)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_watching_health(door: RunningDoor, channel: grpc.Channel) -> None:
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    told = watch(HealthCheckRequest(), timeout=20)
    assert next(told).status == HealthCheckResponse.SERVING
    door.plane.answers["server_ready"] = {"ready": False}
    assert next(told).status == HealthCheckResponse.NOT_SERVING
    door.plane.answers["server_ready"] = {"ready": True}
    assert next(told).status == HealthCheckResponse.SERVING
    told.cancel()


def test_keys() -> None:
    key = Key("camera", hashlib.sha256(b"secret").digest(), frozenset({Scope.INFER}), concurrent_requests=1)
    with running_door(access=Access((key,))) as door, grpc.insecure_channel(door.address) as channel:
        assert refused(channel, numbers(1)).code() is grpc.StatusCode.UNAUTHENTICATED
        key_given = [("authorization", "Bearer secret")]
        for _ in range(3):
            assert infer(channel, numbers(1), metadata=key_given).model_name == "identity"
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(f"{SERVICE}/RepositoryIndex")(b"", metadata=key_given, timeout=20)
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        call = channel.unary_unary(f"{SERVICE}/ModelInfer", request_serializer=ModelInferRequest.SerializeToString)
        held = call.future(numbers(1, model="hold"), metadata=key_given)
        assert door.plane.noticed.wait(10)
        assert refused(channel, numbers(1), metadata=key_given).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        door.plane.noticed.clear()
        held.cancel()
        assert door.plane.noticed.wait(10)
        assert infer(channel, numbers(1), metadata=key_given).model_name == "identity"
        assert channel.unary_unary(f"{SERVICE}/ServerLive")(b"", timeout=20) == b"\x08\x01"


def test_requests_under_way_on_the_server_are_limited() -> None:
    with running_door(limits=Limits(requests=1)) as door, grpc.insecure_channel(door.address) as channel:
        call = channel.unary_unary(f"{SERVICE}/ModelInfer", request_serializer=ModelInferRequest.SerializeToString)
        held = call.future(numbers(1, model="hold"))
        assert door.plane.noticed.wait(10)
        error = refused(channel, numbers(1))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(error.trailing_metadata())["retry-after"] == "1"
        held.cancel()


def test_bytes_held_are_limited() -> None:
    with running_door(limits=Limits(request_bytes=1000)) as door, grpc.insecure_channel(door.address) as channel:
        assert refused(channel, numbers(*[0.0] * 500)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert infer(channel, numbers(1)).model_name == "identity"


def test_a_small_message_may_not_become_a_large_one() -> None:
    with running_door(limits=Limits(body_bytes=10_000)) as door, grpc.insecure_channel(door.address) as channel:
        error = refused(channel, numbers(*[0.0] * 5000), compression=grpc.Compression.Gzip)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "after decompression" in error.details()


def test_a_door_that_closes_finishes_what_is_under_way() -> None:
    plane = FakePlane()
    with running_door(plane) as door, grpc.insecure_channel(door.address) as channel:
        call = channel.unary_unary(
            f"{SERVICE}/ModelInfer",
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelInferResponse.FromString,
        )
        held = call.future(numbers(1, model="hold", id="last"))
        assert plane.noticed.wait(10)
        closing = asyncio.run_coroutine_threadsafe(door.door.close(10.0), door.loop)
        door.call(lambda: plane.answer(plane.held[0].request, plane.held[0].done))
        assert held.result(10).id == "last"
        closing.result(10)


def test_a_door_that_must_close_cancels_what_is_left() -> None:
    plane = FakePlane()
    with running_door(plane) as door, grpc.insecure_channel(door.address) as channel:
        call = channel.unary_unary(f"{SERVICE}/ModelInfer", request_serializer=ModelInferRequest.SerializeToString)
        held = call.future(numbers(1, model="hold", id="x"))
        assert plane.noticed.wait(10)
        asyncio.run_coroutine_threadsafe(door.door.close(0.05), door.loop).result(10)
        assert held.exception(10).code() is grpc.StatusCode.UNAVAILABLE
        assert plane.cancelled == ["x"]


def test_answers_of_a_request_that_failed_come_too_late(channel: grpc.Channel) -> None:
    assert refused(channel, numbers(1, model="twice")).details() == "first"


def test_large_compressed_messages_keep_nobody_waiting(door: RunningDoor, channel: grpc.Channel) -> None:
    call = channel.unary_unary(
        f"{SERVICE}/ModelInfer",
        request_serializer=ModelInferRequest.SerializeToString,
        response_deserializer=ModelInferResponse.FromString,
    )
    large = numbers(*np.random.default_rng(1).normal(size=200_000))
    under_way = [call.future(large, compression=grpc.Compression.Gzip, timeout=60) for _ in range(4)]
    assert infer(channel, numbers(1)).model_name == "identity"
    for answer in under_way:
        assert answer.result().raw_output_contents[0] == large.raw_input_contents[0]


def test_a_large_compressed_answer_of_an_operation(door: RunningDoor, channel: grpc.Channel) -> None:
    models = [{"name": f"model-{i}", "version": "1", "state": "READY"} for i in range(5000)]
    door.plane.answers["repository_index"] = {"models": models}
    call = channel.unary_unary(f"{SERVICE}/RepositoryIndex", response_deserializer=RepositoryIndexResponse.FromString)
    assert len(call(b"", compression=grpc.Compression.Gzip, timeout=20).models) == 5000


def test_a_bug_of_the_plane_does_not_leave_the_caller_waiting(door: RunningDoor, channel: grpc.Channel) -> None:
    door.plane.answers["server_metadata"] = {"name": 1}
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(f"{SERVICE}/ServerMetadata")(b"", timeout=20)
    assert raised.value.code() is grpc.StatusCode.INTERNAL
