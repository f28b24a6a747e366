"""Request lines and headers, read by llhttp in its strict mode, which refuses what smuggling needs: a length given
twice or beside chunks, folded lines, line ends other than CRLF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import httptools

from fusee.server.http.messages import refusal


class Head(NamedTuple):
    """A request before its body. ``headers`` are by lower-case name; those given several times are joined by commas."""

    method: str
    target: str
    headers: Mapping[str, str]
    body_bytes: int
    is_chunked: bool
    is_kept_alive: bool
    expects_continue: bool

    @property
    def has_body(self) -> bool:
        return self.is_chunked or self.body_bytes > 0


class _Events:
    """What the parser tells."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.begun = 0
        self.is_complete = False
        self.has_more = False

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.is_complete = True

    def on_body(self, _: bytes) -> None:
        self.has_more = True


def read_head(content: bytes) -> Head:
    """The head that ends where ``content`` does, with its empty line. Raises Refusal."""
    events = _Events()
    parser = httptools.HttpRequestParser(events)
    try:
        parser.feed_data(content)
    except httptools.HttpParserUpgrade:  # an offer that HTTP allows to leave aside
        pass
    except httptools.HttpParserError as err:
        raise refusal(400, f"the request is no HTTP: {err}") from err
    version = parser.get_http_version()
    if not events.is_complete or events.begun != 1 or events.has_more:
        raise refusal(400, "the request is no HTTP: its head does not end where its empty line is")
    if version not in ("1.0", "1.1"):
        raise refusal(505, f"HTTP {version} is not spoken on this port; use HTTP/1.1")
    if version == "1.1" and "host" not in events.headers:
        raise refusal(400, "the request has no host header, which HTTP/1.1 requires")
    return Head(
        method=parser.get_method().decode("latin-1"),
        target=_origin_form(events.target),
        headers=events.headers,
        body_bytes=int(events.headers.get("content-length", "0")),
        is_chunked=_is_chunked(events.headers, version),
        is_kept_alive=_is_kept_alive(events.headers, version),
        expects_continue=events.headers.get("expect", "").lower() == "100-continue",
    )


def _is_kept_alive(headers: Mapping[str, str], version: str) -> bool:
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    return "keep-alive" in options if version == "1.0" else "close" not in options


def _is_chunked(headers: Mapping[str, str], version: str) -> bool:
    coding = headers.get("transfer-encoding")
    if coding is None:
        return False
    if version == "1.0":
        raise refusal(400, "an HTTP/1.0 request has a transfer-encoding, which came with HTTP/1.1")
    if coding.strip().lower() != "chunked":
        raise refusal(501, f"transfer-encoding {coding[:40]!r} is not offered; use chunked, or a content-length")
    return True


def _origin_form(target: bytes) -> str:
    """A target as path and query; proxies may send the whole address."""
    if target.startswith(b"/") or b"://" not in target:
        return target.decode("latin-1")
    url = httptools.parse_url(target)
    return (url.path or b"/").decode("latin-1")
