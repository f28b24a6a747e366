"""One request on its way through a handler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from assay.cases import Caller, Scope
from assay.errors import Reason, Refusal, invalid
from assay.services import Services
from assay.views import View
from assay.web.fields import Fields, json_fields
from assay.web.rates import Rates
from assay.web.sessions import Sessions

P = ParamSpec("P")
T = TypeVar("T")
Json = Any


@dataclass(frozen=True)
class Door:
    """What all requests share."""

    services: Services
    sessions: Sessions
    rates: Rates
    submitted: Callable[[], None]  # told, on the loop's thread, that a case was accepted


@dataclass(frozen=True)
class Call:
    """One request: who asks, and for what. ``who`` is None where anyone may ask."""

    request: Request
    door: Door
    who: Caller | None

    @property
    def services(self) -> Services:
        return self.door.services

    @property
    def caller(self) -> Caller:
        assert self.who is not None, "the operation has no scope, so that nobody is known"
        return self.who

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    def allows(self, scope: Scope) -> bool:
        return self.who is not None and scope in self.who.scopes

    def path(self, name: str) -> str:
        return self.request.path_params[name]

    @property
    def view(self) -> View:
        """The view in the path. Raises Refusal NOT_FOUND."""
        try:
            return View(self.path("view"))
        except ValueError as err:
            expected = ", ".join(view.value for view in View)
            raise Refusal(
                Reason.NOT_FOUND, f"there is no view {self.path('view')[:40]!r}; there are {expected}"
            ) from err

    @property
    def query(self) -> Fields:
        """Of the query string. An empty value is none: forms send all their fields."""
        return Fields({name: value for name, value in self.request.query_params.items() if value}, "query")

    @property
    def media_type(self) -> str:
        return self.request.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def fields(self, *names: str) -> Fields:
        """The JSON body, with no other fields than these."""
        if self.media_type != "application/json":
            raise invalid(f"the body is {self.media_type or 'of no type'}; expected application/json")
        return json_fields(await self.request.body()).only(*names)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Synchronous work, in a thread."""
        return await asyncio.to_thread(work, *args, **kwargs)

    @property
    def public_url(self) -> str:
        """What links to us begin with."""
        return self.services.settings.public_url.rstrip("/") or str(self.request.base_url).rstrip("/")

    @property
    def is_secure(self) -> bool:
        return urlsplit(self.public_url).scheme == "https"


Handler = Callable[[Call], Awaitable[Response]]


def answer(document: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(document, status, {"cache-control": "no-store", **(headers or {})})


def nothing() -> Response:
    return Response(status_code=204, headers={"cache-control": "no-store"})
