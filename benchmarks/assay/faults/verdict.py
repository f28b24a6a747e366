"""After the storm: waiting until nothing is left to do, and what does not hold then, read from the database itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import httpx
from sqlalchemy import create_engine, func, select

from assay.cases import CaseState
from assay.errors import Refusal
from assay.installation import utc_now
from assay.queue import open_queue
from assay.queue.jobs import Depth
from assay.report.signing import Signer
from assay.report.verification import verify
from assay.settings import Settings
from assay.store import Store
from assay.store.tables import audit_entries, cases, deliveries, outbox, reports
from benchmarks.assay.faults.load import Accepted
from benchmarks.assay.faults.receiver import Receiver
from benchmarks.assay.faults.rigs import Customer, Rig

PATIENCE_S = 240.0
LOOK_S = 0.5


@dataclass(frozen=True)
class Remains:
    """What is still to be done."""

    queued: int
    unpublished: int  # rows of the outbox
    untold: int  # webhooks
    depth: Depth

    @property
    def is_idle(self) -> bool:
        return not (self.queued or self.unpublished or self.untold or self.depth.waiting or self.depth.leased)


async def _depth(settings: Settings) -> Depth:
    queue = open_queue(settings)
    try:
        await queue.open()
        return await queue.depth()
    finally:
        await queue.close()


def remains(settings: Settings) -> Remains:
    """Raises Refusal UNAVAILABLE."""
    with closing(create_engine(settings.database_url).connect()) as connection:
        queued = connection.scalar(select(func.count()).where(cases.c.state == CaseState.QUEUED))
        left = connection.scalar(select(func.count()).select_from(outbox))
        untold = connection.scalar(select(func.count()).where(deliveries.c.delivered_at.is_(None)))
    return Remains(queued or 0, left or 0, untold or 0, asyncio.run(_depth(settings)))


def until_idle(settings: Settings) -> float:
    """Seconds that it took. Raises TimeoutError with what remains."""
    start = monotonic()
    left: Remains | Refusal | None = None
    while monotonic() - start < PATIENCE_S:
        try:
            left = remains(settings)
            if left.is_idle:
                return monotonic() - start
        except Refusal as err:  # a broker that came back elects the leaders of its queues first
            left = err
        sleep(LOOK_S)
    raise TimeoutError(f"not idle after {PATIENCE_S:.0f} s: {left}")


def broken(rig: Rig, accepted: Sequence[Accepted], receiver: Receiver) -> list[str]:
    """All that does not hold, in sentences; nothing when every accepted case ended in exactly one report."""
    found: list[str] = []
    engine = create_engine(rig.settings.database_url)
    with closing(engine.connect()) as connection:
        rows = {row.id: row for row in connection.execute(select(cases))}
        told = connection.execute(select(deliveries.c.case_id, deliveries.c.event)).all()
        entries = connection.execute(select(audit_entries.c.subject, audit_entries.c.action)).all()
        issued = connection.execute(select(reports)).all()
        lost = connection.scalar(select(func.count()).select_from(outbox))
    engine.dispose()
    ids = [each.case_id for each in accepted]
    found += [f"{n} cases accepted under one id: {case}" for case, n in Counter(ids).items() if n > 1]
    found += [f"case {case} was accepted and is not there" for case in ids if case not in rows]
    found += [f"case {case} is {row.state.value}" for case, row in rows.items() if row.state is not CaseState.REPORTED]
    found += [f"case {case} was made and never accepted" for case in rows.keys() - set(ids)]
    if lost:
        found.append(f"{lost} jobs lie in the outbox")
    once = {
        "reports": Counter(row.case_id for row in issued),
        "webhooks": Counter(case for case, event in told if event == "case.reported"),
        "case.submitted": Counter(subject for subject, action in entries if action == "case.submitted"),
        "case.reported": Counter(subject for subject, action in entries if action == "case.reported"),
    }
    for what, counted in once.items():
        found += [f"case {case} has {counted[case]} {what}" for case in rows if counted[case] != 1]
    found += _unverified(rig.settings, issued) + _chains(rig) + _letters(rig.settings)
    return found + _webhooks(receiver, ids)


def _unverified(settings: Settings, issued: Sequence[Any]) -> list[str]:
    keys = Signer(settings.signing_key).keys
    checked = ((row.case_id, verify(row.document, keys)) for row in issued)
    return [f"case {case}: {verified.failures[0].detail}" for case, verified in checked if not verified.passed]


def _chains(rig: Rig) -> list[str]:
    with closing(Store(rig.settings, utc_now)) as store:
        breaks = ((customer.tenant_id, store.audit.verify(customer.tenant_id)) for customer in rig.customers)
        return [f"audit of {tenant}: {found}" for tenant, found in breaks if found is not None]


def _letters(settings: Settings) -> list[str]:
    dead = asyncio.run(_depth(settings)).dead
    return [f"{dead} dead letters"] if dead else []


def _webhooks(receiver: Receiver, ids: Sequence[str]) -> list[str]:
    """Each case was told of by one delivery; that one may have come more than once."""
    found = [f"case {case}: told by {len(receiver.cases.get(case, ()))} deliveries" for case in ids]
    found = [line for line in found if not line.endswith("by 1 deliveries")]
    return found + ([f"{receiver.unsigned} webhooks were not signed well"] if receiver.unsigned else [])


def seen_by_others(rig: Rig, accepted: Sequence[Accepted]) -> list[str]:
    """A tenant is told of another's cases that there are none. What it is told besides."""
    found: list[str] = []
    for each in accepted:
        other: Customer = next(customer for customer in rig.customers if customer.tenant_id != each.tenant_id)
        for what in ("", "/report.json", "/photos/logo"):
            url = f"{rig.addresses[0]}/v1/cases/{each.case_id}{what}"
            status = httpx.get(url, headers={"authorization": f"Bearer {other.key}"}, timeout=30).status_code
            found += [f"{url} of another tenant: {status}"] if status != 404 else []
    return found
