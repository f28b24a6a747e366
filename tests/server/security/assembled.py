"""A whole server for attackers to try: its repository, its keys, and plain ways to ask it."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import socket
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import onnx

from fusee.build import build_artifact
from fusee.engine import file
from fusee.server.listening import Ports
from fusee.server.proto.grpc_service_pb2 import ModelInferRequest
from server.grpc.byte_client import ByteClient

SERVICE = "/inference.GRPCInferenceService/"
PATIENCE_S = 30.0
ECHO = """
from typing import Annotated

from fusee.server.pipelines import Array, Call, tensor

Values = Annotated[Array, tensor("FP32", -1)]


def run(call: Call, values: Values) -> Values:
    return values
"""
PICTURE_CONFIG = 'parameters { key: "image_input" value { string_value: "pixels" } }'


def write_repository(folder: Path) -> Path:
    """A Python pipeline, and an engine that takes pictures."""
    for name in ("echo", "picture"):
        (folder / name / "1").mkdir(parents=True)
    (folder / "echo" / "1" / "pipeline.py").write_text(ECHO)
    (folder / "picture" / "config.pbtxt").write_text(PICTURE_CONFIG)
    file.save(build_artifact(picture_model()).artifact, folder / "picture" / "1" / "model.fusee")
    return folder


def picture_model() -> onnx.ModelProto:
    """Pictures of 8x6 pixels, and their opposites."""
    given, answer = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3, 8, 6]) for name in ("pixels", "gone")
    )
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["pixels"], ["gone"])], "picture", [given], [answer])
    return onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 18)])


def write_keys(path: Path, keys: Mapping[str, Mapping[str, Any]]) -> Path:
    """A keys file; each key is its name with "-secret" after it."""
    entries = [{"name": n, "sha256": hashlib.sha256(f"{n}-secret".encode()).hexdigest(), **k} for n, k in keys.items()]
    path.write_text(json.dumps({"keys": entries}))
    return path


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


def ask(
    port: int | None, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body or None, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def exchange(port: int | None, content: bytes) -> bytes:
    """All that the server answers to some bytes until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        sock.sendall(content)
        return rest_of(sock)


def rest_of(sock: socket.socket) -> bytes:
    answer = b""
    try:
        while piece := sock.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def infer_json(**changes: Any) -> bytes:
    tensor = {"name": "values", "datatype": "FP32", "shape": [1], "data": [1.0], **changes}
    return json.dumps({"inputs": [tensor]}).encode()


def infer_message(count: int = 1, **changes: Any) -> bytes:
    request = ModelInferRequest(model_name=changes.pop("model_name", "echo"))
    request.inputs.add(**{"name": "values", "datatype": "FP32", "shape": [count], **changes})
    request.raw_input_contents.append(bytes(4 * count))
    return request.SerializeToString()


@dataclass
class Outcome:
    code: grpc.StatusCode
    message: str
    trailers: Mapping[str, Any]
    content: bytes


def call(
    ports: Ports, rpc: str, message: bytes = b"", metadata: Iterable[tuple[str, str]] = (), **options: Any
) -> Outcome:
    """One call on a channel of its own."""
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}", [("grpc.max_receive_message_length", -1)]) as channel:
        try:
            answer = channel.unary_unary(SERVICE + rpc)(
                message, timeout=PATIENCE_S, metadata=tuple(metadata), **options
            )
        except grpc.RpcError as err:
            return Outcome(err.code(), err.details() or "", dict(err.trailing_metadata() or ()), b"")
    return Outcome(grpc.StatusCode.OK, "", {}, answer)


def speak(ports: Ports) -> ByteClient:
    """A connection to the gRPC door that says what a test wants."""
    return ByteClient(socket.create_connection(("127.0.0.1", ports.grpc), timeout=PATIENCE_S))


def packed(content: bytes, encoding: str) -> bytes:
    return gzip.compress(content) if encoding == "gzip" else zlib.compress(content)
