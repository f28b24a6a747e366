"""Whatever a peer sends, a connection answers by the rules or hangs up, and keeps its books."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from fusee.server.access import Access
from fusee.server.door import House
from fusee.server.grpc import frames as f
from fusee.server.grpc.connection import Connection, Peers
from fusee.server.grpc.methods import METHODS
from fusee.server.grpc.service import Service
from fusee.server.proto.grpc_service_pb2 import ModelInferRequest
from fusee.server.settings import Limits
from server.grpc.byte_client import REQUEST, message
from server.grpc.grpc_house import FakePlane


class FakeTransport:
    def __init__(self) -> None:
        self.written = bytearray()
        self.is_closed = False

    def write(self, content: bytes) -> None:
        assert not self.is_closed
        self.written += content

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    abort = close


def hold_request() -> bytes:
    request = ModelInferRequest(model_name="hold")
    request.inputs.add(name="INPUT0", datatype="UINT8", shape=[1])
    request.raw_input_contents.append(b"x")
    return message(request.SerializeToString())


PATHS = ("ModelInfer", "ModelStreamInfer", "Nothing")
BLOCKS = [Encoder().encode([(n, v.replace("ServerLive", path)) for n, v in REQUEST], huffman=False) for path in PATHS]
payloads = st.one_of(
    st.sampled_from([*BLOCKS, hold_request(), hold_request()[:9], bytes(4), bytes(5), bytes(8), b"", b"\x88"]),
    st.binary(max_size=40),
)
frames = st.builds(
    lambda kind, flags, stream_id, payload: f.frame_header(len(payload), kind, flags, stream_id) + payload,
    st.sampled_from([f.DATA, f.DATA, f.HEADERS, f.HEADERS, f.HEADERS, f.RST_STREAM, *range(12)]),
    st.sampled_from([0, f.END_HEADERS, f.END_STREAM, f.END_HEADERS | f.END_STREAM, *range(64)]),
    st.sampled_from([0, 1, 1, 1, 3, 3, 5, 2, 2**31]),
    payloads,
)


def begun(stream_id: int, block: bytes, body: bytes, flags: int) -> bytes:
    """A request by the rules, whole or not."""
    opening = f.frame_header(len(block), f.HEADERS, f.END_HEADERS, stream_id) + block
    return opening + f.frame_header(len(body), f.DATA, flags, stream_id) + body


bodies = st.sampled_from([hold_request(), hold_request() * 3, hold_request()[:7], b""])
requests = st.builds(begun, st.sampled_from([1, 3, 5]), st.sampled_from(BLOCKS), bodies, st.sampled_from([0, 0, 1]))


def walk(written: bytes) -> None:
    """Everything that was written is whole frames of ours."""
    at = 0
    while at < len(written):
        high, low, kind, _, _ = f.HEADER.unpack_from(written, at)
        assert kind <= f.CONTINUATION
        at += 9 + (high << 8 | low)
    assert at == len(written)


async def converse(content: bytes, cuts: list[int]) -> None:
    plane = FakePlane()
    house = House(plane, Access(), Limits(streams=2))
    service = Service(house, METHODS)
    clock = iter(range(10**9))
    peers = Peers(service, house.limits, lambda: next(clock) * 1e-6, lambda c: True, lambda c: None)
    connection = Connection(peers)
    transport = FakeTransport()
    connection.connection_made(cast(Any, transport))
    edges = sorted({0, *(c % (len(content) + 1) for c in cuts), len(content)})
    for start, end in pairwise(edges):
        connection.data_received(content[start:end])
    connection.connection_lost(None)
    walk(bytes(transport.written))
    assert len(plane.cancelled) == len(plane.held)
    assert (service.under_way, service.held_bytes) == (0, 0)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(requests, requests, frames), max_size=12), st.lists(st.integers(0, 10**6), max_size=6))
def test_frames(sent: list[bytes], cuts: list[int]) -> None:
    asyncio.run(converse(f.PREFACE + f.settings({}) + b"".join(sent), cuts))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_bytes(content: bytes) -> None:
    asyncio.run(converse(f.PREFACE + f.settings({}) + content, []))
