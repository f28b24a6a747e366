"""Both directions of a ring on an event loop, woken by eventfds: messages out, messages in, places given back."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fusee.base.types import Array
from fusee.server.processes.ring import (
    RELEASE,
    Buffer,
    CorruptError,
    Descriptor,
    Layout,
    Message,
    Receiver,
    Sender,
    directions,
)


class Ends(NamedTuple):
    """One side's file descriptors of a ring: its memory, what wakes this side, and what wakes the other."""

    memory: int
    wake: int
    wake_other: int


class _Place(weakref.ref[Array]):
    """The life of a message's array; when that ends, ``start`` is given back."""

    __slots__ = ("start",)

    start: int


class Channel:
    """One side of a ring. Belongs to the event loop's thread; only the arrays of messages may die on others.

    ``take`` gets each message. It may raise CorruptError, as reading descriptors may: the channel is closed then and
    ``broken`` told why. ``freed`` is called when the other side gave places back.
    """

    def __init__(
        self,
        ends: Ends,
        layout: Layout,
        is_front: bool,
        take: Callable[[Message], None],
        freed: Callable[[], None],
        broken: Callable[[str], None],
    ) -> None:
        """Takes over the descriptors of ``ends``. Raises CorruptError."""
        first, second = directions(ends.memory, layout)
        os.close(ends.memory)
        self._sender = Sender(first if is_front else second, layout)
        self._receiver = Receiver(second if is_front else first, layout)
        self._take, self._freed, self._broken = take, freed, broken
        self._wake_fd, self._wake_other_fd = ends.wake, ends.wake_other
        self._places: dict[int, _Place] = {}
        self._ended: deque[int] = deque()
        self._is_flush_due = False
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._wake_fd, self.receive)
        self.is_open = True

    @property
    def under_way(self) -> int:
        """Messages that were sent and whose places the other side holds."""
        return self._sender.under_way

    def send(self, kind: int, number: int, header: bytes, parts: Sequence[Buffer] = ()) -> None:
        """Send a message. Raises FullError; does nothing when the channel is closed."""
        if self.is_open:
            self._sender.put(kind, number, header, parts)
            os.eventfd_write(self._wake_other_fd, 1)

    def send_short(self, kind: int, number: int) -> None:
        """Send a number alone, which takes no place."""
        if self.is_open:
            self._sender.put_short(kind, number)
            os.eventfd_write(self._wake_other_fd, 1)

    def receive(self) -> None:
        """Take what has come; nothing when the channel is closed."""
        if not self.is_open:
            return
        try:
            count = os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            return
        try:
            has_freed = self._receive(count)
        except CorruptError as err:
            self.close()
            self._broken(str(err))
            return
        if has_freed:
            self._freed()

    def close(self) -> None:
        """Stop; the memory goes when the arrays that look at it go. Harmless twice."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._wake_fd)
        os.close(self._wake_fd)
        os.close(self._wake_other_fd)
        self._places.clear()

    def _receive(self, count: int) -> bool:
        """Take that many messages; whether some of them gave places back."""
        has_freed = False
        try:
            for found in self._receiver.take(count):
                count -= 1
                if found.kind == RELEASE:
                    self._sender.give_back(found.number)
                    has_freed = True
                else:
                    self._take(self._message(found))
                if not self.is_open:
                    return False
        finally:
            if count and self.is_open:  # one message raised: those after it are not lost
                os.eventfd_write(self._wake_fd, count)
        return has_freed

    def _message(self, found: Descriptor) -> Message:
        message, place = self._receiver.message(found)
        if found.size_bytes:
            if found.offset in self._places:
                raise CorruptError(f"message {found.sequence} lies at {found.offset}, where another still does")
            life = self._places[found.offset] = _Place(place, self._end)
            life.start = found.offset
        return message

    def _end(self, place: _Place) -> None:
        """A message's array has died, on whatever thread."""
        self._ended.append(place.start)
        if self._is_flush_due or not self.is_open:
            return
        self._is_flush_due = True
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._flush)
        else:
            self._loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        """Tell the other side which places it has back."""
        self._is_flush_due = False
        count = 0
        while self.is_open and self._ended:
            start = self._ended.popleft()
            del self._places[start]
            self._sender.put_short(RELEASE, start)
            count += 1
        if count:
            os.eventfd_write(self._wake_other_fd, count)


def new_wake() -> int:
    """A descriptor that wakes a side: an eventfd that counts."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
