"""Header blocks: what is remembered of them, and what is written."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from fusee.server.grpc.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionFault
from fusee.server.grpc.headers import BlockReader, Fields, encode_block

names = st.text("abcdef-", min_size=1, max_size=4)
values = st.text("xyz012", max_size=6)
sections = st.lists(st.tuples(names, values), max_size=5)


class Reads:
    """A reader that counts how often it interprets."""

    def __init__(self, list_bytes: int = 10_000) -> None:
        self.count = 0
        self.reader: BlockReader[list[tuple[str, str]]] = BlockReader(list_bytes, self._interpret)

    def _interpret(self, fields: Fields) -> Fields:
        self.count += 1
        return fields


def test_a_block_that_changes_nothing_is_interpreted_once() -> None:
    reads = Reads()
    encoder = Encoder()
    fields = [("a", "1"), ("b", "2")]
    first, second = encoder.encode(fields), encoder.encode(fields)
    for block in (first, second, second, second):
        assert reads.reader.read(block) == fields
    assert reads.count == 2


def test_the_same_block_after_the_table_changed() -> None:
    reads = Reads()
    encoder = Encoder()
    reads.reader.read(encoder.encode([("a", "1")]))
    block = encoder.encode([("a", "1")])
    assert reads.reader.read(block) == [("a", "1")]
    reads.reader.read(encoder.encode([("b", "2")]))
    assert reads.reader.read(block) == [("b", "2")]  # the index is now the newer entry's


def test_a_table_that_shrinks_forgets_what_blocks_meant() -> None:
    reads = Reads()
    encoder = Encoder()
    reads.reader.read(encoder.encode([("a", "1")]))
    block = encoder.encode([("a", "1")])
    reads.reader.read(block)
    reads.reader.read(b"\x20")  # its size is now 0
    with pytest.raises(ConnectionFault) as raised:
        reads.reader.read(block)
    assert raised.value.code == COMPRESSION_ERROR


def test_a_list_that_is_too_large() -> None:
    with pytest.raises(ConnectionFault) as raised:
        Reads(list_bytes=100).reader.read(encode_block([("a", "x" * 100)]))
    assert raised.value.code == ENHANCE_YOUR_CALM


@given(st.lists(st.one_of(sections, st.integers(0, 3)), max_size=20))
def test_the_reader_agrees_with_the_decoder(steps: list[list[tuple[str, str]] | int]) -> None:
    """Sections are new; a number sends an earlier section again."""
    encoder, decoder, reads = Encoder(), Decoder(), Reads()
    sent: list[list[tuple[str, str]]] = []
    for step in steps:
        fields = step if isinstance(step, list) else sent[step] if step < len(sent) else []
        sent.append(fields)
        block = encoder.encode(fields)
        assert reads.reader.read(block) == list(decoder.decode(block)) == fields


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_any_blocks(blocks: list[bytes]) -> None:
    reads = Reads()
    for block in blocks:
        try:
            reads.reader.read(block)
        except ConnectionFault:
            return


@given(sections)
def test_blocks_without_state(fields: list[tuple[str, str]]) -> None:
    decoder = Decoder()
    block = encode_block([(":status", "200"), *fields])
    for _ in range(2):
        assert list(decoder.decode(block)) == [(":status", "200"), *fields]
    assert not decoder.header_table.dynamic_entries
