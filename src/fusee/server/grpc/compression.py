"""The codings of messages, with a bound on what a message may become."""

from __future__ import annotations

import zlib
from enum import Enum

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.grpc.stream import Buffer


class Coding(Enum):
    """Under the names of grpc-encoding."""

    IDENTITY = "identity"
    DEFLATE = "deflate"  # the zlib format
    GZIP = "gzip"


ACCEPTED = ",".join(c.value for c in Coding)
_WINDOW_BITS = {Coding.DEFLATE: zlib.MAX_WBITS, Coding.GZIP: zlib.MAX_WBITS | 16}
_LEVEL = 1  # tensors of floats gain little from more


def decompress(coding: Coding, content: Buffer, limit_bytes: int) -> bytes:
    """Raises ServingError."""
    if coding is Coding.IDENTITY:
        raise ServingError(Reason.INTERNAL, "a message is marked as compressed, but the call has no grpc-encoding")
    inflater = zlib.decompressobj(_WINDOW_BITS[coding])
    try:
        whole = inflater.decompress(content, limit_bytes + 1)
    except zlib.error as err:
        raise invalid(f"a message is no {coding.value}: {err}") from err
    if len(whole) > limit_bytes:
        raise ServingError(Reason.TOO_LARGE, f"a message takes more than {limit_bytes} bytes after decompression")
    if not inflater.eof or inflater.unused_data:
        raise invalid(f"a message is no {coding.value}: it ends early, or something follows its end")
    return whole


def compress(coding: Coding, parts: list[Buffer]) -> bytes:
    """The parts as one compressed message."""
    deflater = zlib.compressobj(_LEVEL, wbits=_WINDOW_BITS[coding])
    return b"".join([*map(deflater.compress, parts), deflater.flush()])
