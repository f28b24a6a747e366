"""Peers that keep a connection waiting, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from fusee.server.access import Access
from fusee.server.door import House
from fusee.server.grpc import frames as f
from fusee.server.grpc.connection import Connection, Peers
from fusee.server.grpc.headers import encode_block
from fusee.server.grpc.methods import METHODS
from fusee.server.grpc.service import Service
from fusee.server.settings import Limits
from fusee.server.types import Tensor
from server.grpc.byte_client import REQUEST
from server.grpc.grpc_house import FakePlane
from server.grpc.test_frames_fuzz import FakeTransport, hold_request

LIMITS = Limits(header_timeout_s=10, body_timeout_s=60, idle_timeout_s=300)
PATH = "/inference.GRPCInferenceService/"


class Clocked:
    """A connection without a socket, whose clock stands until it is told."""

    def __init__(self, greets: bool = True) -> None:
        self.now_s = 1000.0
        self.plane = FakePlane()
        self.transport = FakeTransport()
        house = House(self.plane, Access(), LIMITS)
        peers = Peers(Service(house, METHODS), LIMITS, lambda: self.now_s, lambda c: True, lambda c: None)
        self.connection = Connection(peers)
        self.connection.connection_made(cast(Any, self.transport))
        if greets:
            self.say(f.PREFACE + f.settings({f.INITIAL_WINDOW_SIZE: 10}))

    def say(self, content: bytes) -> None:
        self.connection.data_received(content)

    def open(self, rpc: str, body: bytes, flags: int) -> None:
        block = encode_block([(n, PATH + rpc if n == ":path" else v) for n, v in REQUEST])
        self.say(f.frame_header(len(block), f.HEADERS, f.END_HEADERS, 1) + block)
        self.say(f.frame_header(len(body), f.DATA, flags, 1) + body)

    def wait(self, seconds: float) -> list[int]:
        """Let time pass; the types of the frames that are then written."""
        before = len(self.transport.written)
        self.now_s += seconds
        self.connection.sweep(self.now_s)
        kinds: list[int] = []
        while before < len(self.transport.written):
            high, low, kind, _, _ = f.HEADER.unpack_from(self.transport.written, before)
            kinds.append(kind)
            before += 9 + (high << 8 | low)
        return kinds


def run(story: Callable[[], None]) -> None:
    async def tell() -> None:
        story()

    asyncio.run(tell())


@pytest.mark.parametrize("opening", [b"", f.PREFACE[:10], f.PREFACE])
def test_no_preface(opening: bytes) -> None:
    peer = Clocked(greets=False)
    peer.say(opening)
    assert peer.wait(9) == []
    assert peer.wait(2) == [f.GOAWAY]
    assert peer.transport.is_closed


def test_half_a_header_block() -> None:
    peer = Clocked()
    peer.say(f.frame_header(1, f.HEADERS, 0, 1) + b"\x83")
    assert peer.wait(9) == []
    assert peer.wait(2) == [f.GOAWAY]


def test_half_a_body() -> None:
    peer = Clocked()
    peer.open("ModelInfer", b"\0\0\0\0\x09abc", 0)
    assert peer.wait(59) == []
    assert peer.wait(2) == [f.RST_STREAM]
    assert not peer.transport.is_closed


def test_a_stream_is_silent_between_messages_and_not_within_one() -> None:
    def story() -> None:
        peer = Clocked()
        peer.open("ModelStreamInfer", hold_request(), 0)
        assert peer.wait(200) == []
        peer.say(f.frame_header(2, f.DATA, 0, 1) + b"\0\0")
        assert peer.wait(61) == [f.RST_STREAM]
        assert peer.plane.cancelled == [""]

    run(story)


def test_idle_connections_are_closed() -> None:
    peer = Clocked()
    assert peer.wait(299) == []
    assert peer.wait(2) == [f.GOAWAY]


def test_a_silent_peer_with_requests_is_asked_whether_it_lives() -> None:
    peer = Clocked()
    peer.open("ModelInfer", hold_request(), f.END_STREAM)
    assert peer.wait(301) == [f.PING]
    peer.say(f.ping(b"alive???", f.ACK))
    assert peer.wait(299) == []
    assert peer.wait(2) == [f.PING]
    assert peer.wait(11) == [f.GOAWAY]
    assert peer.plane.cancelled == [""]


def test_an_answer_that_is_not_read() -> None:
    peer = Clocked()
    peer.open("ModelInfer", hold_request(), f.END_STREAM)
    peer.plane.answer(peer.plane.held[0].request, peer.plane.held[0].done)
    assert peer.wait(59) == []
    peer.say(f.ping(bytes(8)))  # it lives, and reads nothing
    assert peer.wait(2) == [f.GOAWAY]


def answered_with(size_bytes: int) -> Clocked:
    """A peer that is sent an answer of that many bytes, and has taken ten of it."""
    peer = Clocked()
    peer.say(f.window_update(0, 2**30))
    peer.open("ModelInfer", hold_request(), f.END_STREAM)
    request = peer.plane.held[0].request
    large = Tensor("INPUT0", "UINT8", (size_bytes,), np.zeros(size_bytes, np.uint8))
    request.inputs = (large,)
    peer.plane.answer(request, peer.plane.held[0].done)
    return peer


def test_a_trickle_does_not_keep_an_answer() -> None:
    peer = answered_with(1_000_000)
    for _ in range(5):
        peer.say(f.window_update(1, 2000))
        peer.wait(11)
    peer.say(f.window_update(1, 2000))
    assert f.GOAWAY in peer.wait(6)
    assert peer.transport.is_closed


def test_an_answer_may_be_read_slowly() -> None:
    peer = answered_with(1_000_000)
    for _ in range(10):
        peer.say(f.window_update(1, 80_000))
        assert f.GOAWAY not in peer.wait(59)
