"""Little that is sent does not become much: memory, time on the loop, places that others need."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from fusee.server.access import Access, Key
from fusee.server.door import House
from fusee.server.errors import MOST_CHARACTERS, Reason, ServingError
from fusee.server.grpc import frames as f
from fusee.server.grpc.compression import Coding
from fusee.server.grpc.connection import Connection, Peers
from fusee.server.grpc.headers import encode_block
from fusee.server.grpc.methods import METHODS
from fusee.server.grpc.requests import Context, RequestReader
from fusee.server.grpc.scanner import MOST_FIELDS, scan
from fusee.server.grpc.service import Service
from fusee.server.http.fields import natural
from fusee.server.operations import Scope
from fusee.server.processes.encoding import decode_request
from fusee.server.processes.ring import SLOT, CorruptError, Layout, Receiver
from fusee.server.proto.grpc_service_pb2 import ModelInferRequest
from fusee.server.settings import Limits
from fusee.server.wire import element_count
from server.grpc.byte_client import REQUEST, ByteClient, message
from server.grpc.grpc_house import FakePlane, running_door
from server.grpc.test_frames_fuzz import FakeTransport

CALL = Context(None, "", False)
WATCH = "/grpc.health.v1.Health/Watch"
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"
KEYED = Access((Key("camera", bytes(32), frozenset({Scope.INFER})),))


class Peer:
    """A gRPC connection without a socket."""

    def __init__(self, limits: Limits | None = None, access: Access | None = None) -> None:
        self.plane = FakePlane()
        self.limits = limits or Limits()
        self.service = Service(House(self.plane, access or Access(), self.limits), METHODS)
        self.transport = FakeTransport()
        peers = Peers(self.service, self.limits, lambda: 1.0, lambda c: True, lambda c: None)
        self.connection = Connection(peers)
        self.connection.connection_made(cast(Any, self.transport))
        self.say(f.PREFACE + f.settings({}))

    def say(self, content: bytes) -> None:
        self.connection.data_received(content)

    def open(self, stream_id: int, path: str, **fields: str) -> None:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        block = encode_block(list({**dict(REQUEST), ":path": path, **named}.items()))
        self.say(f.frame_header(len(block), f.HEADERS, f.END_HEADERS, stream_id) + block)

    def send(self, stream_id: int, content: bytes, is_last: bool = True) -> None:
        while True:
            piece, content = content[: 512 * 1024], content[512 * 1024 :]
            flags = f.END_STREAM if is_last and not content else 0
            self.say(f.frame_header(len(piece), f.DATA, flags, stream_id) + piece)
            if not content:
                return

    def says(self, words: bytes) -> bool:
        return words in self.transport.written


def on_a_loop(story: Callable[[], None]) -> None:
    async def tell() -> None:
        story()

    asyncio.run(tell())


def refused(act: Callable[..., object], *arguments: object) -> ServingError:
    with pytest.raises(ServingError) as raised:
        act(*arguments)
    return raised.value


def test_a_shape_of_millions_of_dimensions_is_not_multiplied() -> None:
    error = refused(element_count, "x", (2**62,) * 5_000_000)
    assert "5000000 dimensions" in error.message
    request = ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="INT8", shape=[2**62] * 1_000_000)
    assert "1000000 dimensions" in refused(RequestReader(8).read, request.SerializeToString(), CALL).message


@pytest.mark.parametrize("value", [1e300, 2**63, -1, 0.5, "1", None, True])
def test_sizes_and_times_fit_into_64_bits(value: Any) -> None:
    assert "whole number" in refused(natural, {"timeout": value}, "timeout", "it").message


def test_an_error_quotes_no_more_than_a_little() -> None:
    error = ServingError(Reason.INVALID, "x" * 50_000_000)
    assert len(error.message) <= MOST_CHARACTERS + 5
    assert ServingError(Reason.INVALID, "\ud800\x1b[2J\né").message == "\\ud800\\x1b[2J\né"


@pytest.mark.parametrize("field", [b"\x3a\x00", b"\x2a\x00", b"\x1a\x00"])
def test_a_message_of_millions_of_empty_fields_is_not_taken_apart(field: bytes) -> None:
    assert scan(field * (MOST_FIELDS + 1)) is None
    assert "up to 1048576 bytes" in refused(RequestReader(8).read, field * 2_000_000, CALL).message


def test_a_frame_full_of_windows_is_counted_setting_by_setting() -> None:
    peer = Peer()
    frame = f.SETTING.pack(f.INITIAL_WINDOW_SIZE, 65_535) * 2500
    peer.say(f.frame_header(len(frame), f.SETTINGS, 0, 0) + frame)
    assert peer.says(b"too many SETTINGS")


def test_a_window_for_one_answer_does_not_look_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    sender = peer.connection._sender
    turns: list[int] = []
    turn = type(sender)._turn

    def counted(self: Any, stream: Any) -> bool:
        turns.append(stream.id)
        return turn(self, stream)

    monkeypatch.setattr(type(sender), "_turn", counted)
    request = ModelInferRequest(model_name="identity")
    request.inputs.add(name="INPUT0", datatype="UINT8", shape=[100_000])
    request.raw_input_contents.append(bytes(100_000))
    for stream_id in (1, 3, 5, 7):
        peer.open(stream_id, INFER)
        peer.send(stream_id, message(request.SerializeToString()))
    turns.clear()
    peer.say(f.window_update(5, 2048))
    assert set(turns) <= {5}
    turns.clear()
    peer.say(f.window_update(0, 1))
    assert len(turns) <= 3  # the window is gone with the first byte


def test_requests_that_are_never_sent_take_no_place() -> None:
    def story() -> None:
        peer = Peer(Limits(requests=1), KEYED)
        for stream_id in (1, 3, 5):
            peer.open(stream_id, LIVE)
        assert peer.service.under_way == 0
        peer.send(5, message())
        assert peer.service.under_way == 1
        assert not peer.says(b"as many as the server takes")

    on_a_loop(story)


@pytest.mark.parametrize("path", [LIVE, WATCH])
def test_without_a_key_a_body_is_a_probes(path: str) -> None:
    peer = Peer(access=KEYED)
    peer.open(1, path)
    peer.send(1, message(bytes(100_000)), is_last=False)
    assert peer.says(b"a message of 100000 bytes; up to")
    assert peer.service.held_bytes == 0


def test_what_a_compressed_message_becomes_is_counted() -> None:
    bomb = gzip.compress(bytes(3_000_000))
    assert len(bomb) < 4096
    peer = Peer(Limits(request_bytes=1_000_000))
    for stream_id, path in ((1, INFER), (3, STREAM)):
        peer.open(stream_id, path, grpc_encoding=Coding.GZIP.value)
        peer.send(stream_id, message(bomb, 1))
        assert peer.says(b"more than the 1000000 that the server takes")
        assert peer.service.held_bytes == 0
        peer.transport.written.clear()


def test_many_empty_messages_count_for_what_they_take() -> None:
    peer = Peer(Limits(request_bytes=10_000_000))
    peer.open(1, STREAM)
    peer.send(1, message() * 50_000, is_last=False)
    assert peer.says(b"more than the 10000000 that the server takes")
    assert peer.service.held_bytes == 0


def test_watches_are_limited() -> None:
    def story() -> None:
        peer = Peer(replace(Limits(), streams=300))
        for stream_id in range(1, 600, 2):
            peer.open(stream_id, WATCH)
            peer.send(stream_id, message())
        assert peer.service.watches == 256
        assert peer.says(b"256 callers watch, as many as may")

    on_a_loop(story)


def test_a_slot_at_the_end_of_the_ring_is_looked_at() -> None:
    layout = Layout(messages=1, area_bytes=64)
    memory = bytearray(layout.slots * SLOT.size + layout.area_bytes)
    SLOT.pack_into(memory, 0, 0, 1, 0, 1, 64, 0)
    with pytest.raises(CorruptError, match="place that there is not"):
        next(Receiver(memoryview(memory), layout).take(1))


@pytest.mark.parametrize("header", [b"[]", b"{}", b"1", b'[[],"","",[],[],[],0,0,null,"",false,0]'])
def test_a_header_of_other_types_is_corrupt(header: bytes) -> None:
    with pytest.raises(CorruptError, match="does not parse"):
        decode_request(header, np.empty(0, np.uint8))


def test_who_leaves_the_most_unread_is_hung_up_on() -> None:
    request = ModelInferRequest(model_name="identity")
    request.inputs.add(name="INPUT0", datatype="UINT8", shape=[1_000_000])
    request.raw_input_contents.append(bytes(1_000_000))
    content = message(request.SerializeToString())
    with running_door(limits=Limits(request_bytes=2_500_000)) as door:
        reader, hoarder = (ByteClient(door.connect()) for _ in range(2))
        for client, stream_ids in ((reader, (1,)), (hoarder, (1, 3))):
            for stream_id in stream_ids:
                client.send(f.HEADERS, f.END_HEADERS, stream_id, client.block(path=INFER))
                for at in range(0, len(content), 500_000):
                    piece = content[at : at + 500_000]
                    is_last = at + 500_000 >= len(content)
                    client.send(f.DATA, f.END_STREAM if is_last else 0, stream_id, piece)
        assert b"bytes of answers are not read" in hoarder.until(f.GOAWAY).payload
        reader.send(f.WINDOW_UPDATE, 0, 0, f.U32.pack(2_000_000))
        reader.send(f.WINDOW_UPDATE, 0, 1, f.U32.pack(2_000_000))
        fields, body = reader.answer()
        assert (fields["grpc-status"], len(body) > 1_000_000) == ("0", True)
        reader.sock.close()
        hoarder.sock.close()
