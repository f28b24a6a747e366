"""Tenants, and the keys that their people and programs come with.

A key's secret is 256 random bits, so that its SHA-256 can be kept: there is nothing to guess, and no salt or slow
hash would add to that.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from assay.cases import Caller, Scope, Tenant
from assay.errors import invalid, not_found
from assay.store.audit import append, begin_chain
from assay.store.foundation import SYSTEM, Foundation
from assay.store.identifiers import check_text, is_id, new_id
from assay.store.tables import keys, tenants

PREFIX = "assay"  # begins every secret, so that scanners for leaked secrets find it


@dataclass(frozen=True)
class Key:
    """A key as it is listed: its secret is known to its holder alone."""

    id: str
    tenant_id: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None


class Tenants:
    """Customers and their keys."""

    def __init__(self, foundation: Foundation) -> None:
        self._database = foundation.database
        self._clock = foundation.clock

    def create(self, name: str, retention_days: int = 365, webhook_url: str = "", actor: str = SYSTEM) -> Tenant:
        """A new tenant with an audit chain and a webhook secret of its own. Raises Refusal INVALID."""
        _check(name, retention_days, webhook_url)
        tenant = Tenant(new_id("tenant"), name, retention_days, webhook_url, self._clock())
        row = {"id": tenant.id, "name": name, "retention_days": retention_days, "webhook_url": webhook_url}
        row |= {"webhook_secret": secrets.token_urlsafe(32), "created_at": tenant.created_at}
        with self._database.writing() as connection:
            connection.execute(insert(tenants).values(**row))
            begin_chain(connection, tenant.id)
            append(connection, self._clock(), tenant.id, actor, "tenant.created", tenant.id)
        return tenant

    def get(self, tenant_id: str) -> Tenant:
        """Raises Refusal NOT_FOUND."""
        return _tenant(self._row(tenant_id))

    def all(self) -> tuple[Tenant, ...]:
        """Oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(tenants).order_by(tenants.c.created_at, tenants.c.id))
            return tuple(_tenant(row) for row in rows)

    def update(
        self,
        tenant_id: str,
        name: str | None = None,
        retention_days: int | None = None,
        webhook_url: str | None = None,
        actor: str = SYSTEM,
    ) -> Tenant:
        """Change what is not None. Raises Refusal INVALID, NOT_FOUND."""
        given = {"name": name, "retention_days": retention_days, "webhook_url": webhook_url}
        changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
        wanted = replace(self.get(tenant_id), **changes)
        _check(wanted.name, wanted.retention_days, wanted.webhook_url)
        if changes:
            with self._database.writing() as connection:
                connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(**changes))
                names: dict[str, Any] = {"fields": sorted(changes)}
                append(connection, self._clock(), tenant_id, actor, "tenant.changed", tenant_id, names)
        return wanted

    def webhook_secret(self, tenant_id: str) -> str:
        """What the tenant checks its webhooks' HMAC with. Raises Refusal NOT_FOUND."""
        return self._row(tenant_id).webhook_secret

    def renew_webhook_secret(self, tenant_id: str, actor: str = SYSTEM) -> str:
        """A new one; the old one signs nothing any more. Raises Refusal NOT_FOUND."""
        self._row(tenant_id)
        secret = secrets.token_urlsafe(32)
        with self._database.writing() as connection:
            connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(webhook_secret=secret))
            append(connection, self._clock(), tenant_id, actor, "tenant.webhook_secret_renewed", tenant_id)
        return secret

    def create_key(self, tenant_id: str, name: str, scopes: Iterable[Scope], actor: str = SYSTEM) -> tuple[str, str]:
        """The key's id and its secret, which is shown this once. Raises Refusal INVALID, NOT_FOUND."""
        check_text("the key's name", name)
        allowed = sorted(scope.value for scope in set(scopes))
        if not allowed:
            raise invalid(f"key {name!r} has no scope; expected at least one of {', '.join(s.value for s in Scope)}")
        self._row(tenant_id)
        key_id, random = new_id("key"), secrets.token_hex(32)
        row = {"id": key_id, "tenant_id": tenant_id, "name": name, "scopes": allowed, "created_at": self._clock()}
        with self._database.writing() as connection:
            connection.execute(insert(keys).values(**row, secret_sha256=_hash(random)))
            append(connection, self._clock(), tenant_id, actor, "key.created", key_id, {"scopes": [*allowed]})
        return key_id, f"{PREFIX}_{key_id.removeprefix('key_')}_{random}"

    def keys(self, tenant_id: str) -> tuple[Key, ...]:
        """The tenant's keys, revoked ones too, oldest first."""
        query = select(keys).where(keys.c.tenant_id == tenant_id).order_by(keys.c.created_at, keys.c.id)
        with self._database.reading() as connection:
            return tuple(_key(row) for row in connection.execute(query))

    def caller(self, secret: str) -> Caller | None:
        """Who holds this secret; None: nobody, or the key was revoked."""
        prefix, _, rest = secret.partition("_")
        name, _, random = rest.partition("_")
        if prefix != PREFIX or not is_id(name) or not is_id(random):
            return None
        query = select(keys).where(keys.c.id == f"key_{name}", keys.c.revoked_at.is_(None))
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not hmac.compare_digest(row.secret_sha256, _hash(random)):
            return None
        return Caller(row.tenant_id, row.id, row.name, frozenset(Scope(scope) for scope in row.scopes))

    def revoke(self, tenant_id: str, key_id: str, actor: str = SYSTEM) -> None:
        """From now on the key opens nothing. Again: no change. Raises Refusal NOT_FOUND, also for another tenant's."""
        mine = (keys.c.tenant_id == tenant_id) & (keys.c.id == key_id)
        if not is_id(key_id):
            raise not_found(f"there is no key {key_id!r}")
        with self._database.writing() as connection:
            row = connection.execute(select(keys.c.revoked_at).where(mine).with_for_update()).one_or_none()
            if row is None:
                raise not_found(f"there is no key {key_id!r}")
            if row.revoked_at is None:
                connection.execute(update(keys).where(mine).values(revoked_at=self._clock()))
                append(connection, self._clock(), tenant_id, actor, "key.revoked", key_id)

    def _row(self, tenant_id: str) -> Any:
        row = None
        if is_id(tenant_id):
            with self._database.reading() as connection:
                row = connection.execute(select(tenants).where(tenants.c.id == tenant_id)).one_or_none()
        if row is None:
            raise not_found(f"there is no tenant {tenant_id!r}")
        return row


def _hash(random: str) -> str:
    return hashlib.sha256(random.encode()).hexdigest()


def _tenant(row: Any) -> Tenant:
    return Tenant(row.id, row.name, row.retention_days, row.webhook_url, row.created_at)


def _key(row: Any) -> Key:
    scopes = frozenset(Scope(scope) for scope in row.scopes)
    return Key(row.id, row.tenant_id, row.name, scopes, row.created_at, row.revoked_at)


def _check(name: str, retention_days: int, webhook_url: str) -> None:
    if not name.strip():
        raise invalid("the tenant's name is empty; expected what to call the tenant")
    check_text("the tenant's name", name)
    check_text("the webhook's URL", webhook_url, 2000)
    if not 1 <= retention_days <= 36_500:
        raise invalid(f"retention of {retention_days} days; expected 1 to 36500")
