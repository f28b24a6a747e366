"""What can be refused, in no door's words: the web maps ``Reason`` to statuses, the command line to exit codes."""

from __future__ import annotations

from enum import Enum

from fusee.base.errors import FuseeError


class Reason(Enum):
    """Why a caller was refused. The value is what metrics, logs and answers say."""

    INVALID = "invalid"  # the request is wrong: its author can act
    NOT_FOUND = "not_found"  # or another tenant's
    CONFLICT = "conflict"  # the case is not in a state that allows this
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"  # not a JPEG, PNG or WebP photograph
    UNREADABLE = "unreadable"  # a photograph of a known kind that cannot be decoded
    UNAUTHENTICATED = "unauthenticated"  # no key, or a wrong one
    FORBIDDEN = "forbidden"  # the key does not allow this
    OVERLOADED = "overloaded"  # the queue is full; try again after ``retry_after_s``
    UNAVAILABLE = "unavailable"  # the database, the queue or the models do not answer now


class Refusal(FuseeError):
    """A request was refused. The message says where, what was found, what was expected and what to do."""

    def __init__(self, reason: Reason, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s


def invalid(message: str) -> Refusal:
    return Refusal(Reason.INVALID, message)


def not_found(message: str) -> Refusal:
    return Refusal(Reason.NOT_FOUND, message)


def unavailable(message: str, retry_after_s: float = 1.0) -> Refusal:
    return Refusal(Reason.UNAVAILABLE, message, retry_after_s)
