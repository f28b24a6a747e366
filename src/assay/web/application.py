"""The web put together: routes from the table, checks before every handler, errors in one shape."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from assay.errors import Refusal
from assay.services import Services
from assay.web.access import admitted
from assay.web.assets import ROUTE as ASSET_ROUTE
from assay.web.assets import serve_asset
from assay.web.bodies import limited
from assay.web.call import Call, Door
from assay.web.headers import SECURITY_HEADERS, SecurityHeaders
from assay.web.openapi import openapi_document
from assay.web.operations import JSON_LIMIT_BYTES, Operation
from assay.web.pages import PAGES
from assay.web.problems import TooSlow, problem_of, problem_response
from assay.web.rates import Rates
from assay.web.rendering import error_page, wants_page
from assay.web.sessions import Sessions, session_secret
from assay.web.table import HEALTH, OPERATIONS


def web(services: Services, submitted: Callable[[], None] = lambda: None) -> Starlette:
    """The application. ``submitted`` is called, on the loop's thread, when a case was accepted."""
    door = _door(services, submitted)
    document = openapi_document(OPERATIONS)

    async def serve_document(request: Request) -> Response:
        return JSONResponse(document)

    documents = (Route("/openapi.json", serve_document), Route(ASSET_ROUTE, serve_asset))
    return _application([*(_route(operation, door) for operation in (*OPERATIONS, *PAGES)), *documents])


def health_door(services: Services) -> Starlette:
    """Health and metrics alone, for processes that only work."""
    door = _door(services, lambda: None)
    return _application([_route(operation, door) for operation in HEALTH])


def _door(services: Services, submitted: Callable[[], None]) -> Door:
    sessions = Sessions(session_secret(services.settings.signing_key))
    return Door(services, sessions, Rates(services.settings.requests_per_minute), submitted)


def _application(routes: list[Route]) -> Starlette:
    return Starlette(
        routes=routes,
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={
            **dict.fromkeys((Refusal, TooSlow, HTTPException, Exception), _explain),
            ClientDisconnect: _end,
        },
    )


def _route(operation: Operation, door: Door) -> Route:
    async def serve(request: Request) -> Response:
        who = await admitted(request, door, operation.scopes)
        limit_bytes = operation.body.limit(door.services.settings) if operation.body else JSON_LIMIT_BYTES
        return await operation.handler(Call(limited(request, limit_bytes), door, who))

    return Route(operation.path, serve, methods=[operation.method], name=operation.name)


async def _explain(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status == 401 and wants_page(request):
        return RedirectResponse("/", 303)
    response = error_page(problem) if wants_page(request) else problem_response(problem)
    for name, value in SECURITY_HEADERS.items():  # an unexpected error's answer passes by the middleware
        response.headers.setdefault(name, value)
    return response


async def _end(request: Request, error: Exception) -> Response:
    """The caller left in the middle of its body: nobody reads this."""
    return Response(status_code=400)
