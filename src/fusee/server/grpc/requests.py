"""Reads a ModelInferRequest: into a ``Plan``, which says where each input lies, then into an InferRequest.

A plan whose inputs all lie outside of it holds for every request with the same parts, so that a caller who repeats
itself has it read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.grpc.scanner import MOST_FIELDS, scan
from fusee.server.grpc.stream import Buffer
from fusee.server.proto.grpc_service_pb2 import InferParameter, InferTensorContents, ModelInferRequest
from fusee.server.types import InferRequest, Parameters, Region, Tensor, WantedOutput
from fusee.server.wire import BYTES, DATATYPES, check_rank, decode, element_count, from_json

_PLANS_KEPT = 256
_PLAN_BYTES = 4096
_ODD_BYTES = 1024 * 1024  # of a message that protobuf reads as a whole: two bytes of it may become a hundred in memory
_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")
_EMPTY_FINAL = "triton_enable_empty_final_response"
_REGION_FIELDS = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")
_CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""The field of ``contents`` by datatype; FP16 and BF16 have none."""


class Raw(NamedTuple):
    """An input whose bytes are the next of ``raw_input_contents``."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Plan(NamedTuple):
    """A request without id and raw contents."""

    model: str
    version: str
    inputs: tuple[Tensor | Raw, ...]
    outputs: tuple[WantedOutput, ...]
    raw_count: int
    parameters: Parameters
    priority: int
    timeout_us: int
    wants_empty_final: bool


class Context(NamedTuple):
    """What a call's metadata says about its requests."""

    deadline_ns: int | None
    traceparent: str
    is_streaming: bool


class RequestReader:
    """Reads the requests of a door, remembering the plans of those that repeat."""

    def __init__(self, tensors: int) -> None:
        self._tensors = tensors
        self._plans: dict[bytes, Plan] = {}

    def read(self, message: Buffer, context: Context) -> tuple[InferRequest, Plan]:
        """Raises ServingError."""
        scanned = scan(message)
        if scanned is None:
            return self._read_whole(message, context)
        rest, request_id, raw = scanned
        plan = self._plans.get(rest)
        if plan is None:
            plan = self._plan(_parse(rest), bool(raw))
            if len(rest) <= _PLAN_BYTES:
                self._remember(rest, plan)
        try:
            text = request_id.decode() if request_id else ""
        except UnicodeDecodeError as err:
            raise invalid(f"the request's id is no UTF-8: {err.reason}") from err
        return _request(plan, text, raw, context), plan

    def _read_whole(self, message: Buffer, context: Context) -> tuple[InferRequest, Plan]:
        if len(message) > _ODD_BYTES:
            raise invalid(
                f"a ModelInferRequest of {len(message)} bytes with fields of another protocol, or more than "
                f"{MOST_FIELDS} fields; up to {_ODD_BYTES} bytes of that kind are read"
            )
        parsed = _parse(bytes(message))
        raw = [memoryview(content) for content in parsed.raw_input_contents]
        plan = self._plan(parsed, bool(raw))
        return _request(plan, parsed.id, raw, context), plan

    def _plan(self, parsed: ModelInferRequest, has_raw: bool) -> Plan:
        for what, entries in (("inputs", parsed.inputs), ("outputs", parsed.outputs)):
            if len(entries) > self._tensors:
                raise invalid(f"{len(entries)} {what}, but a request may have {self._tensors}")
            _check_names(what[:-1], [e.name for e in entries])
        if not parsed.inputs:
            raise invalid("the inference request has no inputs")
        parameters = _parameters(parsed.parameters)
        inputs = tuple(_input(entry, has_raw) for entry in parsed.inputs)
        return Plan(
            model=parsed.model_name,
            version=parsed.model_version,
            inputs=inputs,
            outputs=tuple(_wanted(e.name, _parameters(e.parameters)) for e in parsed.outputs),
            raw_count=sum(isinstance(i, Raw) for i in inputs),
            parameters=_free(parameters),
            priority=_natural(parameters, "priority", "the inference request"),
            timeout_us=_natural(parameters, "timeout", "the inference request"),
            wants_empty_final=parameters.get(_EMPTY_FINAL) is True,
        )

    def _remember(self, rest: bytes, plan: Plan) -> None:
        if any(isinstance(i, Tensor) and i.region is None for i in plan.inputs):
            return  # its values are the caller's of this time
        if len(self._plans) >= _PLANS_KEPT:
            del self._plans[next(iter(self._plans))]
        self._plans[rest] = plan


def _parse(message: bytes) -> ModelInferRequest:
    try:
        return ModelInferRequest.FromString(message)
    except DecodeError as err:
        raise invalid(f"the message is no ModelInferRequest: {err}") from err


def _request(plan: Plan, request_id: str, raw: Sequence[memoryview], context: Context) -> InferRequest:
    if len(raw) != plan.raw_count:
        raise invalid(
            f"{len(raw)} raw_input_contents, expected {plan.raw_count}: one for each input that is not in shared memory"
        )
    if plan.raw_count == len(plan.inputs):
        inputs = tuple([decode(i.name, i.datatype, i.shape, c) for i, c in zip(plan.inputs, raw, strict=True)])
    else:
        contents = iter(raw)
        inputs = tuple(
            [decode(i.name, i.datatype, i.shape, next(contents)) if isinstance(i, Raw) else i for i in plan.inputs]
        )
    return InferRequest(
        plan.model,
        plan.version,
        request_id,
        inputs,
        plan.outputs,
        plan.parameters,
        plan.priority,
        plan.timeout_us,
        context.deadline_ns,
        context.traceparent,
        context.is_streaming,
    )


def _check_names(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not name:
            raise invalid(f"{what} {index} has no name")
        if name in seen:
            raise invalid(f"{what} {name!r} appears twice")
        seen.add(name)


def _input(entry: ModelInferRequest.InferInputTensor, has_raw: bool) -> Tensor | Raw:
    name, datatype = entry.name, entry.datatype
    check_rank(name, len(entry.shape))
    shape = tuple(entry.shape)
    where = f"input {name!r}"
    region = _region(_parameters(entry.parameters), where)
    if region is not None:
        if entry.HasField("contents"):
            raise invalid(f"{where} has both contents and shared_memory_region; expected one")
        return Tensor(name, datatype, shape, None, region)
    if has_raw:
        if entry.HasField("contents"):
            raise invalid(f"{where} has contents, but the request has raw_input_contents; expected one of them")
        return Raw(name, datatype, shape)
    return _typed(name, datatype, shape, entry.contents)


def _typed(name: str, datatype: str, shape: tuple[int, ...], contents: InferTensorContents) -> Tensor:
    """The tensor of typed contents. Raises ServingError."""
    field = _CONTENTS.get(datatype)
    if field is None:
        if datatype in DATATYPES:
            raise invalid(f"input {name!r}: {datatype} has no typed contents; send it in raw_input_contents")
        raise invalid(f"tensor {name!r}: datatype {datatype!r} is unknown; expected {', '.join(DATATYPES)}")
    if other := next((f.name for f, _ in contents.ListFields() if f.name != field), None):
        raise invalid(f"input {name!r}: {other} are given, but {datatype} belongs in {field}")
    values = list(getattr(contents, field))
    if datatype != BYTES:
        return from_json(name, datatype, shape, values)
    count = element_count(name, shape)
    if len(values) != count:
        raise invalid(f"tensor {name!r}: {len(values)} elements, expected {count} for shape {list(shape)}")
    array = np.empty(count, dtype=object)
    array[:] = values
    return Tensor(name, datatype, shape, array.reshape(shape))


def _wanted(name: str, parameters: Parameters) -> WantedOutput:
    where = f"output {name!r}"
    return WantedOutput(name, _natural(parameters, "classification", where), _region(parameters, where))


def _region(parameters: Parameters, where: str) -> Region | None:
    if "shared_memory_region" not in parameters:
        if stray := next((f for f in _REGION_FIELDS if f in parameters), None):
            raise invalid(f"{where} has {stray!r} without 'shared_memory_region'")
        return None
    name = parameters["shared_memory_region"]
    if not isinstance(name, str) or not name:
        raise invalid(f"{where}: 'shared_memory_region' is to be a name")
    if "shared_memory_byte_size" not in parameters:
        raise invalid(f"{where} has 'shared_memory_region' without 'shared_memory_byte_size'")
    offset_bytes = _natural(parameters, "shared_memory_offset", where)
    return Region(name, offset_bytes, _natural(parameters, "shared_memory_byte_size", where))


def _free(parameters: Parameters) -> Parameters:
    """The parameters that go on to the model: those that the protocol does not reserve. Raises ServingError."""
    free: dict[str, bool | int | float | str] = {}
    for name, value in parameters.items():
        if name == "headers" or (name.startswith("triton_") and name != _EMPTY_FINAL):
            raise invalid(f"parameter {name!r} is reserved and cannot be given")
        if name in _SEQUENCES:
            if value:
                raise ServingError(Reason.UNSUPPORTED, f"parameter {name!r}: sequences are not offered")
        elif name not in ("priority", "timeout", "binary_data_output", _EMPTY_FINAL):
            free[name] = value
    return free


def _parameters(entries: Mapping[str, InferParameter]) -> dict[str, bool | int | float | str]:
    if not entries:
        return {}
    return {name: _value(name, entry) for name, entry in entries.items()}


def _value(name: str, parameter: InferParameter) -> bool | int | float | str:
    choice = parameter.WhichOneof("parameter_choice")
    if choice is None:
        raise invalid(f"parameter {name!r} has no value")
    return getattr(parameter, choice)


def _natural(parameters: Parameters, name: str, where: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or value < 0:
        raise invalid(f"{where}: {name!r} is to be a whole number, 0 or above")
    return value
