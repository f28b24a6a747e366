"""gzip and deflate bodies. What comes in is bounded before it is believed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.wire import Buffer

_WINDOWS: Mapping[str, int] = {"gzip": 31, "deflate": 15}  # zlib's wbits: gzip's frame, zlib's own
WORTH_BYTES = 1024
"""Answers below this are sent as they are: compressing them saves no packet."""
_LEVEL = 1  # tensors compress little, at any level


def decompressed(content: Buffer, encoding: str, limit_bytes: int) -> Buffer:
    """A body by its Content-Encoding. Raises ServingError: unknown or broken encoding, or more than the limit."""
    if encoding == "identity":
        return content
    window = _WINDOWS.get(encoding)
    if window is None:
        raise ServingError(
            Reason.UNSUPPORTED, f"content-encoding {encoding!r} is not offered; use {' or '.join(_WINDOWS)}, or none"
        )
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(content, limit_bytes + 1)
    except zlib.error as err:
        raise invalid(f"the body is no {encoding}: {err}") from err
    if len(plain) > limit_bytes:
        raise ServingError(Reason.TOO_LARGE, f"the body is more than {limit_bytes} bytes once decompressed")
    if not stream.eof or stream.unused_data:
        raise invalid(f"the body is no {encoding}: it {'has bytes after its end' if stream.eof else 'is cut short'}")
    return plain


def accepted_encoding(accept: str) -> str:
    """What to compress an answer with by its request's Accept-Encoding: "gzip", "deflate" or ""."""
    for item in accept.split(","):
        name, _, weight = item.partition(";")
        if name.strip().lower() in _WINDOWS and not _is_zero(weight):
            return name.strip().lower()
    return ""


def compressed(content: Sequence[Buffer], encoding: str) -> bytes:
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[encoding])
    return b"".join([*(stream.compress(piece) for piece in content), stream.flush()])


def _is_zero(weight: str) -> bool:
    """Whether "q=0" in one of its spellings."""
    name, _, value = weight.partition("=")
    return name.strip().lower() == "q" and value.strip().rstrip("0") in ("", ".", "0.")
