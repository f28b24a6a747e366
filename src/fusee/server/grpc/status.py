"""How a call ends: the codes of gRPC, and the header blocks that carry them."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final
from urllib.parse import quote

from fusee.server.errors import Reason, ServingError
from fusee.server.grpc.compression import ACCEPTED, Coding
from fusee.server.grpc.headers import Fields, encode_block

CODES: Mapping[Reason, int] = {
    Reason.CANCELLED: 1,
    Reason.INVALID: 3,
    Reason.DEADLINE: 4,
    Reason.NOT_FOUND: 5,
    Reason.ALREADY_EXISTS: 6,
    Reason.FORBIDDEN: 7,
    Reason.OVERLOADED: 8,
    Reason.TOO_LARGE: 8,
    Reason.UNSUPPORTED: 12,
    Reason.INTERNAL: 13,
    Reason.UNAVAILABLE: 14,
    Reason.EXPIRED: 14,  # as Triton answers
    Reason.UNAUTHENTICATED: 16,
}

_MESSAGE_CHARACTERS = 2048
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_HEADERS: Fields = [(":status", "200"), ("content-type", "application/grpc")]

ANSWER: Final[Mapping[Coding, bytes]] = {
    coding: encode_block([*_HEADERS, ("grpc-encoding", coding.value), ("grpc-accept-encoding", ACCEPTED)])
    for coding in Coding
} | {Coding.IDENTITY: encode_block([*_HEADERS, ("grpc-accept-encoding", ACCEPTED)])}
"""The header section that opens an answer, by the coding of its messages."""
OK: Final = encode_block([("grpc-status", "0")])
"""The trailers of a call that went well."""
NOT_POST: Final = encode_block([(":status", "405")])
NOT_GRPC: Final = encode_block([(":status", "415")])


def trailers(error: ServingError) -> bytes:
    """The trailers of a call that failed after its answer was opened."""
    return encode_block(_ending(error))


def refusal(error: ServingError) -> bytes:
    """The one header section that answers a call that failed before."""
    return encode_block([*_HEADERS, *_ending(error), ("grpc-accept-encoding", ACCEPTED)])


def _ending(error: ServingError) -> Fields:
    message = quote(error.message[:_MESSAGE_CHARACTERS], safe=_PRINTABLE)
    fields = [("grpc-status", str(CODES[error.reason])), ("grpc-message", message)]
    if error.reason is Reason.OVERLOADED:
        after_s = 1.0 if error.retry_after_s is None else error.retry_after_s
        fields.append(("retry-after", str(ceil(after_s))))
        fields.append(("grpc-retry-pushback-ms", str(ceil(after_s * 1000))))
    return fields
