"""Stores, photographs and cases for tests of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.cases import Case, Claim, Fault, Finding, Lane, Photo, Tenant, Verdict
from assay.errors import Reason, Refusal
from assay.settings import Settings
from assay.store import Store
from assay.views import VIEWS, View

CLAIM = Claim("Marlo", "Tote 30")


class HandClock:
    """A clock that goes on a millisecond each time it is read, and further when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def advance(self, **how_much: float) -> None:
        self.now += timedelta(**how_much)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def a_photo(view: View, original: bytes, perceptual_hash: int = 0x8123_4567_89AB_CDEF) -> Photo:
    finding = Finding(Fault.GLARE, 0.25, 0.1, "Turn the item away from the light.", is_blocking=False)
    at = datetime(2026, 3, 1, 11, 59, 58, 123456, tzinfo=UTC)
    measures = {"sharpness": 41.5, "glare": 0.25}
    size = len(original)
    return Photo(view, sha256(original), size, "image/jpeg", 1600, 1200, perceptual_hash, measures, (finding,), at)


class Bench:
    """A store under test, and one tenant of it."""

    def __init__(self, settings: Settings, clock: HandClock) -> None:
        self.settings = settings
        self.clock = clock
        self.store = Store(settings, clock)
        self.tenant: Tenant = self.store.tenants.create("Pfandhaus Mitte")

    def with_settings(self, **changes: object) -> Store:
        """Another store over the same database, as another process has."""
        return Store(replace(self.settings, **changes), self.clock)

    def draft(self, views: Sequence[View] = VIEWS, tenant: Tenant | None = None, salt: str = "") -> Case:
        tenant = tenant or self.tenant
        case = self.store.cases.create(tenant.id, CLAIM, Lane.NORMAL, "Locker 7")
        for view in views:
            original = f"{salt or case.id} {view.value}".encode()
            self.store.cases.put_photo(tenant.id, case.id, a_photo(view, original), original, b"small " + original)
        return self.store.cases.get(tenant.id, case.id)

    def queued(self, views: Sequence[View] = VIEWS[:1], tenant: Tenant | None = None) -> Case:
        tenant = tenant or self.tenant
        return self.store.cases.submit(tenant.id, self.draft(views, tenant).id)

    def finish(self, case_id: str, verdict: Verdict = Verdict.CONSISTENT, risk: float = 0.0) -> bool:
        heat_map = b"map of " + case_id.encode()
        document = b'{"case":"' + case_id.encode() + b'"}'
        artefacts = {sha256(heat_map): heat_map}
        return self.store.cases.finish(case_id, f"report_{case_id}", verdict, 0.5, document, artefacts, risk)

    def reported(self, verdict: Verdict = Verdict.CONSISTENT, risk: float = 0.0, tenant: Tenant | None = None) -> Case:
        case = self.queued(tenant=tenant)
        assert self.finish(case.id, verdict, risk)
        return self.store.cases.work(case.id)


def files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def refused(reason: Reason, matching: str) -> pytest.RaisesExc[Refusal]:
    return pytest.RaisesExc(Refusal, match=matching, check=lambda err: err.reason is reason)
