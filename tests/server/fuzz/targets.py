"""What untrusted bytes meet, as functions of bytes: each returns, whatever it is given, or the parser has a fault."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import orjson
from PIL import Image

from fusee.base.errors import EngineError
from fusee.engine.abi import ABI_VERSION
from fusee.engine.digest import section_digest
from fusee.engine.file import FORMAT_VERSION, HEADER, MAGIC, MAPPED_ALIGNMENT_BYTES, SECTIONS
from fusee.engine.load import load
from fusee.images import ImageSteps
from fusee.server.errors import ServingError
from fusee.server.grpc import frames as f
from fusee.server.grpc.requests import Context, RequestReader
from fusee.server.http.head import read_head
from fusee.server.http.messages import PHRASES, Refusal, Response
from fusee.server.pipelines.images import decode_into
from fusee.server.processes.encoding import decode_answer, decode_request, encode_request
from fusee.server.processes.ring import SLOT, CorruptError, Layout, Receiver, Sender
from fusee.server.proto.grpc_service_pb2 import ModelInferRequest
from fusee.server.repository.config import config_json, parse_config, parse_config_json
from fusee.server.types import InferRequest, Tensor, Timing
from fusee.server.wire import DATATYPES, decode, encode, from_json, to_json
from server.grpc.test_frames_fuzz import BLOCKS, begun, converse, hold_request
from server.grpc.test_scanner import check as check_scanner
from server.http.http_house import Asker, FakePlane, body_of

MOST_PIXELS = 1 << 20
STEPS = ImageSteps(8, 8)
RING = Layout(messages=2, area_bytes=1024)
CONFIG = 'name: "m" max_batch_size: 8 input [{ name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] }] dynamic_batching { }'
PROBE = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"
INFER = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\ninference-header-content-length: 2\r\n\r\n{}"
JSON_TENSOR = b'{"inputs":[{"name":"IN","datatype":"INT8","shape":[2],"data":[1,2]}],"outputs":[{"name":"OUT"}]}'
BINARY_TENSOR = b'{"inputs":[{"name":"IN","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}'


class Target(NamedTuple):
    """A function of bytes, and inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def http(data: bytes) -> None:
    """A head, and the body after it."""
    end = data.find(b"\r\n\r\n") + 4
    try:
        head = read_head(data[:end] if end >= 4 else data)
    except Refusal as err:
        check_response(err.response)
        return
    check_response(asyncio.run(_asked(head.method, head.target, dict(head.headers), data[end:])))


def infer(data: bytes) -> None:
    """The body of an inference: the length of its header, then both."""
    if len(data) < 2:
        return
    headers = {"inference-header-content-length": str(int.from_bytes(data[:2], "little"))} if data[0] != 0xFF else {}
    check_response(asyncio.run(_asked("POST", "/v2/models/m/infer", headers, data[2:])))


async def _asked(method: str, target: str, headers: dict[str, str], body: bytes) -> Response:
    return await Asker(FakePlane(), body_bytes=100_000).ask(method, target, body, headers)


def check_response(response: Response) -> None:
    """An answer that can be sent; what failed says so in JSON."""
    assert response.status in PHRASES
    assert response.status != 500, body_of(response)
    if response.status >= 400:
        assert orjson.loads(body_of(response))["error"]


def http2(data: bytes) -> None:
    """What a peer sends after its greeting, in two pieces; the first byte says where they part."""
    asyncio.run(converse(f.PREFACE + f.settings({}) + data[1:], [data[0] * 8] if data else []))


def protobuf(data: bytes) -> None:
    """A ModelInferRequest: taken apart as protobuf takes it apart, and read."""
    check_scanner(data)
    with suppress(ServingError):
        RequestReader(16).read(data, Context(None, "", False))


def config(data: bytes) -> None:
    """A model's configuration, as text or JSON."""
    text = data.decode(errors="surrogateescape") if data[:1] == b"!" else data.decode(errors="replace")
    for parse in (parse_config, parse_config_json):
        with suppress(ServingError):
            orjson.dumps(config_json(parse(text, "config")))


def engine(data: bytes) -> None:
    """An engine file: any bytes, or a whole file with its digests right around these bytes as the plan."""
    fd = os.memfd_create("engine")
    try:
        os.write(fd, engine_file(data[1:]) if data[:1] == b"p" else data)
        with suppress(EngineError):
            load(f"/proc/self/fd/{fd}", None)
    finally:
        os.close(fd)


def engine_file(plan: bytes) -> bytes:
    """An engine file of that plan, one page of code and nothing else."""
    contents = dict.fromkeys(SECTIONS, b"") | {
        "plan": plan, "certificate": b"{}", "tuning": b"{}", "code": bytes(4096), "weights": bytes(64)
    }  # fmt: skip
    sections: list[dict[str, Any]] = []
    body, start = b"", MAPPED_ALIGNMENT_BYTES
    for name in SECTIONS:
        body += bytes(-len(body) % MAPPED_ALIGNMENT_BYTES)
        digest = section_digest(contents[name])
        sections.append(
            {"name": name, "offset": start + len(body), "size_bytes": len(contents[name]), "digest": digest}
        )
        body += contents[name]
    facts = {"abi": ABI_VERSION, "arch": "x86-64", "device": "cpu", "name": "e", "features": [], "built_for": "it"}
    manifest = json.dumps({**facts, "code_bytes": 4096, "sections": sections}).encode()
    digest = hashlib.sha256(manifest).digest()
    head = HEADER.pack(MAGIC, FORMAT_VERSION, len(manifest), start + len(body), digest) + manifest
    return head + bytes(start - len(head)) + body


def image(data: bytes) -> None:
    """An encoded picture."""
    with suppress(ServingError):
        decode_into(data, STEPS, np.empty(STEPS.shape, np.float32), MOST_PIXELS)


def wire(data: bytes) -> None:
    """A tensor: datatype, dimensions, content. What is taken comes out again as it was."""
    if len(data) < 2:
        return
    datatype, rank = DATATYPES[data[0] % len(DATATYPES)], data[1] % 5
    sizes, content = data[2 : 2 + rank], data[2 + rank :]
    shape = tuple(struct.unpack(f"{len(sizes)}b", sizes))
    with suppress(ServingError):
        assert bytes(encode(decode("x", datatype, shape, content))) == content
    with suppress(ServingError, orjson.JSONDecodeError):
        to_json(from_json("x", datatype, shape, orjson.loads(content)))


def ring(data: bytes) -> None:
    """Shared memory that another process wrote: descriptors, messages, requests and answers in them."""
    memory = bytearray(RING.slots * SLOT.size + RING.area_bytes)
    memory[: len(data)] = data[: len(memory)]
    receiver = Receiver(memoryview(memory), RING)
    try:
        for found in receiver.take(2):
            message, _ = receiver.message(found)
            for read in (decode_request, lambda h, c: decode_answer(h, c, Timing())):
                with suppress(ServingError, CorruptError):
                    read(message.header, message.content)
    except CorruptError:
        return


def _infer_seeds() -> list[bytes]:
    lengths = (len(BINARY_TENSOR).to_bytes(2, "little"), b"\xff\xff")
    return [lengths[0] + BINARY_TENSOR + bytes(4), lengths[1] + JSON_TENSOR]


def _frame_seeds() -> list[bytes]:
    whole = [b"\x07" + begun(1, block, hold_request(), f.END_STREAM) for block in BLOCKS]
    return [*whole, b"\x01" + f.ping(bytes(8)) + f.window_update(0, 1) + f.rst_stream(1, 8)]


def _image_seeds() -> list[bytes]:
    return [_encoded(kind) for kind in ("PNG", "JPEG", "WEBP")]


@cache
def _encoded(kind: str) -> bytes:
    file = BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, kind)
    return file.getvalue()


def _ring_seeds() -> list[bytes]:
    memory = bytearray(RING.slots * SLOT.size + RING.area_bytes)
    request = InferRequest("m", "", "", (Tensor("x", "FP32", (1,), np.zeros(1, np.float32)),))
    Sender(memoryview(memory), RING).put(1, 1, *encode_request(request))
    return [bytes(memory)]


def _plan_seeds() -> list[bytes]:
    plan = {"buffers": [], "steps": [], "inputs": [], "outputs": []}
    return [MAGIC, b"p" + json.dumps({"plan": plan, "weights": [], "symbols": {}}).encode(), engine_file(b"{}")]


def _message_seeds() -> list[bytes]:
    request = ModelInferRequest(model_name="m", id="7")
    request.inputs.add(name="x", datatype="FP32", shape=[1]).parameters["priority"].int64_param = 1
    request.outputs.add(name="y")
    request.raw_input_contents.append(bytes(4))
    return [request.SerializeToString()]


TARGETS = {
    "http": Target(http, lambda: [PROBE, INFER]),
    "infer": Target(infer, _infer_seeds),
    "http2": Target(http2, _frame_seeds),
    "protobuf": Target(protobuf, _message_seeds),
    "config": Target(config, lambda: [CONFIG.encode(), b'{"name":"m","input":[{"dims":[1]}]}', b"!" + CONFIG.encode()]),
    "engine": Target(engine, _plan_seeds),
    "image": Target(image, _image_seeds),
    "wire": Target(wire, lambda: [b"\x0a\x01\x01\0\0\0\0", b"\x0d\x01\x01\x01\0\0\0a", b"\x05\x01\x02[1, 2]"]),
    "ring": Target(ring, _ring_seeds),
}
