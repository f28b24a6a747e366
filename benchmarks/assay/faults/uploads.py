"""Uploads as attackers and broken clients send them, over real connections: each gets a clear answer, or ends alone."""

from __future__ import annotations

import io
import json
import socket
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import NamedTuple
from urllib.parse import urlsplit

from PIL import Image

from assay.web.problems import PROBLEM

MIB = 1024 * 1024
ANSWER_S = 60.0


class Answer(NamedTuple):
    """What the caller was told."""

    status: int
    media_type: str
    reason: str  # of the problem; '' where there is none

    @property
    def is_clear(self) -> bool:
        return 400 <= self.status < 500 and self.media_type == PROBLEM and bool(self.reason)


@dataclass(frozen=True)
class Caller:
    """Who holds a key, at one address; each request has a connection of its own."""

    address: str
    key: str

    def connect(self) -> socket.socket:
        parts = urlsplit(self.address)
        assert parts.hostname is not None, self.address
        return socket.create_connection((parts.hostname, parts.port or 80), ANSWER_S)

    def head(self, method: str, path: str, **headers: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "host: assay", f"authorization: Bearer {self.key}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def ask(self, head: bytes, pieces: Iterable[bytes] = ()) -> Answer:
        """Sends all of it, whatever comes back meanwhile, then reads: what most clients do."""
        with self.connect() as connection:
            connection.sendall(head)
            for piece in pieces:
                connection.sendall(piece)
            return answer_on(connection)

    def draft(self) -> str:
        """The id of a new case."""
        body = json.dumps({"claim": {"brand": "Any", "model": "One"}}).encode()
        head = self.head("POST", "/v1/cases", content_type="application/json", content_length=str(len(body)))
        with self.connect() as connection:
            connection.sendall(head + body)
            response = HTTPResponse(connection)
            response.begin()
            return json.loads(response.read())["id"]

    def put(self, case_id: str, content: bytes) -> Answer:
        head = self.head(
            "PUT",
            f"/v1/cases/{case_id}/photos/logo",
            content_type="image/jpeg",
            content_length=str(len(content)),
        )
        return self.ask(head, (content[start : start + MIB] for start in range(0, len(content), MIB)))

    def put_chunked(self, case_id: str, content: bytes) -> Answer:
        """Without saying how much it will be."""
        head = self.head(
            "PUT", f"/v1/cases/{case_id}/photos/logo", content_type="image/jpeg", transfer_encoding="chunked"
        )
        pieces = (content[start : start + MIB] for start in range(0, len(content), MIB))
        return self.ask(head, [*(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n"])


def answer_on(connection: socket.socket) -> Answer:
    """Raises OSError or HTTPException where the connection ends without an answer."""
    response = HTTPResponse(connection)
    response.begin()
    body = response.read()
    media_type = response.headers.get_content_type()
    return Answer(
        response.status, media_type, json.loads(body)["reason"] if media_type.endswith("problem+json") else ""
    )


def bad_photographs(genuine: bytes) -> dict[str, tuple[bytes, int]]:
    """By name: what is sent as a photograph, and the status that it ought to get."""
    return {
        "0 bytes": (b"", 400),
        "text": (b"hello, I am a photograph", 415),
        "page": (b"<html><script>alert(1)</script></html>", 415),
        "PDF": (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", 415),
        "program": (b"\x7fELF" + bytes(100), 415),
        "GIF": (_picture("GIF"), 415),
        "TIFF": (_picture("TIFF"), 415),
        "animation": (_picture("PNG", save_all=True, append_images=[Image.new("RGB", (64, 64), "black")]), 415),
        "bomb": (_bomb(60_000), 413),
        "cut short": (genuine[: len(genuine) // 3], 422),
        "noise behind a start": (genuine[:600] + bytes(range(256)) * 100, 422),
        "archive behind the end": (genuine + b"PK\x03\x04" + bytes(40), 400),
        "page behind the end": (genuine + b"<script>alert(1)</script>", 400),
        "40 MB": (genuine + bytes(40 * MIB), 413),
    }


def _picture(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, kind, **options)
    return file.getvalue()


def _bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that says it has ``side`` x ``side`` pixels, and has many of them."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(20 * MIB), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
