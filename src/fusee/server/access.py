"""Who may ask for what: keys with scopes, a rate and a number of requests at a time.

A keys file is JSON, and holds no key, only digests::

    {"keys": [{"name": "camera-7", "sha256": "<hex of the key's SHA-256>", "scopes": ["infer"],
               "requests_per_s": 50, "concurrent_requests": 8}]}

``fusee serve --new-key NAME`` prints a key and its entry. Without a keys file every caller may do everything, which is
why the server then listens on loopback only, unless told otherwise in so many words.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from fusee.base.errors import RequestError
from fusee.server.errors import Reason, ServingError
from fusee.server.operations import Scope
from fusee.server.types import Json

Header = Callable[[str], str | None]
"""A request's header (gRPC metadata) by lower-case name."""


@dataclass(frozen=True)
class Key:
    """An entry of the keys file. None is without limit."""

    name: str
    sha256: bytes
    scopes: frozenset[Scope]
    requests_per_s: float | None = None
    concurrent_requests: int | None = None


@dataclass
class Caller:
    """Who is asking, and how much of what the key allows is in use."""

    key: Key | None
    tokens: float = 0.0
    filled_s: float = field(default_factory=monotonic)
    under_way: int = 0

    @property
    def name(self) -> str:
        return self.key.name if self.key else "anyone"


class Access:
    """Checks callers. With no keys, everybody may do everything."""

    def __init__(self, keys: tuple[Key, ...] = (), clock: Callable[[], float] = monotonic) -> None:
        self._callers = [Caller(k, tokens=max(k.requests_per_s or 0.0, 1.0), filled_s=clock()) for k in keys]
        self._anyone = Caller(None)
        self._clock = clock

    @property
    def is_open(self) -> bool:
        """Whether no key is needed."""
        return not self._callers

    def check(self, scope: Scope, header: Header) -> Caller:
        """The caller, if the key that the request carries allows that scope. Raises ServingError."""
        if self.is_open or scope is Scope.OPEN:
            return self._anyone
        caller = self._caller(_credential(header))
        assert caller.key is not None
        if scope not in caller.key.scopes:
            raise ServingError(
                Reason.FORBIDDEN, f"key {caller.name!r} has not the scope {scope.value!r} that this needs"
            )
        return caller

    def name_of(self, scope: Scope, header: Header) -> str:
        """What a log calls the caller: the key's name, never the key; '' when it may not ask this."""
        try:
            return self.check(scope, header).name
        except ServingError:
            return ""

    def begin(self, caller: Caller) -> None:
        """Count a request of that caller in. Raises ServingError OVERLOADED; ``end`` is owed when it does not."""
        key = caller.key
        if key is None:
            return
        if key.concurrent_requests is not None and caller.under_way >= key.concurrent_requests:
            raise ServingError(
                Reason.OVERLOADED, f"key {key.name!r} has {caller.under_way} requests under way, as many as it may", 1.0
            )
        if key.requests_per_s is not None:
            self._take_token(caller, key.requests_per_s)
        caller.under_way += 1

    def end(self, caller: Caller) -> None:
        if caller.key is not None:
            caller.under_way -= 1

    def _caller(self, credential: str | None) -> Caller:
        if credential is None:
            raise ServingError(
                Reason.UNAUTHENTICATED, "a key is needed: send 'authorization: Bearer KEY' or 'x-api-key: KEY'"
            )
        digest = hashlib.sha256(credential.encode()).digest()
        found = None
        for caller in self._callers:  # all of them, so that the time taken tells nothing
            if caller.key and hmac.compare_digest(caller.key.sha256, digest):
                found = caller
        if found is None:
            raise ServingError(Reason.UNAUTHENTICATED, "the key is not known")
        return found

    def _take_token(self, caller: Caller, per_s: float) -> None:
        now_s = self._clock()
        caller.tokens = min(max(per_s, 1.0), caller.tokens + (now_s - caller.filled_s) * per_s)
        caller.filled_s = now_s
        if caller.tokens < 1.0:
            wait_s = (1.0 - caller.tokens) / per_s
            raise ServingError(Reason.OVERLOADED, f"key {caller.name!r} may send {per_s:g} requests a second", wait_s)
        caller.tokens -= 1.0


def _credential(header: Header) -> str | None:
    """The key a request carries: x-api-key, a bearer token, or the password of basic authorization."""
    if key := header("x-api-key"):
        return key
    kind, _, rest = (header("authorization") or "").partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def read_keys(path: Path) -> tuple[Key, ...]:
    """The entries of a keys file. Raises RequestError."""
    try:
        document = json.loads(path.read_text())
    except OSError as err:
        raise RequestError(f"{path}: cannot be read: {err.strerror}") from err
    except ValueError as err:
        raise RequestError(f"{path}: is not JSON: {err}") from err
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise RequestError(f'{path}: expected {{"keys": [...]}} with at least one key')
    keys = tuple(_key(path, i, entry) for i, entry in enumerate(entries))
    if len({k.name for k in keys}) < len(keys):
        raise RequestError(f"{path}: two keys have the same name")
    return keys


def _key(path: Path, index: int, entry: Json) -> Key:
    where = f"{path}: key {index}"
    if not isinstance(entry, dict):
        raise RequestError(f"{where}: expected an object, found {entry!r}")
    known = {"name", "sha256", "scopes", "requests_per_s", "concurrent_requests"}
    if unknown := sorted(set(entry) - known):
        raise RequestError(f"{where}: {unknown[0]!r} is unknown; it takes {', '.join(sorted(known))}")
    name, digest, scopes = entry.get("name"), entry.get("sha256"), entry.get("scopes")
    if not isinstance(name, str) or not name:
        raise RequestError(f"{where}: 'name' is missing")
    if not isinstance(digest, str) or len(digest) != 64 or not all(c in "0123456789abcdef" for c in digest):
        raise RequestError(f"{where} ({name}): 'sha256' is to be 64 hex digits, in lower case")
    grantable = {s.value: s for s in Scope if s is not Scope.OPEN}
    if not isinstance(scopes, list) or not scopes or not all(isinstance(s, str) and s in grantable for s in scopes):
        raise RequestError(f"{where} ({name}): 'scopes' is to be a list of {', '.join(grantable)}, found {scopes!r}")
    rate, concurrent = entry.get("requests_per_s"), entry.get("concurrent_requests")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, (int, float)) or not rate > 0):
        raise RequestError(f"{where} ({name}): 'requests_per_s' is to be a number above 0, found {rate!r}")
    if concurrent is not None and (isinstance(concurrent, bool) or not isinstance(concurrent, int) or concurrent < 1):
        raise RequestError(
            f"{where} ({name}): 'concurrent_requests' is to be a whole number above 0, found {concurrent!r}"
        )
    return Key(name, bytes.fromhex(digest), frozenset(grantable[s] for s in scopes), rate, concurrent)
