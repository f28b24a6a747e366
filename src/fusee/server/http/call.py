"""What the head of a request asks for. Made once per distinct head: a connection that repeats itself shows the same
bytes again, and finds what they mean here."""

from __future__ import annotations

from collections.abc import Mapping

from fusee.server.door import body_limit
from fusee.server.errors import invalid
from fusee.server.http.compression import accepted_encoding, decompressed
from fusee.server.http.request import Plan, read_plan
from fusee.server.http.routes import Found
from fusee.server.settings import Limits
from fusee.server.types import InferRequest
from fusee.server.wire import Buffer

_KEPT_BYTES = 4096
"""JSON headers up to this are kept to be recognised."""


class Call:
    """A routed request without its body. ``headers`` are by lower-case name."""

    __slots__ = (
        "_encoding",
        "_kept",
        "_kept_plan",
        "_limits",
        "accepted",
        "arguments",
        "body_bytes",
        "endpoint",
        "header",
        "header_bytes",
        "traceparent",
    )

    def __init__(self, found: Found, headers: Mapping[str, str], limits: Limits) -> None:
        self.endpoint = found.endpoint
        self.body_bytes = body_limit(limits, found.endpoint.scope)
        self.arguments = found.arguments
        self.header = headers.get
        self.header_bytes = headers.get("inference-header-content-length")
        self.accepted = accepted_encoding(headers.get("accept-encoding", ""))
        self.traceparent = headers.get("traceparent", "")
        self._encoding = headers.get("content-encoding", "").strip().lower()
        self._limits = limits
        self._kept = b""
        self._kept_plan: Plan | None = None

    @property
    def is_compressed(self) -> bool:
        return self._encoding != ""

    def decompressed(self, body: Buffer) -> Buffer:
        """The body as it was before its Content-Encoding. Raises ServingError."""
        return decompressed(body, self._encoding, self.body_bytes)

    @property
    def is_raw(self) -> bool:
        """Whether the body is one input's data alone, without a JSON header."""
        return self.header_bytes == "0"

    def read(self, content: Buffer) -> tuple[Plan, InferRequest]:
        """The inference that the content asks for. Raises ServingError."""
        view = memoryview(content)
        split = len(view) if self.header_bytes is None else _header_length(self.header_bytes, len(view))
        plan = self._plan(bytes(view[:split]))
        arguments = self.arguments
        return plan, plan.request(arguments["name"], arguments.get("version", ""), self.traceparent, view[split:])

    def _plan(self, header: bytes) -> Plan:
        if self._kept_plan is not None and header == self._kept:
            return self._kept_plan
        plan = read_plan(header, self._limits)
        if plan.is_reusable and len(header) <= _KEPT_BYTES:
            self._kept, self._kept_plan = header, plan
        return plan


def _header_length(text: str, content_bytes: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise invalid(f"inference-header-content-length is {text[:40]!r}, expected a whole number")
    length = int(text)
    if length > content_bytes:
        raise invalid(f"inference-header-content-length is {length}, but the body has {content_bytes} bytes")
    return length
