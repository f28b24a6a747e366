"""Writes a ModelInferResponse: what repeats is written once, and tensors are added as they lie in memory."""

from __future__ import annotations

from functools import lru_cache

from fusee.server.grpc.scanner import varint
from fusee.server.grpc.stream import Buffer
from fusee.server.proto.grpc_service_pb2 import InferParameter, ModelInferResponse, ModelStreamInferResponse
from fusee.server.types import InferResponse, Parameters
from fusee.server.wire import encode

_ID_TAG = b"\x1a"
_RAW_TAG = b"\x32"
_STREAM_RESPONSE_TAG = b"\x12"


def write_response(response: InferResponse) -> tuple[list[Buffer], int]:
    """A ModelInferResponse in parts, and its size. Outputs in shared memory have empty contents, so that the others
    keep their places."""
    parts: list[Buffer] = [_names(response.model, response.version)]
    if response.id:
        encoded = response.id.encode()
        parts += (_ID_TAG, varint(len(encoded)), encoded)
    if response.parameters:
        parts.append(_parameters(response.parameters))
    outputs = response.outputs
    parts += [_output(t.name, t.datatype, t.shape) for t in outputs]
    for tensor in outputs:
        content = encode(tensor) if tensor.region is None else b""
        parts += (_RAW_TAG, varint(len(content)), content)
    return parts, sum(map(len, parts))


def write_stream_response(response: InferResponse) -> tuple[list[Buffer], int]:
    """A ModelStreamInferResponse in parts, and its size."""
    parts, size_bytes = write_response(response)
    head = _STREAM_RESPONSE_TAG + varint(size_bytes)
    return [head, *parts], size_bytes + len(head)


def write_stream_error(message: str, request_id: str) -> tuple[list[Buffer], int]:
    """A ModelStreamInferResponse that says what is wrong with one request."""
    answer = ModelInferResponse(id=request_id)
    content = ModelStreamInferResponse(error_message=message, infer_response=answer).SerializeToString()
    return [content], len(content)


@lru_cache(maxsize=256)
def _names(model: str, version: str) -> bytes:
    return ModelInferResponse(model_name=model, model_version=version).SerializeToString()


@lru_cache(maxsize=1024)
def _output(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    output = ModelInferResponse.InferOutputTensor(name=name, datatype=datatype, shape=shape)
    return ModelInferResponse(outputs=[output]).SerializeToString()


def _parameters(parameters: Parameters) -> bytes:
    answer = ModelInferResponse()
    for name, value in parameters.items():
        answer.parameters[name].CopyFrom(_parameter(value))
    return answer.SerializeToString()


def _parameter(value: bool | int | float | str) -> InferParameter:
    if isinstance(value, bool):
        return InferParameter(bool_param=value)
    if isinstance(value, int):
        return InferParameter(int64_param=value)
    if isinstance(value, float):
        return InferParameter(double_param=value)
    return InferParameter(string_param=value)
