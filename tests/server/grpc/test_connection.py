"""HTTP/2's rules, one frame at a time (RFC 9113; sections in the names of the cases)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fusee.server.grpc import frames as f
from fusee.server.proto.grpc_service_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
    ServerLiveResponse,
)
from fusee.server.settings import Limits
from server.grpc.byte_client import REQUEST, ByteClient, message
from server.grpc.grpc_house import RunningDoor, running_door

LIVE = ServerLiveResponse(live=True).SerializeToString()
INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def door() -> Iterator[RunningDoor]:
    with running_door() as running:
        yield running


@pytest.fixture
def client(door: RunningDoor) -> Iterator[ByteClient]:
    with door.connect() as sock:
        yield ByteClient(sock)


def infer_message(size_bytes: int, model: str = "identity", request_id: str = "") -> bytes:
    request = ModelInferRequest(model_name=model, id=request_id)
    request.inputs.add(name="INPUT0", datatype="UINT8", shape=[size_bytes])
    request.raw_input_contents.append(np.arange(size_bytes, dtype=np.uint8).tobytes())
    return request.SerializeToString()


def test_settings_and_a_request(client: ByteClient) -> None:
    settings = client.until(f.SETTINGS)
    values = dict(f.SETTING.iter_unpack(settings.payload))
    assert values[f.MAX_CONCURRENT_STREAMS] == Limits().streams
    assert values[f.MAX_HEADER_LIST_SIZE] == Limits().header_bytes
    assert values[f.MAX_FRAME_SIZE] == 1024 * 1024
    client.until(f.SETTINGS, f.ACK)
    client.request(1)
    fields, body = client.answer()
    assert fields[":status"] == "200"
    assert fields["content-type"] == "application/grpc"
    assert fields["grpc-status"] == "0"
    assert body == message(LIVE)


def test_repeated_blocks_mean_the_same_until_the_table_changes(client: ByteClient) -> None:
    for stream_id in (1, 3, 5):
        client.request(stream_id)
        assert client.answer()[0]["grpc-status"] == "0"
    client.request(7, path="/inference.GRPCInferenceService/Nothing")
    assert client.answer()[0]["grpc-status"] == "12"
    client.request(9)
    assert client.answer()[0]["grpc-status"] == "0"


def test_every_split_of_the_bytes(door: RunningDoor) -> None:
    with door.connect() as sock:
        client = ByteClient(sock, greets=False)
        block = client.block()
        content = f.PREFACE + f.settings({}) + f.frame_header(len(block), f.HEADERS, f.END_HEADERS, 1) + block
        content += f.frame_header(5, f.DATA, f.END_STREAM, 1) + message()
        for byte in content:
            client.raw(bytes([byte]))
        assert client.answer() == (client_fields(), message(LIVE))


def client_fields() -> dict[str, str]:
    return {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-accept-encoding": "identity,deflate,gzip",
        "grpc-status": "0",
    }


def test_padding_priority_and_continuation(client: ByteClient) -> None:
    block = client.block()
    first = b"\x03" + b"\0\0\0\0\x10" + block[:4] + b"\0\0\0"
    client.send(f.HEADERS, f.PADDED | f.HAS_PRIORITY, 1, first)
    client.send(f.CONTINUATION, 0, 1, block[4:8])
    client.send(f.CONTINUATION, f.END_HEADERS, 1, block[8:])
    client.send(f.DATA, f.PADDED, 1, b"\x02" + message()[:2] + b"\0\0")
    client.send(f.DATA, 0, 1, message()[2:])
    client.send(f.DATA, f.PADDED | f.END_STREAM, 1, b"\x00")
    assert client.answer()[1] == message(LIVE)


def test_trailers_end_a_request(client: ByteClient) -> None:
    client.send(f.HEADERS, f.END_HEADERS, 1, client.block())
    client.send(f.DATA, 0, 1, message())
    client.send(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, client.encoder.encode([("x-late", "1")]))
    assert client.answer()[1] == message(LIVE)


def test_unknown_frames_and_settings_are_ignored(client: ByteClient) -> None:
    client.send(0x77, 0xFF, 0, b"x" * 70_000)
    client.send(f.SETTINGS, 0, 0, f.SETTING.pack(0xAB, 7))
    client.send(f.PRIORITY, 0, 9, b"\0\0\0\0\x10")
    client.request(1)
    assert client.answer()[1] == message(LIVE)


def test_ping_is_answered(client: ByteClient) -> None:
    client.send(f.PING, 0, 0, b"01234567")
    assert client.until(f.PING, f.ACK).payload == b"01234567"


Saying = Callable[[ByteClient], None]


def _begun(client: ByteClient, stream_id: int = 1) -> None:
    client.send(f.HEADERS, f.END_HEADERS, stream_id, client.block(path=INFER))


def _ended(client: ByteClient) -> None:
    client.request(1)
    client.answer()


def _after_end(kind: int, flags: int, payload: bytes) -> Saying:
    def say(client: ByteClient) -> None:
        _ended(client)
        client.send(kind, flags, 1, payload)

    return say


def _oversized_header_list(client: ByteClient) -> None:
    client.send(f.HEADERS, f.END_HEADERS, 1, client.block(x_long="a" * 30_000, x_longer="b" * 30_000))


def _continuation_flood(client: ByteClient) -> None:
    client.send(f.HEADERS, 0, 1, client.block())
    for _ in range(100):
        client.send(f.CONTINUATION, 0, 1, b"")


def _two_windows(client: ByteClient) -> None:
    client.raw(f.window_update(0, f.LARGEST_WINDOW))


def _interrupted_block(client: ByteClient) -> None:
    client.send(f.HEADERS, 0, 1, client.block())
    client.send(f.PING, 0, 0, b"01234567")


def _data_within_block(client: ByteClient) -> None:
    client.send(f.HEADERS, 0, 1, client.block())
    client.send(f.DATA, 0, 1, b"x")


def _old_stream(client: ByteClient) -> None:
    client.send(f.HEADERS, f.END_HEADERS, 5, client.block(path=INFER))
    client.send(f.HEADERS, f.END_HEADERS, 3, client.block(path=INFER))


def _flood(kind: int, payload: bytes, stream_id: int = 0) -> Saying:
    def say(client: ByteClient) -> None:
        frame = f.frame_header(len(payload), kind, 0, stream_id) + payload
        try:
            for _ in range(30):
                client.raw(frame * 100)
        except OSError:  # it hung up in the middle
            return

    return say


def _empty_data_flood(client: ByteClient) -> None:
    _begun(client)
    _flood(f.DATA, b"", 1)(client)


def _rapid_reset(client: ByteClient) -> None:
    try:
        for stream_id in range(1, 6001, 2):
            _begun(client, stream_id)
            client.send(f.RST_STREAM, 0, stream_id, f.U32.pack(f.CANCEL))
    except OSError:
        return


CONNECTION_ERRORS: dict[str, tuple[Saying, int]] = {
    "4.2 frame too large": (lambda c: c.raw(f.frame_header(2**21, f.DATA, 0, 1)), f.FRAME_SIZE_ERROR),
    "4.3 block that does not decode": (
        lambda c: c.send(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff\xff\xff\x0f"),
        f.COMPRESSION_ERROR,
    ),
    "4.3 block that ends early": (lambda c: c.send(f.HEADERS, f.END_HEADERS, 1, b"\x40\x05a"), f.COMPRESSION_ERROR),
    "5.1 DATA on an idle stream": (lambda c: c.send(f.DATA, 0, 1, b"x"), f.PROTOCOL_ERROR),
    "5.1 RST_STREAM on an idle stream": (lambda c: c.send(f.RST_STREAM, 0, 1, bytes(4)), f.PROTOCOL_ERROR),
    "5.1 WINDOW_UPDATE on an idle stream": (lambda c: c.raw(f.window_update(1, 9)), f.PROTOCOL_ERROR),
    "5.1 DATA on a closed stream": (_after_end(f.DATA, 0, b"x"), f.STREAM_CLOSED),
    "5.1 HEADERS on a closed stream": (_after_end(f.HEADERS, f.END_HEADERS, b"\x88"), f.STREAM_CLOSED),
    "5.1.1 even stream": (lambda c: c.send(f.HEADERS, f.END_HEADERS, 2, c.block()), f.PROTOCOL_ERROR),
    "5.1.1 stream 0": (lambda c: c.send(f.HEADERS, f.END_HEADERS, 0, c.block()), f.PROTOCOL_ERROR),
    "5.1.1 stream that goes back": (_old_stream, f.PROTOCOL_ERROR),
    "6.1 DATA on stream 0": (lambda c: c.send(f.DATA, 0, 0, b"x"), f.PROTOCOL_ERROR),
    "6.1 too much padding": (lambda c: (_begun(c), c.send(f.DATA, f.PADDED, 1, b"\x05abc"))[0], f.PROTOCOL_ERROR),
    "6.2 padded and empty": (lambda c: c.send(f.HEADERS, f.PADDED, 1, b""), f.FRAME_SIZE_ERROR),
    "6.3 PRIORITY of 4 bytes": (lambda c: c.send(f.PRIORITY, 0, 1, bytes(4)), f.FRAME_SIZE_ERROR),
    "6.3 PRIORITY on stream 0": (lambda c: c.send(f.PRIORITY, 0, 0, bytes(5)), f.PROTOCOL_ERROR),
    "6.4 RST_STREAM of 3 bytes": (lambda c: c.send(f.RST_STREAM, 0, 1, bytes(3)), f.FRAME_SIZE_ERROR),
    "6.5 settings on a stream": (lambda c: c.send(f.SETTINGS, 0, 1), f.PROTOCOL_ERROR),
    "6.5 settings of 5 bytes": (lambda c: c.send(f.SETTINGS, 0, 0, bytes(5)), f.FRAME_SIZE_ERROR),
    "6.5 acknowledgement with content": (lambda c: c.send(f.SETTINGS, f.ACK, 0, bytes(6)), f.FRAME_SIZE_ERROR),
    "6.5.2 window too large": (lambda c: c.raw(f.settings({f.INITIAL_WINDOW_SIZE: 2**31})), f.FLOW_CONTROL_ERROR),
    "6.5.2 frame size too small": (lambda c: c.raw(f.settings({f.MAX_FRAME_SIZE: 100})), f.PROTOCOL_ERROR),
    "6.5.2 push by 2": (lambda c: c.raw(f.settings({f.ENABLE_PUSH: 2})), f.PROTOCOL_ERROR),
    "6.6 push": (lambda c: c.send(f.PUSH_PROMISE, f.END_HEADERS, 1, bytes(4)), f.PROTOCOL_ERROR),
    "6.7 PING of 7 bytes": (lambda c: c.send(f.PING, 0, 0, bytes(7)), f.FRAME_SIZE_ERROR),
    "6.7 PING on a stream": (lambda c: c.send(f.PING, 0, 1, bytes(8)), f.PROTOCOL_ERROR),
    "6.8 GOAWAY on a stream": (lambda c: c.send(f.GOAWAY, 0, 1, bytes(8)), f.PROTOCOL_ERROR),
    "6.9 WINDOW_UPDATE by 0": (lambda c: c.raw(f.window_update(0, 0)), f.PROTOCOL_ERROR),
    "6.9 WINDOW_UPDATE of 3 bytes": (lambda c: c.send(f.WINDOW_UPDATE, 0, 0, bytes(3)), f.FRAME_SIZE_ERROR),
    "6.9.1 window overflow": (_two_windows, f.FLOW_CONTROL_ERROR),
    "6.10 CONTINUATION alone": (lambda c: c.send(f.CONTINUATION, f.END_HEADERS, 1, b"\x88"), f.PROTOCOL_ERROR),
    "6.10 another frame within a block": (_interrupted_block, f.PROTOCOL_ERROR),
    "6.10 DATA within a block": (_data_within_block, f.PROTOCOL_ERROR),
    "10.5 header list": (_oversized_header_list, f.ENHANCE_YOUR_CALM),
    "10.5 CONTINUATION flood": (_continuation_flood, f.ENHANCE_YOUR_CALM),
    "10.5 PING flood": (_flood(f.PING, bytes(8)), f.ENHANCE_YOUR_CALM),
    "10.5 SETTINGS flood": (_flood(f.SETTINGS, b""), f.ENHANCE_YOUR_CALM),
    "10.5 PRIORITY flood": (_flood(f.PRIORITY, bytes(5), 1), f.ENHANCE_YOUR_CALM),
    "10.5 small WINDOW_UPDATE flood": (_flood(f.WINDOW_UPDATE, f.U32.pack(1)), f.ENHANCE_YOUR_CALM),
    "10.5 empty DATA flood": (_empty_data_flood, f.ENHANCE_YOUR_CALM),
    "10.5 rapid reset": (_rapid_reset, f.ENHANCE_YOUR_CALM),
}


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
def test_connection_errors(client: ByteClient, case: str) -> None:
    say, code = CONNECTION_ERRORS[case]
    client.until(f.SETTINGS, f.ACK)
    say(client)
    assert client.until(f.GOAWAY).code == code
    assert client.frame() is None


@pytest.mark.parametrize("opening", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", f.PREFACE + f.ping(b"01234567")])
def test_what_is_no_http2_is_hung_up_on(door: RunningDoor, opening: bytes) -> None:
    with door.connect() as sock:
        client = ByteClient(sock, greets=False)
        client.raw(opening)
        assert client.until(f.GOAWAY).code == f.PROTOCOL_ERROR
        assert client.frame() is None


MALFORMED = {
    "upper case": [("Te", "trailers")],
    "connection": [("connection", "close")],
    "te": [("te", "gzip")],
    "late pseudo-header": [("x-a", "1"), (":path", "/x")],
    "unknown pseudo-header": [(":nothing", "x")],
    "repeated pseudo-header": [(":method", "POST")],
    "line break": [("x-a", "b\nc")],
    "empty name": [("", "x")],
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_requests_end_their_stream_alone(client: ByteClient, case: str) -> None:
    client.send(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, client.encoder.encode([*REQUEST, *MALFORMED[case]]))
    reset = client.until(f.RST_STREAM)
    assert (reset.stream_id, reset.code) == (1, f.PROTOCOL_ERROR)
    client.request(3)
    assert client.answer()[0]["grpc-status"] == "0"


@pytest.mark.parametrize("name", [":method", ":path", ":scheme"])
def test_missing_pseudo_headers(client: ByteClient, name: str) -> None:
    fields = [field for field in REQUEST if field[0] != name]
    client.send(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, client.encoder.encode(fields))
    assert client.until(f.RST_STREAM).code == f.PROTOCOL_ERROR


def test_a_second_header_section_must_end_the_stream(client: ByteClient) -> None:
    _begun(client)
    client.send(f.HEADERS, f.END_HEADERS, 1, client.encoder.encode([("x-a", "1")]))
    assert client.until(f.RST_STREAM).code == f.PROTOCOL_ERROR


def test_data_after_the_end_of_a_stream_under_way(client: ByteClient) -> None:
    client.request(1, infer_message(4, model="hold"), path=INFER)
    client.send(f.DATA, 0, 1, b"x")
    assert client.until(f.RST_STREAM).code == f.STREAM_CLOSED


def test_a_stream_window_of_zero_is_an_error_of_the_stream(client: ByteClient) -> None:
    _begun(client)
    client.raw(f.window_update(1, 0))
    assert client.until(f.RST_STREAM).code == f.PROTOCOL_ERROR
    _begun(client, 3)
    client.raw(f.window_update(3, f.LARGEST_WINDOW))
    assert client.until(f.RST_STREAM).code == f.FLOW_CONTROL_ERROR


def test_other_methods_and_content_types(client: ByteClient) -> None:
    client.send(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, client.block(method="GET"))
    assert client.answer()[0] == {":status": "405"}
    client.send(f.HEADERS, f.END_HEADERS | f.END_STREAM, 3, client.block(content_type="application/json"))
    assert client.answer()[0] == {":status": "415"}


def test_an_answer_before_the_request_has_ended(client: ByteClient) -> None:
    client.send(f.HEADERS, f.END_HEADERS, 1, client.block(path="/nothing/Nothing"))
    assert client.answer()[0]["grpc-status"] == "12"
    assert client.until(f.RST_STREAM).code == f.NO_ERROR
    client.send(f.DATA, f.END_STREAM, 1, b"on its way already")
    client.request(3)
    assert client.answer()[0]["grpc-status"] == "0"


def test_more_streams_than_allowed_are_refused() -> None:
    with running_door(limits=Limits(streams=2)) as door, door.connect() as sock:
        client = ByteClient(sock)
        for stream_id in (1, 3):
            client.request(stream_id, infer_message(4, model="hold"), path=INFER)
        client.request(5)
        reset = client.until(f.RST_STREAM)
        assert (reset.stream_id, reset.code) == (5, f.REFUSED_STREAM)


def _nothing_comes(client: ByteClient) -> None:
    client.send(f.PING, 0, 0, b"01234567")
    assert client.frame() == (f.PING, f.ACK, 0, b"01234567")


def test_an_answer_goes_as_the_windows_allow(door: RunningDoor) -> None:
    with door.connect() as sock:
        client = ByteClient(sock, {f.INITIAL_WINDOW_SIZE: 0})
        client.request(1, infer_message(200_000), path=INFER)
        client.until(f.HEADERS)
        body = b""
        for increment in (1, 2, 16_384):
            client.raw(f.window_update(1, increment))
            body += client.until(f.DATA).payload
            _nothing_comes(client)
        assert len(body) == 16_387
        client.raw(f.window_update(1, 1_000_000))
        while len(body) < f.DEFAULT_WINDOW:
            body += client.until(f.DATA).payload
        _nothing_comes(client)  # the connection's window is used up
        client.raw(f.window_update(0, 1_000_000))
        fields, rest = client.answer()
        assert fields["grpc-status"] == "0"
        answer = ModelInferResponse.FromString((body + rest)[5:])
        assert answer.raw_output_contents[0] == np.arange(200_000, dtype=np.uint8).tobytes()


def test_a_window_that_shrinks_below_zero(door: RunningDoor) -> None:
    with door.connect() as sock:
        client = ByteClient(sock, {f.INITIAL_WINDOW_SIZE: 1000})
        client.request(1, infer_message(2000), path=INFER)
        assert len(client.until(f.DATA).payload) == 1000
        client.raw(f.settings({f.INITIAL_WINDOW_SIZE: 500}))
        client.until(f.SETTINGS, f.ACK)
        client.raw(f.window_update(1, 500))  # back to 0
        client.send(f.PING, 0, 0, b"01234567")
        assert client.frame() == (f.PING, f.ACK, 0, b"01234567")
        client.raw(f.window_update(1, 300))
        assert len(client.until(f.DATA).payload) == 300


def test_a_stream_with_enough_under_way_gives_no_more_window() -> None:
    with running_door() as door, door.connect() as sock:
        client = ByteClient(sock)
        client.send(f.HEADERS, f.END_HEADERS, 1, client.block(path="/inference.GRPCInferenceService/ModelStreamInfer"))
        client.send(f.DATA, 0, 1, message(infer_message(4, model="hold")) * 100)
        for _ in range(4):
            client.send(f.DATA, 0, 1, message(bytes(1024 * 1024 - 5)))
        reset = client.until(f.RST_STREAM)
        assert (reset.stream_id, reset.code) == (1, f.FLOW_CONTROL_ERROR)
        assert len(door.plane.held) == 64
        assert len(door.plane.cancelled) == 64


def test_one_message_larger_than_the_limit() -> None:
    with running_door(limits=Limits(body_bytes=1000)) as door, door.connect() as sock:
        client = ByteClient(sock)
        client.request(1, infer_message(990), path=INFER)
        fields = client.answer()[0]
        assert fields["grpc-status"] == "8"
        assert "up to 1000 are taken" in fields["grpc-message"]


def test_many_requests_of_a_stream_in_one_piece(client: ByteClient) -> None:
    client.send(f.HEADERS, f.END_HEADERS, 1, client.block(path="/inference.GRPCInferenceService/ModelStreamInfer"))
    content = b"".join(message(infer_message(1, request_id=str(i))) for i in range(500))
    client.send(f.DATA, f.END_STREAM, 1, content)
    fields, body = client.answer()
    assert fields["grpc-status"] == "0"
    ids: list[str] = []
    while body:
        size_bytes = int.from_bytes(body[1:5])
        ids.append(ModelStreamInferResponse.FromString(body[5 : 5 + size_bytes]).infer_response.id)
        body = body[5 + size_bytes :]
    assert ids == [str(i) for i in range(500)]


def test_a_peer_that_reads_no_answers_opens_no_streams() -> None:
    with running_door(limits=Limits(body_bytes=100_000)) as door, door.connect() as sock:
        client = ByteClient(sock, {f.INITIAL_WINDOW_SIZE: 0})
        for stream_id in (1, 3):
            client.request(stream_id, infer_message(90_000), path=INFER)
        client.request(5)
        reset = client.until(f.RST_STREAM)
        assert (reset.stream_id, reset.code) == (5, f.REFUSED_STREAM)


def test_requests_made_to_be_refused_are_a_flood(client: ByteClient) -> None:
    client.until(f.SETTINGS, f.ACK)
    block = client.encoder.encode([(":method", "POST")])
    try:
        for stream_id in range(1, 6001, 2):
            client.send(f.HEADERS, f.END_HEADERS | f.END_STREAM, stream_id, block)
    except OSError:
        pass
    assert client.until(f.GOAWAY).code == f.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("size_bytes", [100, 100_000])
@pytest.mark.parametrize(("coding", "status"), [("gzip", "3"), ("deflate", "3"), ("identity", "13"), ("br", "12")])
def test_what_does_not_decompress(client: ByteClient, size_bytes: int, coding: str, status: str) -> None:
    client.send(f.HEADERS, f.END_HEADERS, 1, client.block(path=INFER, grpc_encoding=coding))
    client.send(f.DATA, f.END_STREAM, 1, message(b"\xff" * size_bytes, flag=1))
    fields = client.answer()[0]
    assert fields["grpc-status"] == status
    assert fields["grpc-accept-encoding"] == "identity,deflate,gzip"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "ends before its message"),
        (message(b"abc")[:-1], "ends before its message"),
        (message() + message(), "a second message"),
        (message(flag=2), "begins with 2"),
    ],
)
def test_bodies_that_are_not_one_message(client: ByteClient, body: bytes, text: str) -> None:
    client.send(f.HEADERS, f.END_HEADERS, 1, client.block())
    client.send(f.DATA, f.END_STREAM, 1, body)
    fields = client.answer()[0]
    assert fields["grpc-status"] == "13"
    assert text in fields["grpc-message"]


@pytest.mark.parametrize(("timeout", "status"), [("5S", "0"), ("1H", "0"), ("123456789S", "3"), ("5", "3")])
def test_timeouts(client: ByteClient, timeout: str, status: str) -> None:
    client.request(1, grpc_timeout=timeout)
    assert client.answer()[0]["grpc-status"] == status


def test_an_operation_that_takes_longer_than_its_timeout(client: ByteClient) -> None:
    client.request(1, path="/inference.GRPCInferenceService/CudaSharedMemoryStatus", grpc_timeout="1m")
    assert client.answer()[0]["grpc-status"] == "4"
