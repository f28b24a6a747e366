"""Assay's API as a customer calls it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

ENDINGS = ("html", "pdf", "json")
POLL_S = 0.02


@dataclass(frozen=True)
class Reported:
    """A case that has its report."""

    case_id: str
    report_id: str
    verdict: str
    stages_ms: Mapping[str, float]
    total_ms: float  # from sending the photographs until the report was seen


class Client:
    """Submits cases with one key."""

    def __init__(self, address: str, key: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port
        self._key = key

    def report_on(self, brand: str, model: str, photos: Mapping[str, bytes], reference: str = "") -> Reported:
        """Six photographs in one request, then look until the report is there."""
        start = time.perf_counter()
        fields = {"brand": brand, "model": model, "customer_reference": reference}
        case_id = self._submit(fields, photos)["id"]
        while (case := json.loads(self._ask("GET", f"/v1/cases/{case_id}")))["state"] == "queued":
            time.sleep(POLL_S)
        total_ms = (time.perf_counter() - start) * 1000
        if case["state"] != "reported":
            raise RuntimeError(f"case {case_id} is {case['state']}: {case}")
        report = json.loads(self._ask("GET", f"/v1/cases/{case_id}/report.json"))
        stages = {stage["name"]: stage["ms"] for stage in report["stages"]}
        return Reported(case_id, report["id"], report["result"]["verdict"], stages, total_ms)

    def files(self, case_id: str) -> dict[str, bytes]:
        """The report in each form, by file ending."""
        return {ending: self._ask("GET", f"/v1/cases/{case_id}/report.{ending}") for ending in ENDINGS}

    def _submit(self, fields: Mapping[str, str], photos: Mapping[str, bytes]) -> Any:
        boundary = secrets.token_hex(16)
        parts = [_part(boundary, f'name="{name}"', "text/plain", value.encode()) for name, value in fields.items()]
        parts += [
            _part(boundary, f'name="{view}"; filename="{view}.jpg"', "image/jpeg", content)
            for view, content in photos.items()
        ]
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        return json.loads(self._ask("POST", "/v1/cases", body, headers))

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        connection = HTTPConnection(self._host, self._port, timeout=60)
        connection.request(method, path, body, {"authorization": f"Bearer {self._key}", **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status}: {content.decode(errors='replace')[:500]}")
        return content


def _part(boundary: str, disposition: str, media_type: str, content: bytes) -> bytes:
    head = f"--{boundary}\r\ncontent-disposition: form-data; {disposition}\r\ncontent-type: {media_type}\r\n\r\n"
    return head.encode() + content + b"\r\n"
