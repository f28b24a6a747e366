"""Pages from templates."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse

from assay.cases import CaseState, Scope
from assay.templates import environment_of
from assay.web.assets import asset
from assay.web.call import Call
from assay.web.problems import Problem

NAVIGATION = (
    ("Cases", "/cases", frozenset({Scope.SUBMIT, Scope.REVIEW})),
    ("Review", "/review", frozenset({Scope.REVIEW})),
    ("Settings", "/settings", frozenset({Scope.ADMIN})),
)
STATES = {
    CaseState.DRAFT.value: "Draft",
    CaseState.QUEUED.value: "Under examination",
    CaseState.REPORTED.value: "Reported",
    CaseState.FAILED.value: "Not finished",
    CaseState.ERASED.value: "Erased",
}
_NOT_PAGES = ("/v1/", "/.well-known/", "/static/", "/openapi.json", "/metrics", "/healthz", "/readyz")


@cache
def _environment() -> Environment:
    environment = environment_of("assay.web")
    environment.filters["moment"] = _moment
    shared: dict[str, Any] = {"asset": asset, "navigation": NAVIGATION, "states": STATES}
    environment.globals |= shared
    return environment


def _moment(at: datetime) -> str:
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y, %H:%M} UTC"


def page(call: Call, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A page for whoever asks."""
    current, notice = call.request.url.path, call.services.settings.notice
    return _rendered(template, status, {"caller": call.who, "current": current, "notice": notice, **context})


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks, and not for the API."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(_NOT_PAGES)


def error_page(problem: Problem) -> HTMLResponse:
    response = _rendered(
        "error.html", problem.status, {"caller": None, "current": "", "notice": "", "problem": problem}
    )
    response.headers.update(problem.headers)
    return response


def _rendered(template: str, status: int, context: dict[str, Any]) -> HTMLResponse:
    text = _environment().get_template(template).render(context)
    return HTMLResponse(text, status, {"cache-control": "no-store"})
