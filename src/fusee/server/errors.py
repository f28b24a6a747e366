"""What can be wrong with a request, in no door's words: HTTP and gRPC each map ``Reason`` themselves."""

from __future__ import annotations

from enum import Enum

from fusee.base.errors import FuseeError

MOST_CHARACTERS = 2000
_LAST_CHARACTERS = 500  # of those, which say what was expected
"""Of a message: it may quote what a caller sent, who is not to have megabytes of it sent back or written to a log."""


class Reason(Enum):
    """Why a request was not answered. The value is what metrics and logs say."""

    INVALID = "invalid"  # the request is wrong: its author can act
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    UNSUPPORTED = "unsupported"  # well-formed, but not offered here
    UNAVAILABLE = "unavailable"  # not now: loading, stopping, or the engine process died
    OVERLOADED = "overloaded"  # a queue or a limit is full; try again after ``retry_after_s``
    EXPIRED = "expired"  # waited longer in the queue than its policy allows
    DEADLINE = "deadline"  # the caller's own deadline passed
    CANCELLED = "cancelled"
    TOO_LARGE = "too_large"
    UNAUTHENTICATED = "unauthenticated"  # no key, or a wrong one
    FORBIDDEN = "forbidden"  # the key does not allow this
    INTERNAL = "internal"  # our bug, or the model's


class ServingError(FuseeError):
    """A request was refused or failed. The message is cut to MOST_CHARACTERS, and is text to show."""

    def __init__(self, reason: Reason, message: str, retry_after_s: float | None = None) -> None:
        if len(message) > MOST_CHARACTERS:
            message = f"{message[: MOST_CHARACTERS - _LAST_CHARACTERS]} ... {message[-_LAST_CHARACTERS:]}"
        if not message.isprintable():
            message = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in message)
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s


def invalid(message: str) -> ServingError:
    return ServingError(Reason.INVALID, message)


def not_found(message: str) -> ServingError:
    return ServingError(Reason.NOT_FOUND, message)
