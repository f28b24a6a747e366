"""Cases of HTTP requests and gRPC messages that the clients never write."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from server.conformance.case import Case, Cases
from server.conformance.clients import PLAIN_GRPC, PLAIN_HTTP, Answer, PlainGrpc, PlainHttp, message_record, refused
from server.conformance.records import Record

WIRE = Cases()
INFER = "/v2/models/{}/infer"
NUMBERS = list(range(16))
HEADER_LENGTH = "Inference-Header-Content-Length"


def tensor(name: str, datatype: str, shape: list[int], values: Any, **parameters: Any) -> Record:
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "data": values,
        **({"parameters": parameters} if parameters else {}),
    }


SUMMANDS = [tensor("INPUT0", "INT32", [1, 16], NUMBERS), tensor("INPUT1", "INT32", [1, 16], NUMBERS)]
SIMPLE = {"inputs": SUMMANDS}


def identity(datatype: str, values: Any, shape: list[int] | None = None) -> Record:
    return {"inputs": [tensor("INPUT0", datatype, shape or [1, len(values)], values)]}


def answered(answer: Answer) -> Record:
    return {"status": answer.status, "body": answer.json()} if answer.status < 400 else answer.refusal()


BODIES: Mapping[str, tuple[str, Any]] = {
    "flat data": ("simple", SIMPLE),
    "nested data": ("simple", {"inputs": [tensor("INPUT0", "INT32", [1, 16], [NUMBERS]), SUMMANDS[1]]}),
    "outputs named": ("simple", {**SIMPLE, "outputs": [{"name": "OUTPUT1"}]}),
    "an id": ("simple", {**SIMPLE, "id": "7"}),
    "parameters": ("simple", {**SIMPLE, "parameters": {"mine": 1, "other": "text", "third": True}}),
    "unknown fields": ("simple", {**SIMPLE, "colour": "red"}),
    "strings": ("identity_bytes", identity("BYTES", ["a", "ü", ""])),
    "booleans": ("identity_bool", identity("BOOL", [True, False])),
    "booleans as numbers": ("identity_bool", identity("BOOL", [1, 0])),
    "floats": ("identity_fp32", identity("FP32", [1, 0.1, -2.5e-3, 3e38])),
    "integers at the edges": ("identity_int64", identity("INT64", [2**63 - 1, -(2**63)])),
    "unsigned at the edges": ("identity_uint64", identity("UINT64", [2**64 - 1, 0])),
    "empty body": ("simple", b""),
    "no JSON": ("simple", b"hello"),
    "JSON cut off": ("simple", b'{"inputs": ['),
    "JSON with a tail": ("simple", json.dumps(SIMPLE).encode() + b"tail"),
    "an array": ("simple", []),
    "no inputs": ("simple", {}),
    "inputs no array": ("simple", {"inputs": {}}),
    "inputs empty": ("simple", {"inputs": []}),
    "input no object": ("simple", {"inputs": [1, 2]}),
    "input without a name": ("simple", {"inputs": [{k: v for k, v in SUMMANDS[0].items() if k != "name"}]}),
    "input without a shape": ("simple", {"inputs": [{k: v for k, v in SUMMANDS[0].items() if k != "shape"}]}),
    "input without a data type": ("simple", {"inputs": [{k: v for k, v in SUMMANDS[0].items() if k != "datatype"}]}),
    "input without data": ("simple", {"inputs": [{k: v for k, v in s.items() if k != "data"} for s in SUMMANDS]}),
    "unknown data type": ("simple", {"inputs": [tensor("INPUT0", "INT33", [1, 16], NUMBERS), SUMMANDS[1]]}),
    "a name that is a number": ("simple", {"inputs": [{**SUMMANDS[0], "name": 3}, SUMMANDS[1]]}),
    "a shape of text": ("simple", {"inputs": [{**SUMMANDS[0], "shape": "1,16"}, SUMMANDS[1]]}),
    "a shape of floats": ("simple", {"inputs": [{**SUMMANDS[0], "shape": [1.0, 16.0]}, SUMMANDS[1]]}),
    "a negative size": ("identity_fp32", identity("FP32", [1.0], [1, -1])),
    "sizes whose product overflows": ("identity_fp32", identity("FP32", [1.0], [1 << 40, 1 << 40])),
    "a size beyond 64 bits": ("identity_fp32", identity("FP32", [1.0], [1, 1 << 70])),
    "too few values": ("simple", {"inputs": [tensor("INPUT0", "INT32", [1, 16], NUMBERS[:-1]), SUMMANDS[1]]}),
    "too many values": ("simple", {"inputs": [tensor("INPUT0", "INT32", [1, 16], [*NUMBERS, 1]), SUMMANDS[1]]}),
    "text for a number": ("identity_int32", identity("INT32", ["1"])),
    "a fraction for an integer": ("identity_int32", identity("INT32", [1.5])),
    "a number beyond its type": ("identity_uint8", identity("UINT8", [300])),
    "a negative number, unsigned": ("identity_uint32", identity("UINT32", [-1])),
    "null among the values": ("identity_fp32", identity("FP32", [None])),
    "number for a string": ("identity_bytes", identity("BYTES", [3])),
    "FP16 in JSON": ("identity_fp16", identity("FP16", [1.0])),
    "data no array": ("identity_fp32", identity("FP32", 3.0, [1, 1])),
    "binary size without bytes": (
        "identity_fp32",
        {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}]},
    ),
    "a priority of text": ("simple", {**SIMPLE, "parameters": {"priority": "first"}}),
    "a timeout of text": ("simple", {**SIMPLE, "parameters": {"timeout": "soon"}}),
    "parameters no object": ("simple", {**SIMPLE, "parameters": [1]}),
    "a parameter that is an array": ("simple", {**SIMPLE, "parameters": {"mine": [1]}}),
    "an output without a name": ("simple", {**SIMPLE, "outputs": [{}]}),
    "outputs no array": ("simple", {**SIMPLE, "outputs": {"name": "OUTPUT0"}}),
    "very deep JSON": ("simple", b'{"inputs":' + b"[" * 500 + b"]" * 500 + b"}"),
}


def _body(model: str, body: Any, client: PlainHttp) -> Record:
    return answered(client.ask("POST", INFER.format(model), body))


WIRE += [Case(f"HTTP body: {name}", (PLAIN_HTTP,), partial(_body, *given)) for name, given in BODIES.items()]


def binary(header: Record, *contents: bytes) -> tuple[bytes, dict[str, str]]:
    """A body with binary tensors after its JSON, and its headers."""
    text = json.dumps(header).encode()
    return b"".join((text, *contents)), {HEADER_LENGTH: str(len(text))}


ONES = np.ones(4, np.float32).tobytes()
ONES_HEADER = {
    "inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}]
}


def _tail(answer: Answer) -> Record:
    """An answer whose tensors may follow its JSON."""
    if answer.status >= 400:
        return answer.refusal()
    length = int(answer.headers.get(HEADER_LENGTH.lower(), len(answer.body)))
    return {"json": json.loads(answer.body[:length] or b"null"), "tail": answer.body[length:].hex()}


@WIRE.case("HTTP binary: in, JSON out", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    return _tail(client.ask("POST", INFER.format("identity_fp32"), *binary(ONES_HEADER, ONES)))


@WIRE.case("HTTP binary: all outputs", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    header = {**ONES_HEADER, "parameters": {"binary_data_output": True}}
    return _tail(client.ask("POST", INFER.format("identity_fp32"), *binary(header, ONES)))


@WIRE.case("HTTP binary: one output not", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    numbers = np.arange(16, dtype=np.int32).tobytes()
    inputs = [
        {"name": f"INPUT{i}", "datatype": "INT32", "shape": [1, 16], "parameters": {"binary_data_size": 64}}
        for i in (0, 1)
    ]
    outputs = [{"name": "OUTPUT0", "parameters": {"binary_data": False}}, {"name": "OUTPUT1"}]
    header = {"inputs": inputs, "outputs": outputs, "parameters": {"binary_data_output": True}}
    return _tail(client.ask("POST", INFER.format("simple"), *binary(header, numbers, numbers)))


@WIRE.case("HTTP binary: nothing but the tensor", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    answer = client.ask("POST", INFER.format("identity_fp32"), ONES, {HEADER_LENGTH: "0"})
    two = client.ask("POST", INFER.format("simple"), ONES, {HEADER_LENGTH: "0"})
    words = struct.pack("<I", 3) + b"abc"
    strings = client.ask("POST", INFER.format("identity_bytes"), words, {HEADER_LENGTH: "0"})
    return {"one input": _tail(answer), "two inputs": _tail(two), "strings": _tail(strings)}


def _lengths(client: PlainHttp) -> Record:
    text, _ = binary(ONES_HEADER, ONES)
    given = ("-1", "9999", "x", "", "3", str(len(text)), "99999999999999999999")
    return {
        length: _tail(client.ask("POST", INFER.format("identity_fp32"), text, {HEADER_LENGTH: length}))
        for length in given
    }


def _sizes(client: PlainHttp) -> Record:
    def ask(size: Any) -> Record:
        header = {"inputs": [{**ONES_HEADER["inputs"][0], "parameters": {"binary_data_size": size}}]}
        return _tail(client.ask("POST", INFER.format("identity_fp32"), *binary(header, ONES)))

    return {str(size): ask(size) for size in (15, 17, 12, 0, -16, "16", 2**63)}


def _more_bytes(client: PlainHttp) -> Record:
    return _tail(client.ask("POST", INFER.format("identity_fp32"), *binary(ONES_HEADER, ONES, b"more")))


def _cut_strings(client: PlainHttp) -> Record:
    def ask(content: bytes) -> Record:
        parameters = {"binary_data_size": len(content)}
        header = {"inputs": [{"name": "INPUT0", "datatype": "BYTES", "shape": [1, 1], "parameters": parameters}]}
        return _tail(client.ask("POST", INFER.format("identity_bytes"), *binary(header, content)))

    return [ask(c) for c in (b"\x01\x00", struct.pack("<I", 9) + b"abc", struct.pack("<I", 1) + b"abc", b"\xff" * 4)]


WIRE += [
    Case("HTTP binary: wrong header lengths", (PLAIN_HTTP,), _lengths),
    Case("HTTP binary: wrong tensor sizes", (PLAIN_HTTP,), _sizes),
    Case("HTTP binary: bytes left over", (PLAIN_HTTP,), _more_bytes),
    Case("HTTP binary: strings cut off", (PLAIN_HTTP,), _cut_strings),
]


@WIRE.case("HTTP routes", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    asked = (
        ("GET", "/"),
        ("GET", "/v2/"),
        ("GET", "/v3"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/health/well"),
        ("POST", "/v2/health/live"),
        ("GET", "/v2/models/simple/ready"),
        ("GET", "/v2/models/unknown/ready"),
        ("GET", "/v2/models/versions/versions/2/ready"),
        ("GET", "/v2/models/simple/infer"),
        ("PUT", "/v2/models/simple/infer"),
        ("DELETE", "/v2/models/simple"),
        ("POST", "/v2/models/simple"),
        ("GET", "/v2/models//ready"),
        ("GET", "/v2/models/simple/versions/1/colour"),
        ("GET", "/v2/repository/index"),
    )
    return {f"{method} {path}": client.ask(method, path).status for method, path in asked}


@WIRE.case("HTTP content types", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    body, headers = binary({**ONES_HEADER, "parameters": {"binary_data_output": True}}, ONES)
    answers = {
        "metadata": client.ask("GET", "/v2"),
        "JSON": client.ask("POST", INFER.format("simple"), SIMPLE),
        "binary": client.ask("POST", INFER.format("identity_fp32"), body, headers),
        "error": client.ask("GET", "/v2/models/unknown"),
    }
    return {name: answer.headers.get("content-type") for name, answer in answers.items()}


@WIRE.case("HTTP repository index", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    def names(body: Record) -> Record:
        answer = client.ask("POST", "/v2/repository/index", body)
        if answer.status >= 400:
            return answer.refusal()
        return sorted({each["name"] for each in answer.json()})

    return {"all": names(b""), "ready": names({"ready": True}), "not only": names({"ready": False})}


@WIRE.case("HTTP repository calls that are wrong", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    path = "/v2/repository/models/spare/{}"
    return {
        "no JSON": answered(client.ask("POST", path.format("load"), b"{")),
        "parameters no object": answered(client.ask("POST", path.format("load"), {"parameters": 3})),
        "unknown call": answered(client.ask("POST", path.format("polish"))),
        "index of text": answered(client.ask("POST", "/v2/repository/index", b"x")),
    }


@WIRE.case("HTTP encodings", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    body = json.dumps(SIMPLE).encode()
    given = {
        "gzip": ("gzip", gzip.compress(body)),
        "deflate": ("deflate", zlib.compress(body)),
        "identity": ("identity", body),
        "no gzip": ("gzip", b"no gzip at all"),
        "gzip cut off": ("gzip", gzip.compress(body)[:-9]),
        "unknown": ("brotli", body),
    }
    return {
        name: answered(client.ask("POST", INFER.format("simple"), content, {"Content-Encoding": encoding}))
        for name, (encoding, content) in given.items()
    }


@WIRE.case("HTTP body after 100 Continue", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    body = json.dumps(SIMPLE).encode()
    return answered(client.ask("POST", INFER.format("simple"), body, {"Expect": "100-continue"}))


@WIRE.case("HTTP body in chunks", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    text = json.dumps(SIMPLE).encode()
    chunks = iter([text[:1], text[1:40], text[40:]])
    body, headers = binary(ONES_HEADER, ONES)
    return {
        "JSON": answered(client.ask("POST", INFER.format("simple"), chunks)),
        "binary": _tail(client.ask("POST", INFER.format("identity_fp32"), iter([body[:50], body[50:]]), headers)),
    }


@WIRE.case("HTTP requests on one connection", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    """Good and bad ones in turns: an error closes nothing."""
    connection = http.client.HTTPConnection(client.address, timeout=20)
    statuses: list[int] = []
    with contextlib.closing(connection):
        for path in ("/v2", "/v2/models/unknown", "/v2/nowhere", "/v2/models/simple", "/v2/health/live"):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
    return statuses


@WIRE.case("HTTP names in percent encoding", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    asked = (
        "/v2/models/sim%70le/ready",
        "/v2/models/simple%2Fversions%2F1/ready",
        "/v2/models/%00/ready",
        "/v2/models/%/ready",
    )
    return {path: client.ask("GET", path).status for path in asked}


@WIRE.case("HTTP logging and tracing", PLAIN_HTTP)
def _(client: PlainHttp) -> Record:
    return {
        "trace, no JSON": answered(client.ask("POST", "/v2/trace/setting", b"{")),
        "trace, unknown": answered(client.ask("POST", "/v2/trace/setting", {"colour": "red"})),
        "log, no JSON": answered(client.ask("POST", "/v2/logging", b"{")),
        "log, unknown": answered(client.ask("POST", "/v2/logging", {"colour": "red"})),
        "log, text for a flag": answered(client.ask("POST", "/v2/logging", {"log_info": "yes"})),
    }


def message(name: str, datatype: str, shape: list[int], **contents: Any) -> Record:
    return {"name": name, "datatype": datatype, "shape": shape, **({"contents": contents} if contents else {})}


def typed(model: str, datatype: str, **contents: Any) -> Record:
    ((_, values),) = contents.items()
    return {"model_name": model, "inputs": [message("INPUT0", datatype, [1, len(values)], **contents)]}


TWO_RAW = [message("INPUT0", "INT32", [1, 16]), message("INPUT1", "INT32", [1, 16])]
RAW = np.arange(16, dtype=np.int32).tobytes()
MESSAGES: Mapping[str, Record] = {
    "typed BOOL": typed("identity_bool", "BOOL", bool_contents=[True, False]),
    "typed INT8": typed("identity_int8", "INT8", int_contents=[-128, 127]),
    "typed INT16": typed("identity_int16", "INT16", int_contents=[-(2**15), 2**15 - 1]),
    "typed INT32": typed("identity_int32", "INT32", int_contents=[-(2**31), 2**31 - 1]),
    "typed INT64": typed("identity_int64", "INT64", int64_contents=[-(2**63), 2**63 - 1]),
    "typed UINT8": typed("identity_uint8", "UINT8", uint_contents=[0, 255]),
    "typed UINT16": typed("identity_uint16", "UINT16", uint_contents=[0, 2**16 - 1]),
    "typed UINT32": typed("identity_uint32", "UINT32", uint_contents=[0, 2**32 - 1]),
    "typed UINT64": typed("identity_uint64", "UINT64", uint64_contents=[0, 2**64 - 1]),
    "typed FP32": typed("identity_fp32", "FP32", fp32_contents=[1.5, -0.0]),
    "typed FP64": typed("identity_fp64", "FP64", fp64_contents=[0.1, 1e300]),
    "typed BYTES": typed("identity_bytes", "BYTES", bytes_contents=[b"a", b"", b"\xff"]),
    "typed FP16": typed("identity_fp16", "FP16", fp32_contents=[1.0]),
    "raw": {"model_name": "simple", "inputs": TWO_RAW, "raw_input_contents": [RAW, RAW]},
    "raw, an id": {"model_name": "simple", "id": "7", "inputs": TWO_RAW, "raw_input_contents": [RAW, RAW]},
    "raw and typed": {
        "model_name": "simple",
        "inputs": [message("INPUT0", "INT32", [1, 16], int_contents=NUMBERS), TWO_RAW[1]],
        "raw_input_contents": [RAW],
    },
    "typed in the wrong field": typed("identity_int32", "INT32", fp32_contents=[1.0]),
    "typed beyond its type": typed("identity_int8", "INT8", int_contents=[300]),
    "too few typed values": {
        "model_name": "identity_fp32",
        "inputs": [message("INPUT0", "FP32", [1, 4], fp32_contents=[1])],
    },
    "too few raw contents": {"model_name": "simple", "inputs": TWO_RAW, "raw_input_contents": [RAW]},
    "too many raw contents": {"model_name": "simple", "inputs": TWO_RAW, "raw_input_contents": [RAW, RAW, RAW]},
    "raw contents cut off": {"model_name": "simple", "inputs": TWO_RAW, "raw_input_contents": [RAW, RAW[:-1]]},
    "no data": {"model_name": "simple", "inputs": TWO_RAW},
    "no inputs": {"model_name": "simple"},
    "no model": {"inputs": TWO_RAW, "raw_input_contents": [RAW, RAW]},
    "unknown data type": {
        "model_name": "simple",
        "inputs": [message("INPUT0", "INT33", [1, 16]), TWO_RAW[1]],
        "raw_input_contents": [RAW, RAW],
    },
    "a negative size": {
        "model_name": "identity_fp32",
        "inputs": [message("INPUT0", "FP32", [1, -1])],
        "raw_input_contents": [b""],
    },
    "sizes whose product overflows": {
        "model_name": "identity_fp32",
        "inputs": [message("INPUT0", "FP32", [1 << 40, 1 << 40])],
        "raw_input_contents": [b""],
    },
}


def _message(fields: Record, client: PlainGrpc) -> Record:
    return refused((), lambda: client.infer(fields))


WIRE += [Case(f"gRPC message: {name}", (PLAIN_GRPC,), partial(_message, fields)) for name, fields in MESSAGES.items()]


@WIRE.case("gRPC method that is not there", PLAIN_GRPC)
def _(client: PlainGrpc) -> Record:
    call = client.channel.unary_unary("/inference.GRPCInferenceService/Polish")
    return refused((), lambda: call(b"", timeout=20))


@WIRE.case("gRPC message that is none", PLAIN_GRPC)
def _(client: PlainGrpc) -> Record:
    call = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    return refused((), lambda: call(b"\xff\xff\xff", timeout=20))


@WIRE.case("gRPC health service", PLAIN_GRPC)
def _(client: PlainGrpc) -> Record:
    call = client.channel.unary_unary("/grpc.health.v1.Health/Check")

    def check(service: str) -> Record:
        return refused((), lambda: call(b"\n" + bytes([len(service)]) + service.encode(), timeout=20).hex())

    return {service: check(service) for service in ("", "inference.GRPCInferenceService", "nothing")}


@WIRE.case("gRPC settings", PLAIN_GRPC)
def _(client: PlainGrpc) -> Record:
    return {
        "log": message_record(client.stub.LogSettings(service_pb2.LogSettingsRequest(), timeout=20)),
        "trace": message_record(client.stub.TraceSetting(service_pb2.TraceSettingRequest(), timeout=20)),
        "cuda": message_record(
            client.stub.CudaSharedMemoryStatus(service_pb2.CudaSharedMemoryStatusRequest(), timeout=20)
        ),
    }
