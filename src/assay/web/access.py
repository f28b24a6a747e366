"""Who asks, and whether they may: keys, sessions, where a browser's request came from."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.requests import Request

from assay.cases import Caller, Scope
from assay.errors import Reason, Refusal
from assay.web.call import Door
from assay.web.sessions import COOKIE

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_KEY_MOST = 200


async def admitted(request: Request, door: Door, scopes: tuple[Scope, ...]) -> Caller | None:
    """The caller, whose key has one of the scopes. Raises Refusal UNAUTHENTICATED, FORBIDDEN or OVERLOADED."""
    if not scopes:
        return await known(request, door)
    caller = await known(request, door)
    if caller is None:
        door.rates.take(f"address {address_of(request)}")
        raise Refusal(Reason.UNAUTHENTICATED, "no valid key came along; send `Authorization: Bearer <key>` or sign in")
    door.rates.take(caller.key_id)
    if not caller.scopes.intersection(scopes):
        wanted, held = (" or ".join(sorted(s.value for s in group)) for group in (scopes, caller.scopes))
        raise Refusal(Reason.FORBIDDEN, f"this needs a key with scope {wanted}; yours has {held or 'none'}")
    return caller


async def known(request: Request, door: Door) -> Caller | None:
    """Whose key or session came along, if any. A key in the header goes before a session."""
    header = request.headers.get("authorization", "")
    if header:
        kind, _, key = header.partition(" ")
        return await caller_of(door, key.strip()) if kind.lower() == "bearer" else None
    key = door.sessions.key(request.cookies.get(COOKIE, ""))
    if key is None:
        return None
    refuse_foreign(request, door)
    return await caller_of(door, key)


async def caller_of(door: Door, key: str) -> Caller | None:
    if not key or len(key) > _KEY_MOST or not key.isascii():
        return None
    return await asyncio.to_thread(door.services.store.tenants.caller, key)


def refuse_foreign(request: Request, door: Door) -> None:
    """A browser sends cookies with what other sites make it send: changes are taken from our own pages alone.

    Raises Refusal FORBIDDEN.
    """
    if request.method in _SAFE_METHODS:
        return
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    public = urlsplit(door.services.settings.public_url)
    ours = {f"http://{host}", f"https://{host}", f"{public.scheme}://{public.netloc}"} - {"http://", "https://", "://"}
    if origin not in ours:
        raise Refusal(Reason.FORBIDDEN, f"the request came from {origin or 'no known page'!r}; expected our own page")


def address_of(request: Request) -> str:
    """Where a request comes from, for limits on what nobody is known to ask."""
    return request.client.host if request.client else ""
