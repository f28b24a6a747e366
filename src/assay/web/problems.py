"""Every error as problem details (RFC 9457), or as a page for people."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from assay.errors import Reason, Refusal

PROBLEM = "application/problem+json"
STATUSES = {
    Reason.INVALID: 400,
    Reason.NOT_FOUND: 404,
    Reason.CONFLICT: 409,
    Reason.TOO_LARGE: 413,
    Reason.UNSUPPORTED_MEDIA: 415,
    Reason.UNREADABLE: 422,
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.OVERLOADED: 429,
    Reason.UNAVAILABLE: 503,
}
TITLES = {
    Reason.INVALID: "The request is wrong",
    Reason.NOT_FOUND: "Not found",
    Reason.CONFLICT: "Not in this state",
    Reason.TOO_LARGE: "Too large",
    Reason.UNSUPPORTED_MEDIA: "Not a photograph of a known kind",
    Reason.UNREADABLE: "The photograph cannot be read",
    Reason.UNAUTHENTICATED: "A key is needed",
    Reason.FORBIDDEN: "The key does not allow this",
    Reason.OVERLOADED: "Too much at once",
    Reason.UNAVAILABLE: "Not now",
}


class TooSlow(Exception):
    """A body did not arrive in time."""


class Problem(NamedTuple):
    """One error, in the words of RFC 9457 and ours."""

    status: int
    title: str
    detail: str
    reason: str
    retry_after_s: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"cache-control": "no-store"}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = 'Bearer realm="assay"'
        return headers


def problem_of(error: Exception) -> Problem:
    """What an error is to the caller. An unexpected one tells nothing of its inside."""
    if isinstance(error, Refusal):
        wait = None if error.retry_after_s is None else max(1, ceil(error.retry_after_s))
        title = TITLES[error.reason]
        return Problem(STATUSES[error.reason], title, error.message, error.reason.value, wait)
    if isinstance(error, TooSlow):
        return Problem(408, "Too slow", str(error), "too_slow", 1)
    if isinstance(error, HTTPException):
        reason = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return Problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail), reason)
    return Problem(500, "Our fault", "The server met an error it did not expect; it is in its log.", "internal")


def problem_response(problem: Problem) -> JSONResponse:
    document: dict[str, str | int] = {
        "type": f"urn:assay:problem:{problem.reason}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "reason": problem.reason,
    }
    if problem.retry_after_s is not None:
        document["retry_after"] = problem.retry_after_s
    return JSONResponse(document, problem.status, problem.headers, media_type=PROBLEM)
