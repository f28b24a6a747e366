"""Signing in: a key becomes a session of the browser."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from assay.cases import Caller
from assay.web.access import address_of, caller_of, refuse_foreign
from assay.web.call import Call
from assay.web.rendering import NAVIGATION, page
from assay.web.sessions import COOKIE, LIFETIME_S


async def sign_in_page(call: Call) -> Response:
    if call.who is not None:
        return RedirectResponse(_home(call.who), 303)
    return page(call, "sign_in.html", problem="")


async def sign_in(call: Call) -> Response:
    refuse_foreign(call.request, call.door)  # nobody is signed in as someone else by another site
    call.door.rates.take(f"address {address_of(call.request)}")
    async with call.request.form(max_files=0, max_fields=1) as form:
        key = str(form.get("key", "")).strip()
    caller = await caller_of(call.door, key)
    if caller is None:
        return page(call, "sign_in.html", 401, problem="This key opens nothing here. Check it, or ask for a new one.")
    answer = RedirectResponse(_home(caller), 303)
    answer.set_cookie(
        COOKIE,
        call.door.sessions.seal(key),
        max_age=LIFETIME_S,
        secure=call.is_secure,
        httponly=True,
        samesite="strict",
    )
    return answer


async def sign_out(call: Call) -> Response:
    refuse_foreign(call.request, call.door)
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE, secure=call.is_secure, httponly=True, samesite="strict")
    return answer


def _home(caller: Caller) -> str:
    """The first page that the key opens."""
    return next((path for _, path, scopes in NAVIGATION if caller.scopes & scopes), "/verify")
