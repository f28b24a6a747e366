"""Every limit of the settings, over sockets, on the whole server."""

from __future__ import annotations

import socket
from collections.abc import Generator
from pathlib import Path

import grpc
import pytest

from fusee.server.app import serving
from fusee.server.grpc import frames as f
from fusee.server.listening import Ports
from fusee.server.settings import Limits, Settings
from server.grpc.byte_client import ByteClient, message
from server.pipelines.picture_files import png_header
from server.security.assembled import (
    PATIENCE_S,
    SERVICE,
    ask,
    call,
    exchange,
    infer_json,
    infer_message,
    packed,
    rest_of,
    speak,
)

LIMITS = Limits(
    header_bytes=2048,
    body_bytes=100_000,
    chunks=10,
    json_depth=8,
    tensors=4,
    connections=6,
    streams=3,
    request_bytes=150_000,
    header_timeout_s=0.4,
    body_timeout_s=0.4,
    idle_timeout_s=0.6,
    image_pixels=10_000,
)
INFER = "/v2/models/echo/infer"
HEAD = "POST /v2/models/echo/infer HTTP/1.1\r\nhost: localhost\r\n"
TOO_MUCH = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module", params=[False, True], ids=["one process", "isolated"])
def ports(request: pytest.FixtureRequest, repository: Path) -> Generator[Ports]:
    settings = Settings(
        (repository,),
        http_port=0,
        grpc_port=0,
        metrics_port=None,
        allow_python_models=True,
        limits=LIMITS,
        is_isolated=request.param,
    )
    with serving(settings) as found:
        yield found


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in (*chunks, b""))


@pytest.mark.parametrize(
    ("request_bytes", "status", "said"),
    [
        (HEAD.encode() + b"x: " + b"a" * 3000 + b"\r\n\r\n", 431, "head is more than 2048 bytes"),
        (b"GET /" + b"a" * 3000, 431, "head is more than 2048 bytes"),
        (HEAD.encode() + b"content-length: 100001\r\n\r\n", 413, "up to 100000 are taken"),
        (HEAD.encode() + b"content-length: 99999999999999999999\r\n\r\n", 400, "no HTTP"),
        (HEAD.encode() + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}", 400, "no HTTP"),
        (HEAD.encode() + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400, "no HTTP"),
        (HEAD.encode() + b"transfer-encoding: chunked\r\n\r\n186a1\r\n", 413, "more than 100000 bytes"),
        (HEAD.encode() + b"transfer-encoding: chunked\r\n\r\n" + chunked(*[b"a"] * 11), 413, "more than 10 chunks"),
        (HEAD.encode() + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400, "size of a chunk"),
        (HEAD.encode() + b"transfer-encoding: chunked\r\n\r\n-1\r\n", 400, "size of a chunk"),
        (HEAD.encode() + b"content-length: 9\r\ninference-header-content-length: 10\r\n\r\n" + bytes(9), 400, "has 9"),
        (HEAD.encode() + b"content-length: 9\r\ninference-header-content-length: -1\r\n\r\n" + bytes(9), 400, "whole"),
        (HEAD.encode() + b"content-length: 9", 408, "rest of a request's head"),
        (HEAD.encode() + b"content-length: 9\r\n\r\n", 408, "rest of a request's body"),
        (HEAD.encode() + b"transfer-encoding: chunked\r\n\r\n1", 408, "rest of a request's body"),
    ],
)
def test_http(ports: Ports, request_bytes: bytes, status: int, said: str) -> None:
    answer = exchange(ports.http, request_bytes).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert said in answer


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[" * 9 + b"]" * 9, "nested more than 8 deep"),
        (b"[" * 50_000, "no JSON"),
        (b'{"a":' * 5000, "no JSON"),
        (infer_json(shape=[2**62, 4]), "too large"),
        (infer_json(shape=[1e300]), "whole numbers"),
        (infer_json(shape=[2**64]), "whole numbers"),
        (infer_json(shape=[1] * 65), "65 dimensions is too large"),
        (infer_json(shape=[-1]), "below 0"),
        (b'{"inputs":[' + b",".join([b'{"name":"a"}'] * 5) + b"]}", "5 inputs, but a request may have 4"),
        (infer_json(datatype="A" * 90_000), "is unknown"),
        (infer_json(name="\u0000\u001b[2J\r\nset-cookie: a=b"), ""),
    ],
)
def test_documents(ports: Ports, body: bytes, said: str) -> None:
    answer = ask(ports.http, "POST", INFER, body)
    assert answer.status == 400
    assert said in answer.error
    assert len(answer.body) < 8192, "what was sent does not come back"
    assert answer.error.replace("\n", "").isprintable()
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_packed_small_is_not_unpacked_large(ports: Ports, encoding: str) -> None:
    bomb = packed(bytes(50_000_000), encoding)
    assert len(bomb) < LIMITS.body_bytes
    answer = ask(ports.http, "POST", INFER, bomb, {"content-encoding": encoding})
    assert (answer.status, answer.error) == (413, "the body is more than 100000 bytes once decompressed")
    found = grpc_frames(ports, bomb, encoding)
    assert (found["grpc-status"], found["grpc-message"]) == (
        str(TOO_MUCH.value[0]), "a message takes more than 100000 bytes after decompression",
    )  # fmt: skip


def grpc_frames(ports: Ports, content: bytes, encoding: str) -> dict[str, str]:
    """The header fields that answer a compressed message."""
    client = speak(ports)
    block = client.block(path=SERVICE + "ModelInfer", grpc_encoding=encoding)
    client.send(f.HEADERS, f.END_HEADERS, 1, block)
    body = message(content, 1)
    client.send(f.DATA, f.END_STREAM, 1, body)
    fields, _ = client.answer()
    client.sock.close()
    return fields


@pytest.mark.parametrize(
    ("width", "height"), [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (10_001, 1)], ids=lambda side: str(side)
)
def test_a_picture_of_many_pixels(ports: Ports, width: int, height: int) -> None:
    picture = png_header(width, height)
    body = len(picture).to_bytes(4, "little") + picture
    shape = {"name": "pixels", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(body)}}
    header = str({"inputs": [shape]}).replace("'", '"').encode()
    headers = {"inference-header-content-length": str(len(header))}
    answer = ask(ports.http, "POST", "/v2/models/picture/infer", header + body, headers)
    assert answer.status == 413
    assert "too large" in answer.error or "10000 are decoded" in answer.error


@pytest.mark.parametrize("content", [b"GIF89a" + bytes(20), b"%!PS-Adobe", b"<svg/>", b"II*\0" + bytes(9), b"BM"])
def test_other_pictures_are_not_opened(ports: Ports, content: bytes) -> None:
    body = len(content).to_bytes(4, "little") + content
    shape = {"name": "pixels", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(body)}}
    header = str({"inputs": [shape]}).replace("'", '"').encode()
    headers = {"inference-header-content-length": str(len(header))}
    answer = ask(ports.http, "POST", "/v2/models/picture/infer", header + body, headers)
    assert answer.status == 400
    assert "expected an encoded JPEG, PNG or WebP image" in answer.error


def test_grpc_messages(ports: Ports) -> None:
    outcome = call(ports, "ModelInfer", infer_message(30_000))
    assert outcome.code is TOO_MUCH
    assert "up to 100000 are taken" in outcome.message
    outcome = call(ports, "ModelInfer", infer_message(shape=[1] * 65))
    assert (outcome.code, "65 dimensions" in outcome.message) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    outcome = call(ports, "ModelInfer", infer_message(datatype="A" * 90_000))
    assert (outcome.code, len(outcome.message) < 4096) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    outcome = call(ports, "ModelInfer", infer_message(name="\0\x1b[2J"))
    assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT
    assert outcome.message.isprintable()


def test_grpc_headers(ports: Ports) -> None:
    client = speak(ports)
    client.send(f.HEADERS, f.END_HEADERS, 1, client.block(x="a" * 4000))
    assert client.until(f.GOAWAY).code == f.ENHANCE_YOUR_CALM
    client = speak(ports)
    client.send(f.HEADERS, 0, 1, client.block())
    assert client.until(f.GOAWAY).code == f.ENHANCE_YOUR_CALM, "a block that does not end"


def test_grpc_streams(ports: Ports) -> None:
    client = speak(ports)
    for stream_id in (1, 3, 5, 7):
        client.send(f.HEADERS, f.END_HEADERS, stream_id, client.block(path=SERVICE + "ModelInfer"))
    refused = client.until(f.RST_STREAM)
    assert (refused.stream_id, refused.code) == (7, f.REFUSED_STREAM)
    client.sock.close()


def test_bodies_of_all_together(ports: Ports) -> None:
    """What one connection holds is not there for another."""
    client = speak(ports)
    for stream_id in (1, 3):
        client.send(f.HEADERS, f.END_HEADERS, stream_id, client.block(path=SERVICE + "ModelInfer"))
        client.send(f.DATA, 0, stream_id, message(bytes(90_000))[:80_000])
    fields, _ = client.answer()
    assert fields["grpc-status"] == str(TOO_MUCH.value[0])
    assert fields["retry-after"] == "1"
    client.sock.close()


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"", f.GOAWAY),
        (f.PREFACE, f.GOAWAY),
        (f.PREFACE + f.settings({}), f.GOAWAY),
        (f.PREFACE + f.settings({}) + f.frame_header(1, f.HEADERS, 0, 1) + b"\x83", f.GOAWAY),
    ],
)
def test_grpc_peers_that_keep_waiting(ports: Ports, sent: bytes, kind: int) -> None:
    with socket.create_connection(("127.0.0.1", ports.grpc), timeout=PATIENCE_S) as sock:
        sock.sendall(sent)
        assert ByteClient(sock, greets=False).until(kind)


def test_a_grpc_body_that_does_not_come(ports: Ports) -> None:
    client = speak(ports)
    client.send(f.HEADERS, f.END_HEADERS, 1, client.block(path=SERVICE + "ModelInfer"))
    assert client.until(f.RST_STREAM).stream_id == 1
    client.sock.close()


def test_silent_connections(ports: Ports) -> None:
    for port in (ports.http, ports.grpc):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
            rest_of(sock)  # comes back: the server hangs up


def test_connections(ports: Ports) -> None:
    held = [socket.create_connection(("127.0.0.1", ports.http), timeout=PATIENCE_S) for _ in range(LIMITS.connections)]
    for sock in held:
        sock.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 503" in exchange(ports.http, b"")
    for sock in held:
        sock.close()
