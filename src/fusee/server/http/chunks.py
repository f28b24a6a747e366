"""Chunked bodies, piece by piece. Own code and not llhttp's, which does not say where a message ended: what follows
is the next request and has to be found."""

from __future__ import annotations

import re

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.settings import Limits

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_LINE_BYTES = 1024


class Chunks:
    """A body under way. ``content`` is what has come of it."""

    def __init__(self, limits: Limits) -> None:
        self.content = bytearray()
        self._limits = limits
        self._pending = b""
        self._left = 0  # of the current chunk, with its CRLF
        self._count = 0
        self._is_in_trailer = False
        self._trailer_bytes = 0

    def feed(self, piece: bytes) -> bytes | None:
        """Take the next bytes. Gives what follows the body once it is whole, None before. Raises ServingError."""
        rest, self._pending = self._pending + piece, b""
        while True:
            if self._left:
                rest = self._take_content(rest)
                if self._left:
                    return None
            line, end, after = rest.partition(b"\r\n")
            if not end:
                self._hold(line)
                return None
            rest = after
            if self._is_in_trailer:
                if not line:
                    return rest
                self._skip_trailer(line)
            else:
                self._begin_chunk(line)

    def _take_content(self, rest: bytes) -> bytes:
        """Move a chunk's bytes to the content, then check and drop its CRLF."""
        size = min(len(rest), self._left - 2)
        if size > 0:
            self.content += memoryview(rest)[:size]
            self._left -= size
            rest = rest[size:]
        if self._left > 2 or len(rest) < 2:
            if self._left == 2:
                self._pending = rest
            return b""
        if not rest.startswith(b"\r\n"):
            raise invalid("a chunk of the body does not end where its size says")
        self._left = 0
        return rest[2:]

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None or len(line) > _LINE_BYTES:
            raise invalid(f"the size of a chunk is {line[:20]!r}, expected hex digits")
        size = int(match[1], 16)
        self._count += 1
        if self._count > self._limits.chunks:
            raise ServingError(Reason.TOO_LARGE, f"the body has more than {self._limits.chunks} chunks")
        if len(self.content) + size > self._limits.body_bytes:
            raise ServingError(Reason.TOO_LARGE, f"the body is more than {self._limits.body_bytes} bytes")
        self._is_in_trailer = size == 0
        self._left = size + 2 if size else 0

    def _skip_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > self._limits.header_bytes:
            raise ServingError(Reason.TOO_LARGE, f"the trailer is more than {self._limits.header_bytes} bytes")

    def _hold(self, line: bytes) -> None:
        """Keep the beginning of a line."""
        if len(line) > _LINE_BYTES:
            raise invalid(f"a line between chunks is more than {_LINE_BYTES} bytes")
        self._pending = line
