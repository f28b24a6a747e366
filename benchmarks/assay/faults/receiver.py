"""Where the customers' webhooks arrive."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from assay.web.webhooks import signature


class Receiver:
    """Counts what comes, by delivery and by case; ``secrets`` of the tenants tell what is signed well."""

    def __init__(self) -> None:
        self.deliveries: Counter[str] = Counter()
        self.cases: dict[str, set[str]] = {}  # case -> ids of the deliveries that told of its report
        self.secrets: list[str] = []
        self.unsigned = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/reported"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, headers: dict[str, str], body: bytes) -> None:
        told = json.loads(body)
        signed = [signature(secret, int(headers["assay-timestamp"]), body) for secret in self.secrets]
        with self._lock:
            self.unsigned += headers["assay-signature"] not in signed
            self.deliveries[headers["assay-delivery"]] += 1
            self.cases.setdefault(told["case_id"], set()).add(headers["assay-delivery"])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """It says nothing."""

        return Handler
