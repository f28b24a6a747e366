"""What the core answers with, and the map from what went wrong to HTTP's statuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import NamedTuple

import orjson

from fusee.server.errors import Reason, ServingError
from fusee.server.types import Json
from fusee.server.wire import Buffer

Headers = tuple[tuple[bytes, bytes], ...]
JSON_TYPE: Headers = ((b"content-type", b"application/json"),)
CLIENT_CLOSED_REQUEST = 499

STATUSES: Mapping[Reason, int] = {
    Reason.INVALID: 400,
    Reason.NOT_FOUND: 404,
    Reason.ALREADY_EXISTS: 400,
    Reason.UNSUPPORTED: 501,
    Reason.UNAVAILABLE: 503,
    Reason.OVERLOADED: 503,
    Reason.EXPIRED: 503,
    Reason.DEADLINE: 503,
    Reason.CANCELLED: CLIENT_CLOSED_REQUEST,
    Reason.TOO_LARGE: 413,
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.INTERNAL: 500,
}
PHRASES = {s.value: s.phrase.encode() for s in HTTPStatus} | {CLIENT_CLOSED_REQUEST: b"Client Closed Request"}


class Response(NamedTuple):
    """An answer: its content in pieces, so that large tensors are sent from where they lie.

    ``headers`` have lower-case names and leave out content-length and what belongs to the connection.
    """

    status: int
    headers: Headers = ()
    content: Sequence[Buffer] = ()


Respond = Callable[[Response], None]


class Refusal(Exception):
    """A request that HTTP alone can refuse, with the answer to it."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def refusal(status: int, message: str, headers: Headers = ()) -> Refusal:
    return Refusal(_error(status, message, headers))


def json_response(document: Json, status: int = 200, headers: Headers = ()) -> Response:
    return Response(status, JSON_TYPE + headers, (orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY),))


def error_response(error: ServingError) -> Response:
    """The answer to a request that was refused or failed."""
    headers: Headers = ()
    if error.reason is Reason.UNAUTHENTICATED:
        headers = ((b"www-authenticate", b'Bearer, Basic realm="fusee"'),)
    elif error.retry_after_s is not None:
        headers = ((b"retry-after", b"%d" % max(1, ceil(error.retry_after_s))),)
    return _error(STATUSES[error.reason], error.message, headers)


def _error(status: int, message: str, headers: Headers) -> Response:
    # a name that came in may hold what UTF-8 has no bytes for
    return json_response({"error": message.encode(errors="replace").decode()}, status, headers)
