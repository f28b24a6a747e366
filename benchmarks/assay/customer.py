"""A customer of an installation: sends cases over one connection, follows each to its report, and takes times."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 120.0
REFUSED = (429, 503)


@dataclass(frozen=True)
class Served:
    """A case that has its report. All times are of one clock, in seconds."""

    begun_s: float  # before the first byte was sent
    accepted_s: float  # 202 was read
    told_s: float  # the event came that says REPORTED
    fetched_s: float  # report.json was read
    verdict: str
    stages_ms: Mapping[str, float]  # as the report tells them

    @property
    def latency_ms(self) -> float:
        """From the first byte of the photographs until the report is there for whoever asks."""
        return (self.told_s - self.begun_s) * 1e3


@dataclass(frozen=True)
class Refused:
    """A case that was not accepted: the customer is asked to come again."""

    status: int
    answer_ms: float
    retry_after_s: float


class Customer:
    """One connection, kept. A key of any number of requests a minute."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)

    def close(self) -> None:
        self._connection.close()

    def ask(self, key: str, form: Form) -> Served | Refused:
        """Six photographs in, one report out. Raises RuntimeError for any other answer."""
        begun_s = perf_counter()
        answer = self._send(key, "POST", "/v1/cases", form.body, {"content-type": form.media_type})
        content = answer.read()
        accepted_s = perf_counter()
        if answer.status in REFUSED:
            retry_after_s = float(answer.headers.get("retry-after", "1"))
            return Refused(answer.status, (accepted_s - begun_s) * 1e3, retry_after_s)
        case_id = json.loads(_expected(answer, content, 202))["id"]
        state = self._followed(key, case_id)
        told_s = perf_counter()
        if state["state"] != "reported":
            raise RuntimeError(f"case {case_id} ended as {state}; expected a report")
        report = self.document(key, f"/v1/cases/{case_id}/report.json")
        stages = {stage["name"]: stage["ms"] for stage in report["stages"]}
        return Served(begun_s, accepted_s, told_s, perf_counter(), report["result"]["verdict"], stages)

    def document(self, key: str, path: str) -> Any:
        return json.loads(self.content(key, path))

    def content(self, key: str, path: str) -> bytes:
        answer = self._send(key, "GET", path)
        return _expected(answer, answer.read(), 200)

    def _followed(self, key: str, case_id: str) -> Mapping[str, Any]:
        """The last state that the events tell."""
        answer = self._send(key, "GET", f"/v1/cases/{case_id}/events")
        if answer.status != 200:
            _expected(answer, answer.read(), 200)
        states = [state for name, state in _events(answer) if name == "state"]
        return states[-1]

    def _send(
        self, key: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        self._connection.request(method, path, body, {"authorization": f"Bearer {key}", **(headers or {})})
        return self._connection.getresponse()


@dataclass(frozen=True)
class Form:
    """A case as a form's bytes, made before anything is timed."""

    media_type: str
    body: bytes

    @classmethod
    def of(cls, brand: str, model: str, photos: Mapping[str, bytes]) -> Form:
        """``photos``: JPEG files by the name of their view."""
        boundary = secrets.token_hex(16)
        fields = {"brand": brand, "model": model}
        parts = [_part(boundary, f'name="{name}"', "text/plain", value.encode()) for name, value in fields.items()]
        parts += [_part(boundary, f'name="{v}"; filename="{v}.jpg"', "image/jpeg", photos[v]) for v in photos]
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return cls(f"multipart/form-data; boundary={boundary}", body)


def _part(boundary: str, disposition: str, media_type: str, content: bytes) -> bytes:
    head = f"--{boundary}\r\ncontent-disposition: form-data; {disposition}\r\ncontent-type: {media_type}\r\n\r\n"
    return head.encode() + content + b"\r\n"


def _events(answer: HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Names and documents of server-sent events, until the stream ends."""
    name = ""
    for line in answer:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def _expected(answer: HTTPResponse, content: bytes, status: int) -> bytes:
    if answer.status == status:
        return content
    raise RuntimeError(f"answered {answer.status}: {content[:500].decode(errors='replace')}; expected {status}")
