"""Length-prefixed messages, as gRPC puts them into a body."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

import numpy as np

from fusee.server.errors import Reason, ServingError
from fusee.server.grpc.compression import Coding, compress
from fusee.server.grpc.stream import Buffer

PREFIX = Struct(">BL")  # compressed or not; length
PREFIX_BYTES = PREFIX.size


class Message(NamedTuple):
    is_compressed: bool
    content: Buffer


class MessageReader:
    """Cuts a body into its messages. A message that comes in pieces is put together in one buffer of its size."""

    __slots__ = ("_buffer", "_filled", "_is_compressed", "_limit_bytes", "_prefix")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._prefix = b""
        self._is_compressed = False
        self._buffer: memoryview | None = None
        self._filled = 0

    @property
    def is_within(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._prefix) or self._buffer is not None

    def feed(self, piece: Buffer) -> list[Message]:
        """The messages that this piece completes. Raises ServingError."""
        messages: list[Message] = []
        view = memoryview(piece)
        while view:
            if self._buffer is None:
                wanted = PREFIX_BYTES - len(self._prefix)
                self._prefix += view[:wanted]
                view = view[wanted:]
                if len(self._prefix) == PREFIX_BYTES:
                    view = self._begin(view, messages)
            else:
                view = self._fill(view, messages)
        return messages

    def _begin(self, view: memoryview, messages: list[Message]) -> memoryview:
        flag, size_bytes = PREFIX.unpack(self._prefix)
        self._prefix = b""
        if flag > 1:
            raise ServingError(Reason.INTERNAL, f"a message begins with {flag}; expected 0 or 1 for compressed or not")
        if size_bytes > self._limit_bytes:
            raise ServingError(
                Reason.TOO_LARGE, f"a message of {size_bytes} bytes; up to {self._limit_bytes} are taken"
            )
        if len(view) >= size_bytes:
            messages.append(Message(flag == 1, view[:size_bytes]))
            return view[size_bytes:]
        self._is_compressed = flag == 1
        self._buffer = np.empty(size_bytes, np.uint8).data  # takes memory as it is filled, not before
        self._filled = 0
        return view

    def _fill(self, view: memoryview, messages: list[Message]) -> memoryview:
        assert self._buffer is not None
        taken = view[: len(self._buffer) - self._filled]
        self._buffer[self._filled : self._filled + len(taken)] = taken
        self._filled += len(taken)
        if self._filled == len(self._buffer):
            messages.append(Message(self._is_compressed, self._buffer))
            self._buffer = None
        return view[len(taken) :]


def prefixed(parts: list[Buffer], size_bytes: int, coding: Coding) -> tuple[list[Buffer], int]:
    """One message as it goes into a body, with its size there."""
    if coding is Coding.IDENTITY:
        return [PREFIX.pack(0, size_bytes), *parts], size_bytes + PREFIX_BYTES
    content = compress(coding, parts)
    return [PREFIX.pack(1, len(content)), content], len(content) + PREFIX_BYTES
