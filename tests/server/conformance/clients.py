"""Six ways to ask an inference server, driven alike: Triton's four Python clients, plain HTTP and plain gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import inspect
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import grpc
import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from server.conformance.records import Record, array_record, error_record

HTTP, HTTP_AIO, GRPC, GRPC_AIO = "http", "http aio", "grpc", "grpc aio"
CAMERA_KEY = "the camera's key"  # that the guarded server knows
PLAIN_HTTP, PLAIN_GRPC = "plain http", "plain grpc"
ALL = (HTTP, HTTP_AIO, GRPC, GRPC_AIO)
BOTH_HTTP = (HTTP, HTTP_AIO)
BOTH_GRPC = (GRPC, GRPC_AIO)
FORMS = (HTTP, HTTP_AIO, PLAIN_HTTP, GRPC, GRPC_AIO, PLAIN_GRPC)


class Addresses(NamedTuple):
    """Where a server listens, as host:port."""

    http: str
    grpc: str


class In(NamedTuple):
    """An input to send. ``shape`` and ``datatype`` are what is said of it when that is not true of the array."""

    name: str
    array: np.ndarray
    is_binary: bool = True
    shape: tuple[int, ...] | None = None
    datatype: str | None = None
    region: tuple[str, int, int] | None = None  # name, size in bytes, offset


class Out(NamedTuple):
    """An output to ask for."""

    name: str
    is_binary: bool = True
    classes: int = 0
    region: tuple[str, int, int] | None = None


@dataclass(frozen=True)
class Client:
    """One of Triton's clients, with its coroutines run to their end where it is an asyncio one."""

    form: str
    raw: Any
    module: ModuleType
    run: Callable[[Any], Any]

    @property
    def is_http(self) -> bool:
        return self.form in BOTH_HTTP

    @property
    def is_aio(self) -> bool:
        return self.form in (HTTP_AIO, GRPC_AIO)

    def call(self, method: str, *arguments: Any, **options: Any) -> Record:
        """What a method other than infer answers, as JSON; the clients' own types are gone."""
        function = getattr(self.raw, method)
        if "as_json" in inspect.signature(function).parameters:
            options["as_json"] = True
        answer = self.run(function(*arguments, **options))
        if hasattr(answer, "DESCRIPTOR"):
            answer = MessageToDict(answer, preserving_proto_field_name=True)
        return answer

    def infer(self, model: str, inputs: Sequence[In], outputs: Sequence[Out] | None = None, **options: Any) -> Record:
        """The record of one inference."""
        return self.result(self.run(self.raw.infer(**self.request(model, inputs, outputs), **options)))

    def request(self, model: str, inputs: Sequence[In], outputs: Sequence[Out] | None = None) -> dict[str, Any]:
        """The arguments of the client's infer."""
        wanted = None if outputs is None else [self._output(each) for each in outputs]
        return {"model_name": model, "inputs": [self._input(each) for each in inputs], "outputs": wanted}

    def _input(self, given: In) -> Any:
        datatype = np_to_triton_dtype(given.array.dtype)
        tensor = self.module.InferInput(given.name, list(given.array.shape), given.datatype or datatype)
        if given.region:
            tensor.set_shared_memory(*given.region)
        elif self.is_http:
            tensor.set_data_from_numpy(given.array, binary_data=given.is_binary)
        else:
            tensor.set_data_from_numpy(given.array)
        if given.shape is not None:
            tensor.set_shape(list(given.shape))
        return tensor

    def _output(self, wanted: Out) -> Any:
        if self.is_http:
            tensor = self.module.InferRequestedOutput(wanted.name, wanted.is_binary, wanted.classes)
        else:
            tensor = self.module.InferRequestedOutput(wanted.name, wanted.classes)
        if wanted.region:
            tensor.set_shared_memory(*wanted.region)
        return tensor

    def result(self, result: Any) -> Record:
        """The record of an InferResult."""
        response = result.get_response() if self.is_http else result.get_response(as_json=True)
        outputs = {
            each["name"]: {
                **{key: value for key, value in each.items() if key not in ("name", "data", "contents")},
                "shape": [int(size) for size in each["shape"]],
                "array": array_record(result.as_numpy(each["name"]) if self._is_here(response, i) else None),
            }
            for i, each in enumerate(response.get("outputs", []))
        }
        rest = {k: v for k, v in response.items() if k not in ("outputs", "raw_output_contents")}
        return {**rest, "outputs": outputs}

    def _is_here(self, response: Record, index: int) -> bool:
        """Whether the answer holds an output's data, and not shared memory."""
        output = response["outputs"][index]
        if self.is_http:
            return "data" in output or "binary_data_size" in output.get("parameters", {})
        return response["raw_output_contents"][index] != "" or "0" in output["shape"]


def refused(names: tuple[str, ...], ask: Callable[[], Any]) -> Record:
    """The record of what ``ask`` raises, or of what it answers when it does not."""
    try:
        return {"answer": ask()}
    except InferenceServerException as err:
        return error_record(err.status(), err.message(), names)
    except grpc.RpcError as err:
        return error_record(str(err.code()), err.details(), names)


class Answer(NamedTuple):
    """A plain HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Record:
        return json.loads(self.body)

    def refusal(self, *names: str) -> Record:
        """The record of an error."""
        if self.status < 400:
            return {"status": self.status, "body": self.json() if self.body else None}
        message = self.json().get("error") if self.body else None
        return error_record(str(self.status), message, names)


@dataclass(frozen=True)
class PlainHttp:
    """HTTP without a client of the protocol."""

    address: str
    form: str = PLAIN_HTTP

    def ask(
        self, method: str, path: str, body: bytes | Record = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own. An iterator is sent in chunks, other bodies than bytes as JSON."""
        content = body if isinstance(body, bytes | Iterator) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.address, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, content, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


@dataclass(frozen=True)
class PlainGrpc:
    """The generated stub."""

    stub: Any
    channel: grpc.Channel
    form: str = PLAIN_GRPC

    def infer(self, fields: Mapping[str, Any]) -> Record:
        """One ModelInfer with those fields of the request."""
        return message_record(self.stub.ModelInfer(service_pb2.ModelInferRequest(**fields), timeout=20))


def message_record(message: Any) -> Record:
    return MessageToDict(message, preserving_proto_field_name=True)


AnyClient = Client | PlainHttp | PlainGrpc


@contextlib.contextmanager
def open_client(form: str, addresses: Addresses) -> Generator[AnyClient]:
    """A client of that form, closed at the end of the block."""
    if form == PLAIN_HTTP:
        yield PlainHttp(addresses.http)
    elif form == PLAIN_GRPC:
        with grpc.insecure_channel(addresses.grpc) as channel:
            yield PlainGrpc(service_pb2_grpc.GRPCInferenceServiceStub(channel), channel)
    elif form == HTTP:
        with tritonclient.http.InferenceServerClient(addresses.http, concurrency=4) as raw:
            yield Client(form, raw, tritonclient.http, lambda value: value)
    elif form == GRPC:
        with tritonclient.grpc.InferenceServerClient(addresses.grpc) as raw:
            yield Client(form, raw, tritonclient.grpc, lambda value: value)
    else:
        with asyncio.Runner() as runner:
            yield from _open_aio(form, addresses, runner)


def _open_aio(form: str, addresses: Addresses, runner: asyncio.Runner) -> Generator[Client]:
    module = tritonclient.http.aio if form == HTTP_AIO else tritonclient.grpc.aio
    address = addresses.http if form == HTTP_AIO else addresses.grpc

    async def opened() -> Any:
        return module.InferenceServerClient(address)

    async def finished(value: Any) -> Any:
        return await value if inspect.isawaitable(value) else value

    raw = runner.run(opened())
    try:
        yield Client(form, raw, module, lambda value: runner.run(finished(value)))
    finally:
        runner.run(raw.close())
