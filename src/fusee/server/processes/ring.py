"""Messages between two processes in shared memory: descriptors in slots of fixed size, contents in an area beside them.

One memfd, which has no name anywhere, holds both directions. Each direction has one sender, who alone decides where in
the area a message lies, and who takes the place again when the receiver has said that nothing looks at it any more.
Nothing in the shared memory is trusted: a receiver checks each descriptor, and a sender keeps its own books.

There are no shared heads or tails. The sender fills slots and then adds their number to the receiver's eventfd; the
receiver takes that many. The system call orders the writes before the reads on every machine, and nobody spins.
A slot is not overwritten before it was read because the number of messages is bounded: see ``Layout.slots``.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

import numpy as np

from fusee.base.types import Array

Buffer = bytes | bytearray | memoryview

SLOT = Struct("<QIIQQQ24x")  # sequence, kind, header bytes, number, offset, size
ALIGNMENT = 64  # of messages and their parts: no tensor shares a cache line with another
RELEASE = 0  # the kind of a descriptor that gives a place back: its number is the place
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL  # no truncation: a mapping that stays whole


class FullError(Exception):
    """No room now; there is some when the other side gives places back."""


class CorruptError(Exception):
    """The other side wrote what the protocol does not allow. Nothing more is to be read from it."""


@dataclass(frozen=True)
class Layout:
    """The sizes of a ring; both sides are given the same. Memory is taken as it is touched, not before.

    ``messages`` is how many may be under way in one direction.
    """

    messages: int = 4096
    area_bytes: int = 256 * 1024 * 1024  # of each direction

    @property
    def slots(self) -> int:
        """Descriptors that may be unread in one direction: while the other side reads nothing, the messages under way
        may be answered and followed by as many again, each may be cancelled, and all of the other's be released."""
        return 4 * self.messages

    @property
    def total_bytes(self) -> int:
        return 2 * (self.slots * SLOT.size + self.area_bytes)


class Descriptor(NamedTuple):
    """What a slot says. ``offset`` and ``size_bytes`` are a place in the sender's area: header, then contents."""

    sequence: int
    kind: int
    header_bytes: int
    number: int
    offset: int
    size_bytes: int


class Message(NamedTuple):
    """What was received. ``content`` looks at the shared memory, whose place is given back when nothing looks there:
    what is to be kept is kept by arrays that are views of it."""

    kind: int
    number: int
    header: bytes
    content: Array  # of bytes


def aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def message_bytes(header: bytes, parts: Sequence[Buffer]) -> int:
    """The room that a message takes."""
    return aligned(len(header)) + sum(aligned(len(part)) for part in parts)


class Places:
    """Which parts of an area are taken, and by how many messages. First fit, so that few pages are ever touched."""

    def __init__(self, area_bytes: int, messages: int) -> None:
        self._messages = messages
        self._free = [(0, area_bytes)]  # (start, end), in order, never adjacent
        self._taken: dict[int, int] = {}  # size by start

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, size_bytes: int) -> int:
        """The start of a place of that size. Raises FullError."""
        size_bytes = max(aligned(size_bytes), ALIGNMENT)
        if len(self._taken) >= self._messages:
            raise FullError(f"{self._messages} messages are under way, as many as the ring takes")
        for i, (start, end) in enumerate(self._free):
            if end - start >= size_bytes:
                self._cut(i, start + size_bytes, end)
                self._taken[start] = size_bytes
                return start
        raise FullError(f"no {size_bytes} bytes in a row are free in the ring")

    def give_back(self, start: int) -> None:
        """Free a place that was taken. Raises CorruptError when it was not."""
        size_bytes = self._taken.pop(start, None)
        if size_bytes is None:
            raise CorruptError(f"place {start} was given back, which is not taken")
        end, i = start + size_bytes, bisect_left(self._free, (start, 0))
        if i < len(self._free) and self._free[i][0] == end:
            end = self._free.pop(i)[1]
        if i and self._free[i - 1][1] == start:
            i -= 1
            start = self._free.pop(i)[0]
        self._free.insert(i, (start, end))

    def _cut(self, i: int, start: int, end: int) -> None:
        if start == end:
            del self._free[i]
        else:
            self._free[i] = (start, end)


class Sender:
    """Writes messages of one direction. What was put is seen by the other side when it is published."""

    def __init__(self, memory: memoryview, layout: Layout) -> None:
        """``memory``: the direction's slots, then its area."""
        self._slots = memory[: layout.slots * SLOT.size]
        self._area = memory[layout.slots * SLOT.size :]
        self._slot_count = layout.slots
        self._sequence = 0
        self._places = Places(layout.area_bytes, layout.messages)

    @property
    def under_way(self) -> int:
        """Messages whose places are taken."""
        return len(self._places)

    def put(self, kind: int, number: int, header: bytes, parts: Sequence[Buffer]) -> None:
        """Write a message. Raises FullError, having written nothing."""
        size_bytes = message_bytes(header, parts)
        start = self._places.take(size_bytes)
        self._area[start : start + len(header)] = header
        at = start + aligned(len(header))
        for part in parts:
            self._area[at : at + len(part)] = part
            at += aligned(len(part))
        self._describe(kind, len(header), number, start, size_bytes)

    def put_short(self, kind: int, number: int) -> None:
        """Write a message that is its number alone and takes no place."""
        self._describe(kind, 0, number, 0, 0)

    def give_back(self, start: int) -> None:
        """The other side looks no more at that place. Raises CorruptError."""
        self._places.give_back(start)

    def _describe(self, kind: int, header_bytes: int, number: int, start: int, size_bytes: int) -> None:
        slot = self._sequence % self._slot_count * SLOT.size
        SLOT.pack_into(self._slots, slot, self._sequence, kind, header_bytes, number, start, size_bytes)
        self._sequence += 1


class Receiver:
    """Reads descriptors of one direction, and finds what they describe."""

    def __init__(self, memory: memoryview, layout: Layout) -> None:
        self._slots = memory[: layout.slots * SLOT.size]
        self._area = memory[layout.slots * SLOT.size :]
        self._slot_count = layout.slots
        self._sequence = 0

    def take(self, count: int) -> Iterator[Descriptor]:
        """The next descriptors, checked. Raises CorruptError."""
        for _ in range(count):
            slot = self._sequence % self._slot_count * SLOT.size
            found = Descriptor._make(SLOT.unpack_from(self._slots, slot))
            if found.sequence != self._sequence:
                raise CorruptError(f"slot {slot // SLOT.size} holds message {found.sequence}, not {self._sequence}")
            end = found.offset + max(found.size_bytes, 1)
            if end > len(self._area) or found.header_bytes > found.size_bytes or found.offset % ALIGNMENT:
                raise CorruptError(f"message {found.sequence} describes a place that there is not: {found}")
            self._sequence += 1
            yield found

    def message(self, found: Descriptor) -> tuple[Message, Array]:
        """A descriptor's message, and the array that lives as long as any view of its place."""
        place = np.frombuffer(self._area, np.uint8, max(found.size_bytes, 1), found.offset)
        header = bytes(self._area[found.offset : found.offset + found.header_bytes])
        return Message(found.kind, found.number, header, place[aligned(found.header_bytes) : found.size_bytes]), place


def create(layout: Layout) -> int:
    """The descriptor of new memory for a ring of that layout, whose size cannot be changed any more."""
    fd = os.memfd_create("fusee-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, layout.total_bytes)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def directions(fd: int, layout: Layout) -> tuple[memoryview, memoryview]:
    """The memory of both directions, of which the first is sent by the front end. Raises CorruptError.

    The mapping ends when nothing looks at it any more; ``fd`` is not needed after.
    """
    size_bytes = os.fstat(fd).st_size
    if size_bytes != layout.total_bytes or fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS != SEALS:
        raise CorruptError(f"the ring has {size_bytes} bytes, expected {layout.total_bytes} of a fixed size")
    memory = memoryview(mmap.mmap(fd, size_bytes))
    half = size_bytes // 2
    return memory[:half], memory[half:]
