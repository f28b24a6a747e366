"""The server's log: lines for people or JSON for machines, and the settings by which callers change it.

Loggers are named after their modules, below ``fusee.server``; fields go along as ``extra=said(model="digits")``. A
field whose name tells of a secret is never written.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.types import Json

ROOT = logging.getLogger("fusee.server")
ACCESS = logging.getLogger("fusee.server.access")
FORMATS = ("default", "ISO8601", "json")
SECRETS = frozenset(("authorization", "proxy-authorization", "x-api-key", "cookie", "key", "password", "token"))
_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)


def said(**fields: Json) -> dict[str, Json]:
    """``extra`` of a logging call: fields that stand beside the message."""
    return {"fields": fields}


def log_access(door: str, operation: str, code: int | str, duration_us: int, caller: str, request_id: str = "") -> None:
    """One line for a request that a door has answered. ``caller`` is the name of the key, never the key."""
    if ACCESS.isEnabledFor(logging.INFO):
        fields = {"door": door, "operation": operation, "code": code, "duration_us": duration_us, "caller": caller}
        ACCESS.info("answered", extra=said(**fields, **({"request_id": request_id} if request_id else {})))


class LogSettings:
    """The log extension's state, and the handler that it governs.

    Triton's kinds are switched one by one: ``log_info``, ``log_warning`` and ``log_error``; ``log_verbose_level`` above
    0 adds debugging. ``has_access`` writes a line for every request.
    """

    def __init__(self, log_json: bool = False, stream: TextIO | None = None, has_access: bool = False) -> None:
        self._kinds = {"log_info": True, "log_warning": True, "log_error": True}
        self._verbose = 0
        self._format = "json" if log_json else "default"
        self._has_access = has_access
        self._handler = logging.StreamHandler(stream or sys.stderr)
        self._handler.addFilter(self._passes)
        self._handler.setFormatter(_FORMATTERS[self._format])

    def open(self) -> None:
        """Log from now on, instead of what the process logs otherwise."""
        ROOT.addHandler(self._handler)
        ROOT.propagate = False
        self._apply()

    def close(self) -> None:
        """Log no more. Again is harmless."""
        ROOT.removeHandler(self._handler)
        ROOT.propagate = not ROOT.handlers

    def document(self) -> Json:
        """The settings as the extension spells them."""
        return {
            "log_file": "",
            **self._kinds,
            "log_verbose_level": self._verbose,
            "log_format": self._format,
        }

    def update(self, settings: Mapping[str, Json]) -> None:
        """Change some. Raises ServingError, and changes nothing then."""
        for name, value in settings.items():
            _check(name, value)
        self._kinds |= {name: value for name, value in settings.items() if name in self._kinds}
        self._verbose = settings.get("log_verbose_level", self._verbose)
        self._format = settings.get("log_format", self._format)
        self._apply()

    def _apply(self) -> None:
        ROOT.setLevel(logging.DEBUG if self._verbose else logging.INFO)
        ACCESS.setLevel(logging.INFO if self._has_access else logging.WARNING)
        self._handler.setFormatter(_FORMATTERS[self._format])

    def _passes(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.INFO:
            return self._verbose > 0
        if record.levelno < logging.WARNING:
            return self._kinds["log_info"]
        return self._kinds["log_warning" if record.levelno < logging.ERROR else "log_error"]


def _check(name: str, value: Json) -> None:
    if name == "log_file":
        raise ServingError(Reason.UNSUPPORTED, "log_file cannot be set by a call: the log goes to standard error")
    if name in ("log_info", "log_warning", "log_error"):
        if not isinstance(value, bool):
            raise invalid(f"log setting {name!r} is {value!r}, expected true or false")
    elif name == "log_verbose_level":
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise invalid(f"log setting {name!r} is {value!r}, expected a whole number, 0 or above")
    elif name == "log_format":
        if value not in FORMATS:
            raise invalid(f"log setting {name!r} is {value!r}, expected one of {', '.join(FORMATS)}")
    else:
        raise invalid(f"log setting {name!r} is unknown")


class _Lines(logging.Formatter):
    """``I1121 13:41:10.472529 model ready model=digits version=3``, as glog has it, or with an ISO 8601 time."""

    def __init__(self, is_iso: bool) -> None:
        super().__init__()
        self._is_iso = is_iso

    def format(self, record: logging.LogRecord) -> str:
        when = _when(record)
        kind = record.levelname[0]
        head = f"{when:%Y-%m-%dT%H:%M:%SZ} {kind}" if self._is_iso else f"{kind}{when:%m%d %H:%M:%S.%f}"
        fields = [f"{name}={_written(value)}" for name, value in _fields(record).items()]
        return " ".join([head, _one_line(record.getMessage()), *fields]) + _trace(self, record)


class _JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, then the fields, then an exception."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": _when(record).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {name: value for name, value in _fields(record).items() if name not in said}
        trace = _trace(self, record).strip()
        return json.dumps({**said, **fields, **({"exception": trace} if trace else {})}, default=str)


_FORMATTERS: dict[str, logging.Formatter] = {
    "default": _Lines(is_iso=False),
    "ISO8601": _Lines(is_iso=True),
    "json": _JsonLines(),
}


def _when(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> Mapping[str, Json]:
    fields: Mapping[str, Json] = getattr(record, "fields", {})
    return {name: value for name, value in fields.items() if name.lower() not in SECRETS}


def _written(value: Json) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _one_line(text: str) -> str:
    """A message may quote what a caller sent: it gets no line of its own and no terminal codes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info is None:
        return ""
    lines = formatter.formatException(record.exc_info).split("\n")
    return "".join(f"\n{_one_line(line)}" for line in lines)
