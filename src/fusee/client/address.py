"""Where a server is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fusee.base.errors import RequestError


@dataclass(frozen=True)
class Address:
    """Host and port of an HTTP door."""

    host: str
    port: int

    @staticmethod
    def of(url: str) -> Address:
        """From ``http://host:port`` or ``host:port``. Raises RequestError."""
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError as err:
            raise RequestError(f"server {url!r}: {err}; expected http://host:port") from err
        if parts.scheme != "http" or not host or parts.path not in ("", "/") or parts.query:
            raise RequestError(f"server {url!r}: expected http://host:port")
        return Address(host, port or 8000)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"
