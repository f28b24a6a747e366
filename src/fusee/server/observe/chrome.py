"""Traces as a file that chrome://tracing and https://ui.perfetto.dev open.

Format: "Trace Event Format", JSON array. A file whose end is missing is valid, so that it can be read while it grows.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from fusee.base.errors import RequestError
from fusee.server.observe.spans import Span
from fusee.server.types import Json

BEGIN = "[\n"
MOST_FILE_BYTES = 64 << 20
MOST_BYTES = 1 << 30  # of all files; the oldest are removed
_log = logging.getLogger(__name__)


class ChromeFile:
    """Writes spans as they come: to ``path``, then to ``path.1``, ``path.2`` and so on, a new one after
    ``traces_per_file`` traces or ``most_file_bytes``. What is the oldest by then is removed past ``most_bytes``."""

    def __init__(self, path: Path, most_file_bytes: int = MOST_FILE_BYTES, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_file_bytes = most_file_bytes
        self._most_bytes = most_bytes
        self._size_bytes = 0  # of the file that is being written
        self._written: deque[tuple[Path, int]] = deque()  # those before it, with their sizes
        self._has_removed = False
        self._index = 0
        self._traces = 0
        self._rows: dict[str, int] = {}
        self._before = BEGIN
        self._file: TextIO | None = None
        try:
            self._open(path)
        except OSError as err:
            raise RequestError(f"trace file {path}: cannot be written: {err.strerror}") from err

    def write(self, spans: Sequence[Span], traces_per_file: int = 0) -> None:
        """Append spans. Raises OSError."""
        for span in spans:
            if span.is_request:
                self._traces += 1
                if 0 < traces_per_file < self._traces or self._size_bytes >= self._most_file_bytes:
                    self._next()
            assert self._file is not None
            self._size_bytes += self._file.write(self._before + json.dumps(self._event(span)))  # ASCII
            self._before = ",\n"
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """End the file. Raises OSError."""
        if self._file is None:
            return
        self._file.write("\n]\n" if self._before != BEGIN else "[]\n")
        self._file.close()
        self._file = None

    def _open(self, path: Path) -> None:
        self._file = path.open("w")
        self._before = BEGIN
        self._size_bytes = 0

    def _next(self) -> None:
        self.close()
        self._written.append((self._named(self._index), self._size_bytes))
        self._remove_oldest()
        self._index += 1
        self._traces = 1
        self._rows.clear()
        self._open(self._named(self._index))

    def _named(self, index: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{index}") if index else self._path

    def _remove_oldest(self) -> None:
        while sum(size_bytes for _, size_bytes in self._written) > self._most_bytes - self._most_file_bytes:
            oldest, _ = self._written.popleft()
            oldest.unlink(missing_ok=True)
            if not self._has_removed:
                self._has_removed = True
                _log.warning(
                    "traces take more than %d bytes: the oldest are removed, %s first", self._most_bytes, oldest
                )

    def _event(self, span: Span) -> Json:
        """A complete event. Requests and batches have a row each, and what happens inside them lies below."""
        row = self._rows.setdefault(span.context.trace_id, len(self._rows) + 1)
        arguments = {**span.attributes, "trace_id": span.context.trace_id, "span_id": span.context.span_id}
        if span.parent is not None:
            arguments["parent_id"] = span.parent.span_id
        if span.error:
            arguments["error"] = span.error
        if span.links:
            arguments["links"] = " ".join(f"{link.trace_id}/{link.span_id}" for link in span.links)
        microseconds = {"ts": span.start_ns / 1000, "dur": (span.end_ns - span.start_ns) / 1000}
        return {"name": span.name, "cat": "fusee", "ph": "X", **microseconds, "pid": 1, "tid": row, "args": arguments}
