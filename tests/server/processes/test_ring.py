"""Places in an area, and messages through shared memory, also from a sender that lies."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusee.server.processes.ring import (
    ALIGNMENT,
    SLOT,
    CorruptError,
    FullError,
    Layout,
    Message,
    Places,
    Receiver,
    Sender,
    aligned,
    create,
    directions,
)

LAYOUT = Layout(messages=4, area_bytes=4096)


def ring(layout: Layout = LAYOUT) -> tuple[Sender, Receiver, memoryview]:
    """A sender, the receiver of its messages, and the memory between them."""
    fd = create(layout)
    try:
        first, _ = directions(fd, layout)
    finally:
        os.close(fd)
    return Sender(first, layout), Receiver(first, layout), first


def taken(receiver: Receiver, count: int = 1) -> Iterator[Message]:
    for found in receiver.take(count):
        yield receiver.message(found)[0]


@given(st.lists(st.one_of(st.integers(0, 700), st.integers(-50, -1)), max_size=80))
def test_places_never_overlap_and_all_room_comes_back(steps: list[int]):
    """A positive step takes a place of that size, a negative one gives one of the places back."""
    places = Places(4096, 12)
    held: dict[int, int] = {}
    for step in steps:
        if step >= 0:
            try:
                start = places.take(step)
            except FullError:
                gaps = [b - a for a, b in _gaps(held)]
                assert len(held) == 12 or max(gaps, default=0) < max(aligned(step), ALIGNMENT)
                continue
            end = start + max(aligned(step), ALIGNMENT)
            assert start % ALIGNMENT == 0
            assert end <= 4096
            assert all(end <= other or start >= other_end for other, other_end in held.items())
            held[start] = end
        elif held:
            start = sorted(held)[step % len(held)]
            del held[start]
            places.give_back(start)
        assert len(places) == len(held)
    for start in held:
        places.give_back(start)
    assert places.take(4096) == 0


def _gaps(held: dict[int, int]) -> Iterator[tuple[int, int]]:
    at = 0
    for start in sorted(held):
        yield at, start
        at = held[start]
    yield at, 4096


def test_a_place_is_given_back_once():
    places = Places(4096, 4)
    start = places.take(100)
    places.give_back(start)
    for wrong in (start, start + 1, 1 << 60):
        with pytest.raises(CorruptError, match=f"place {wrong} was given back, which is not taken"):
            places.give_back(wrong)


def test_full_by_number_and_by_room():
    places = Places(4096, 2)
    with pytest.raises(FullError, match="no 4160 bytes in a row are free in the ring"):
        places.take(4097)
    places.take(0)
    places.take(0)
    with pytest.raises(FullError, match="2 messages are under way, as many as the ring takes"):
        places.take(0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.binary(max_size=90), st.lists(st.binary(max_size=300), max_size=3)), max_size=60))
def test_messages_come_as_sent_all_around_the_ring(messages: list[tuple[bytes, list[bytes]]]):
    sender, receiver, _ = ring()
    for number, (header, parts) in enumerate(messages):
        sender.put(1, number, header, parts)
        (found,) = receiver.take(1)
        message, _ = receiver.message(found)
        assert (message.kind, message.number, message.header) == (1, number, header)
        at = 0
        for part in parts:
            assert bytes(message.content[at : at + len(part)]) == part
            at += aligned(len(part))
        sender.give_back(found.offset)
    assert sender.under_way == 0


def test_what_was_received_stays_as_it_is_until_its_place_is_given_back():
    sender, receiver, _ = ring()
    sender.put(1, 1, b"h", [b"a" * 1000])
    (first,) = receiver.take(1)
    content = receiver.message(first)[0].content
    sender.put(1, 2, b"h", [b"b" * 1000])
    assert bytes(content[:1000]) == b"a" * 1000
    sender.give_back(first.offset)
    sender.put(1, 3, b"h", [b"c" * 1000])
    assert bytes(content[:1000]) == b"c" * 1000


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 5000)),
    st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 5000)),
)
def test_a_descriptor_is_right_or_refused(number: int, header: int, sequence: int, offset: int, size: int):
    _, receiver, memory = ring()
    SLOT.pack_into(memory, 0, sequence % 2, 1, header % 6000, number, offset, size)
    fits = offset + size <= 4096 and header % 6000 <= size and offset % ALIGNMENT == 0
    if sequence % 2 == 0 and fits and offset < 4096:
        (message,) = taken(receiver)
        assert len(message.header) == header % 6000
        assert message.number == number
    else:
        with pytest.raises(CorruptError):
            list(taken(receiver))


@given(st.binary(min_size=SLOT.size, max_size=SLOT.size))
def test_random_descriptors_do_no_harm(slot: bytes):
    _, receiver, memory = ring()
    memory[: SLOT.size] = slot
    with pytest.raises(CorruptError):
        list(taken(receiver, 2))


def test_a_slot_that_was_not_written_is_noticed():
    sender, receiver, _ = ring()
    sender.put_short(3, 9)
    with pytest.raises(CorruptError, match="slot 1 holds message 0, not 1"):
        list(receiver.take(2))


def test_the_memory_cannot_be_cut_while_it_is_mapped():
    fd = create(LAYOUT)
    try:
        with pytest.raises(PermissionError):
            os.truncate(fd, 0)
    finally:
        os.close(fd)


def test_other_memory_is_no_ring():
    fd = create(Layout(messages=4, area_bytes=8192))
    unsealed = os.memfd_create("unsealed")
    os.ftruncate(unsealed, LAYOUT.total_bytes)
    try:
        with pytest.raises(CorruptError, match=f"the ring has {4 * 2 * 4 * 64 + 16384} bytes"):
            directions(fd, LAYOUT)
        with pytest.raises(CorruptError, match="of a fixed size"):
            directions(unsealed, LAYOUT)
    finally:
        os.close(fd)
        os.close(unsealed)


def test_parts_do_not_share_cache_lines():
    sender, receiver, _ = ring()
    sender.put(1, 1, b"h" * 65, [b"a", b"b"])
    (message,) = taken(receiver)
    assert message.content.ctypes.data % ALIGNMENT == 0
    assert message.content[[0, ALIGNMENT]].tolist() == [ord("a"), ord("b")]
