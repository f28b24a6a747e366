"""The audit log: for each tenant a chain of entries, each with the hash of the one before.

An entry holds ids, hashes and the product's own words, never what a person wrote or photographed: entries outlive
erasure. Whoever keeps a head's hash elsewhere (a report has one) can show later that nothing before it was changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from assay.errors import not_found
from assay.store.database import Database
from assay.store.tables import audit_entries, audit_heads

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

START = "0" * 64  # stands before the first entry
_PAGE = 1000


@dataclass(frozen=True)
class AuditEntry:
    """Who did what to which thing, when."""

    tenant_id: str
    seq: int  # 1, 2, 3, ... of the tenant
    at: datetime
    actor: str  # the id of a key, or "system"
    action: str  # case.submitted
    subject: str  # the id of a case, key or tenant
    details: Mapping[str, Json]
    previous: str  # the hash of entry seq - 1
    hash: str  # SHA-256 over all of the above


class Break(NamedTuple):
    """Where a chain does not hold."""

    seq: int
    what: str


class Head(NamedTuple):
    """The end of a chain."""

    seq: int
    hash: str


def begin_chain(connection: Connection, tenant_id: str) -> None:
    connection.execute(insert(audit_heads).values(tenant_id=tenant_id, seq=0, hash=START))


def lock_chain(connection: Connection, tenant_id: str) -> Head:
    """Hold the tenant's chain until the transaction ends: nobody else appends to it, names or removes a blob.

    Take it after the case's row, never before: two transactions would wait for each other.
    """
    return _head(connection, tenant_id, is_locked=True)


def append(
    connection: Connection,
    at: datetime,
    tenant_id: str,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, Json] | None = None,
) -> AuditEntry:
    """Add an entry in the caller's transaction. Raises Refusal NOT_FOUND for an unknown tenant."""
    head = lock_chain(connection, tenant_id)
    entry = AuditEntry(tenant_id, head.seq + 1, at, actor, action, subject, dict(details or {}), head.hash, "")
    text = canonical(entry.details)
    digest = _digest(entry, text)
    row = {"tenant_id": tenant_id, "seq": entry.seq, "at": at, "actor": actor, "action": action, "subject": subject}
    connection.execute(insert(audit_entries).values(**row, details=text, previous=head.hash, hash=digest))
    mine = audit_heads.c.tenant_id == tenant_id
    connection.execute(update(audit_heads).where(mine).values(seq=entry.seq, hash=digest))
    return AuditEntry(tenant_id, entry.seq, at, actor, action, subject, entry.details, head.hash, digest)


class Audit:
    """Reading and checking the chains."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def append(
        self,
        tenant_id: str,
        actor: str,
        action: str,
        subject: str,
        details: Mapping[str, Json] | None = None,
        connection: Connection | None = None,
    ) -> AuditEntry:
        """Add an entry, in a transaction of its own or in the caller's. ``details`` must hold nothing personal.
        Raises Refusal NOT_FOUND for an unknown tenant."""
        if connection is not None:
            return append(connection, self._clock(), tenant_id, actor, action, subject, details)
        with self._database.writing() as own:
            return append(own, self._clock(), tenant_id, actor, action, subject, details)

    def entries(self, tenant_id: str, after_seq: int = 0, most: int = 100, subject: str = "") -> tuple[AuditEntry, ...]:
        """The tenant's entries behind ``after_seq``, oldest first; of one subject, if one is named."""
        query = select(audit_entries).where(audit_entries.c.tenant_id == tenant_id, audit_entries.c.seq > after_seq)
        if subject:
            query = query.where(audit_entries.c.subject == subject)
        with self._database.reading() as connection:
            return tuple(_entry(row) for row in connection.execute(query.order_by(audit_entries.c.seq).limit(most)))

    def head(self, tenant_id: str) -> Head:
        """The last entry's number and hash: kept elsewhere, it pins the whole chain. Raises Refusal NOT_FOUND."""
        with self._database.reading() as connection:
            return _head(connection, tenant_id)

    def verify(self, tenant_id: str) -> Break | None:
        """The first entry that was edited, removed or moved; None when the chain holds. Raises Refusal NOT_FOUND."""
        with self._database.reading() as connection:
            return _first_break(_rows(connection, tenant_id), _head(connection, tenant_id))


def canonical(value: object) -> str:
    """One text for one value: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _head(connection: Connection, tenant_id: str, is_locked: bool = False) -> Head:
    query = select(audit_heads.c.seq, audit_heads.c.hash).where(audit_heads.c.tenant_id == tenant_id)
    row = connection.execute(query.with_for_update() if is_locked else query).one_or_none()
    if row is None:
        raise not_found(f"there is no tenant {tenant_id!r}")
    return Head(row.seq, row.hash)


def _rows(connection: Connection, tenant_id: str) -> Iterator[Any]:
    """All of the tenant's entries in order, a page at a time."""
    last = -(1 << 31)
    while True:
        query = select(audit_entries).where(audit_entries.c.tenant_id == tenant_id, audit_entries.c.seq > last)
        page = connection.execute(query.order_by(audit_entries.c.seq).limit(_PAGE)).all()
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1].seq


def _first_break(rows: Iterator[Any], head: Head) -> Break | None:
    expected = Head(1, START)
    for row in rows:
        if row.seq != expected.seq:
            return Break(expected.seq, f"entry {expected.seq} is missing; entry {row.seq} follows")
        if row.previous != expected.hash:
            return Break(row.seq, f"entry {row.seq} does not follow the entry before it")
        if row.hash != _row_digest(row):
            return Break(row.seq, f"entry {row.seq} is not what was written")
        expected = Head(row.seq + 1, row.hash)
    if head != (expected.seq - 1, expected.hash):
        return Break(expected.seq, f"entry {expected.seq} is missing; the head says that {head.seq} is the last")
    return None


def _entry(row: Any) -> AuditEntry:
    details = json.loads(row.details)
    return AuditEntry(
        row.tenant_id, row.seq, row.at, row.actor, row.action, row.subject, details, row.previous, row.hash
    )


def _row_digest(row: Any) -> str:
    entry = AuditEntry(row.tenant_id, row.seq, row.at, row.actor, row.action, row.subject, {}, row.previous, "")
    return _digest(entry, row.details)


def _digest(entry: AuditEntry, details: str) -> str:
    """``details`` is hashed as the text that is stored, so that nothing depends on how it would be written again."""
    fields = [entry.tenant_id, entry.seq, _written(entry.at), entry.actor, entry.action, entry.subject]
    return hashlib.sha256(canonical([*fields, details, entry.previous]).encode()).hexdigest()


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
