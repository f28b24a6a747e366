"""The scanner agrees with protobuf on every message that it takes."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from fusee.server.grpc.scanner import scan, varint
from fusee.server.proto.grpc_service_pb2 import ModelInferRequest

names = st.text(max_size=6)


@st.composite
def requests(draw: st.DrawFn) -> ModelInferRequest:
    request = ModelInferRequest(model_name=draw(names), model_version=draw(names), id=draw(names))
    for name in draw(st.lists(names, max_size=3)):
        request.inputs.add(name=name, datatype="FP32", shape=draw(st.lists(st.integers(-1, 300), max_size=3)))
    for name in draw(st.lists(names, max_size=2)):
        request.outputs.add(name=name).parameters["classification"].int64_param = 3
    request.raw_input_contents.extend(draw(st.lists(st.binary(max_size=300), max_size=3)))
    return request


def check(message: bytes) -> None:
    """Whatever the scanner takes, it takes as protobuf does; what protobuf refuses, the rest has too."""
    scanned = scan(message)
    if scanned is None:
        return
    try:
        whole = ModelInferRequest.FromString(message)
    except DecodeError:
        try:
            scanned.id.decode()
            ModelInferRequest.FromString(scanned.rest)
        except (UnicodeDecodeError, DecodeError):
            return
        raise AssertionError("protobuf refuses the message, but neither its rest nor its id") from None
    rest = ModelInferRequest.FromString(scanned.rest)
    assert [bytes(c) for c in scanned.raw] == list(whole.raw_input_contents)
    assert scanned.id.decode() == whole.id
    rest.id = whole.id
    rest.raw_input_contents.extend(whole.raw_input_contents)
    assert rest == whole


@given(requests())
def test_messages(request: ModelInferRequest) -> None:
    message = request.SerializeToString()
    assert scan(message) is not None
    check(message)


@given(requests(), requests())
def test_concatenated_messages_merge(first: ModelInferRequest, second: ModelInferRequest) -> None:
    check(first.SerializeToString() + second.SerializeToString())


@given(requests(), st.data())
def test_damaged_messages(request: ModelInferRequest, data: st.DataObject) -> None:
    message = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        if message:
            message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(message[: data.draw(st.integers(0, len(message)))]))


@given(st.binary(max_size=64))
def test_any_bytes(message: bytes) -> None:
    check(message)


def test_an_id_that_another_one_hides() -> None:
    """Found by fuzzing: protobuf refuses an id that is no UTF-8, also when it is given again."""
    message = b"\x1a\x02\xfaP" + b"\x1a\x01a"
    assert scan(message) is None
    check(message)


def test_raw_contents_are_views_of_the_message() -> None:
    message = ModelInferRequest(model_name="m", raw_input_contents=[b"a" * 1000]).SerializeToString()
    scanned = scan(message)
    assert scanned is not None
    assert scanned.raw[0].obj is message


@given(st.integers(0, 2**63))
def test_varint(value: int) -> None:
    read = 0
    for place, byte in enumerate(encoded := varint(value)):
        read |= (byte & 0x7F) << 7 * place
        assert bool(byte & 0x80) == (place < len(encoded) - 1)
    assert read == value
