"""Requests and answers as a JSON header and the bytes of their tensors, which lie beside it in the order of the header.

The header says how many bytes each tensor has; all are checked against what there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from math import isfinite
from typing import Any

import orjson

from fusee.base.types import Array
from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.processes.ring import Buffer, CorruptError, aligned
from fusee.server.types import InferRequest, InferResponse, Json, Parameters, Region, Tensor, Timing, WantedOutput
from fusee.server.wire import decode, encode

_REQUEST_TYPES = (str, str, str, list, list, dict, int, int, int | None, str, bool, int)
STAGES = tuple(field.name for field in fields(Timing))


def encode_request(request: InferRequest) -> tuple[bytes, list[Buffer]]:
    """Header and contents. Raises ServingError INVALID for text that is no Unicode."""
    parts: list[Buffer] = []
    header = [
        request.model,
        request.version,
        request.id,
        [_encode_tensor(t, parts) for t in request.inputs],
        request.outputs,
        _plain(request.parameters),
        request.priority,
        request.timeout_us,
        request.deadline_ns,
        request.traceparent,
        request.is_streaming,
        request.timing.received_ns,
    ]
    return _header(header), parts


def decode_request(header: bytes, content: Array) -> InferRequest:
    """The request, whose arrays look at ``content``. Raises CorruptError, or ServingError for a tensor whose bytes do
    not agree with its type."""
    try:
        return _request(orjson.loads(header), content)
    except (ValueError, TypeError, KeyError, IndexError) as err:
        raise CorruptError(f"a request's header does not parse: {err!r}") from err


def _request(found: Json, content: Array) -> InferRequest:
    if len(found) != len(_REQUEST_TYPES) or not all(map(isinstance, found, _REQUEST_TYPES)):
        raise TypeError("its fields are of other types")
    model, version, name, inputs, outputs, parameters, priority, timeout_us, deadline_ns, parent, streams, received = (
        found
    )
    return InferRequest(
        model,
        version,
        name,
        tuple(_tensors(inputs, content)),
        tuple(WantedOutput(n, c, Region(*r) if r else None) for n, c, r in outputs),
        _parameters(parameters),
        priority,
        timeout_us,
        deadline_ns,
        parent,
        streams,
        timing=Timing(received),
    )


def encode_response(response: InferResponse, timing: Timing) -> tuple[bytes, list[Buffer]]:
    """Header and contents of an answer; with it goes when its request passed each stage."""
    parts: list[Buffer] = []
    header = [
        response.model,
        response.version,
        response.id,
        [_encode_tensor(t, parts) for t in response.outputs],
        _plain(response.parameters),
        response.final,
        [getattr(timing, stage) for stage in STAGES],
    ]
    return _header(header), parts


def encode_error(error: ServingError, timing: Timing) -> bytes:
    """The header of an answer that is an error."""
    return _header([error_document(error), [getattr(timing, stage) for stage in STAGES]])


def decode_answer(header: bytes, content: Array, timing: Timing) -> InferResponse | ServingError:
    """The answer, with ``timing`` filled in. Raises CorruptError."""
    try:
        found = orjson.loads(header)
        for stage, at_ns in zip(STAGES, found[-1], strict=True):
            setattr(timing, stage, int(at_ns))
        if len(found) == 2:
            return error_of(found[0])
        model, version, name, outputs, parameters, final, _ = found
        tensors = tuple(_tensors(outputs, content))
        return InferResponse(model, version, name, tensors, _parameters(parameters), final)
    except (ValueError, TypeError, KeyError, IndexError, ServingError) as err:
        raise CorruptError(f"an answer does not parse: {err!r}") from err


def error_document(error: ServingError) -> Json:
    """What ``error_of`` reads."""
    return [error.reason.value, error.message, error.retry_after_s]


def error_of(document: Json) -> ServingError:
    """The error of its document. Raises ValueError or TypeError."""
    reason, message, retry_after_s = document
    return ServingError(Reason(reason), message, retry_after_s)


def _encode_tensor(tensor: Tensor, parts: list[Buffer]) -> Json:
    """A tensor's line of the header; its bytes are appended to ``parts``. Of a tensor whose content is in a region
    that alone is said."""
    if tensor.region is not None:
        return [tensor.name, tensor.datatype, tensor.shape, -1, tensor.region]
    part = encode(tensor)
    parts.append(part)
    return [tensor.name, tensor.datatype, tensor.shape, len(part), None]


def _tensors(lines: Sequence[Json], content: Array) -> Iterator[Tensor]:
    start = 0
    for name, datatype, shape, size_bytes, region in lines:
        if size_bytes < 0:
            yield Tensor(name, datatype, tuple(shape), None, Region(*region))
            continue
        end = start + size_bytes
        if end > len(content):
            raise CorruptError(f"tensor {name!r} ends at byte {end} of {len(content)}")
        yield decode(name, datatype, tuple(shape), content[start:end].data)
        start = aligned(end)


def _plain(parameters: Parameters) -> Mapping[str, Any]:
    """Parameters as JSON carries them: numbers that it lacks are spelt."""
    return {k: v if not isinstance(v, float) or isfinite(v) else {"float": str(v)} for k, v in parameters.items()}


def _parameters(found: Json) -> Parameters:
    return {k: float(v["float"]) if isinstance(v, dict) else v for k, v in found.items()}


def _header(document: Json) -> bytes:
    try:
        return orjson.dumps(document, default=tuple)  # named tuples, as arrays
    except orjson.JSONEncodeError as err:
        raise invalid(f"the request cannot be passed on: {err}") from err
