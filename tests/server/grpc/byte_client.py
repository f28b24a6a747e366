"""A client that says exactly what a test wants, frame by frame."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from hpack import Decoder, Encoder

from fusee.server.grpc import frames as f

REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/inference.GRPCInferenceService/ServerLive"),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error that a RST_STREAM or GOAWAY tells."""
        at = 4 if self.kind == f.GOAWAY else 0
        return struct.unpack_from(">L", self.payload, at)[0]


def message(content: bytes = b"", flag: int = 0) -> bytes:
    return struct.pack(">BL", flag, len(content)) + content


class ByteClient:
    """One connection."""

    def __init__(self, sock: socket.socket, settings: dict[int, int] | None = None, greets: bool = True) -> None:
        self.sock = sock
        self.encoder = Encoder()
        self.decoder = Decoder()
        self._received = b""
        if greets:
            self.raw(f.PREFACE + f.settings(settings or {}))

    def raw(self, content: bytes) -> None:
        self.sock.sendall(content)

    def send(self, kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> None:
        self.raw(f.frame_header(len(payload), kind, flags, stream_id) + payload)

    def block(self, **changes: str) -> bytes:
        """A request's header block; changes name fields with _ for - and method, path... for pseudo-headers."""
        fields = dict(REQUEST)
        for name, value in changes.items():
            pseudo = f":{name}"
            fields[pseudo if pseudo in fields else name.replace("_", "-")] = value
        return self.encoder.encode(list(fields.items()))

    def request(self, stream_id: int, content: bytes = b"", **changes: str) -> None:
        self.send(f.HEADERS, f.END_HEADERS, stream_id, self.block(**changes))
        self.send(f.DATA, f.END_STREAM, stream_id, message(content))

    def frame(self) -> Frame | None:
        """The next frame; None when the connection ended."""
        header = self._take(9)
        if header is None:
            return None
        high, low, kind, flags, stream_id = f.HEADER.unpack(header)
        payload = self._take(high << 8 | low)
        return None if payload is None else Frame(kind, flags, stream_id, payload)

    def until(self, kind: int, flags: int = 0) -> Frame:
        """The next frame of a type, with those flags among others."""
        while (found := self.frame()) is not None:
            if found.kind == kind and found.flags & flags == flags:
                return found
        raise AssertionError(f"the connection ended before a frame of type {kind}")

    def fields(self, frame: Frame) -> dict[str, str]:
        return dict(self.decoder.decode(frame.payload))

    def answer(self) -> tuple[dict[str, str], bytes]:
        """All header fields and the body of the next answer."""
        fields: dict[str, str] = {}
        body = b""
        while (found := self.frame()) is not None:
            if found.kind == f.DATA:
                body += found.payload
            elif found.kind == f.HEADERS:
                fields |= self.fields(found)
                if found.flags & f.END_STREAM:
                    return fields, body
        raise AssertionError("the connection ended before an answer")

    def _take(self, size_bytes: int) -> bytes | None:
        while len(self._received) < size_bytes:
            try:
                got = self.sock.recv(65536)
            except ConnectionResetError:
                return None
            if not got:
                return None
            self._received += got
        taken, self._received = self._received[:size_bytes], self._received[size_bytes:]
        return taken
