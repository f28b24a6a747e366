"""A web over real rooms; only the engines are stood in for."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
from PIL import Image
from starlette.applications import Starlette
from tests.assay.report.conftest import findings_of

from assay.cases import Claim, Scope, Tenant, Verdict
from assay.errors import unavailable
from assay.queue.memory import MemoryQueue
from assay.references import FileReferences
from assay.report.document import Stage
from assay.report.signing import Signer, issue
from assay.services import Services
from assay.settings import Settings
from assay.store import Store
from assay.views import VIEWS, View
from assay.vision.lens import EMBEDDING, GRID, PATCH_FEATURES, PATCHES, EngineIdentity, Features, Pixels
from assay.web import web
from assay.web.openapi import openapi_document
from assay.web.table import OPERATIONS

ORIGIN = "http://assay.test"
CLAIM = {"brand": "Maison Arcel", "model": "Tote 32"}
JPEG = {"content-type": "image/jpeg"}
DOCUMENT = openapi_document(OPERATIONS)


class HandClock:
    """Goes on a millisecond each time it is read, and further when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


class PaintedLens:
    """Sees the view that a photograph was painted for: its red says which."""

    identity = EngineIdentity("a1" * 32, "b2" * 32)

    def __init__(self) -> None:
        self.is_down = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def look(self, photos: Sequence[Pixels]) -> list[Features]:
        if self.is_down:
            raise unavailable("the lens does not answer; try again")
        return [self._features(photo) for photo in photos]

    def _features(self, photo: Pixels) -> Features:
        view = np.full(len(VIEWS), 0.02, np.float32)
        view[round(float(photo[..., 0].mean()) / 40) - 1] = 0.9
        patches, embedding = np.zeros((PATCHES, PATCH_FEATURES), np.float32), np.zeros(EMBEDDING, np.float32)
        return Features(patches, embedding, view, np.zeros((GRID, GRID), np.float32))


def painted(view: View, seed: int = 0, side: int = 720) -> bytes:
    """A JPEG that the gate has nothing against, of which PaintedLens says that it shows the view."""
    random = np.random.default_rng(seed * len(VIEWS) + VIEWS.index(view))
    coarse = random.integers(70, 190, (side // 6, side // 6, 3), np.uint8)
    coarse[..., 0] = 40 * (VIEWS.index(view) + 1)
    picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x010F] = "Camera of somebody"
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85, exif=exif)
    return file.getvalue()


@dataclass
class House:
    """An installation with one tenant, and more when asked for."""

    services: Services
    lens: PaintedLens
    clock: HandClock
    app: Starlette
    tenant: Tenant
    accepted: list[None] = field(default_factory=list[None])

    @property
    def store(self) -> Store:
        return self.services.store

    def key(self, *scopes: Scope, tenant: Tenant | None = None) -> str:
        return self.store.tenants.create_key((tenant or self.tenant).id, "Ana", scopes or tuple(Scope))[1]

    def client(self, *scopes: Scope, tenant: Tenant | None = None) -> httpx.AsyncClient:
        """Comes with a key of these scopes (none given: all), and holds JSON answers to the OpenAPI document."""
        headers = {"authorization": f"Bearer {self.key(*scopes, tenant=tenant)}"}
        return self.stranger(headers)

    def stranger(self, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        hooks = {"response": [hold_to_document]}
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers, event_hooks=hooks)

    async def draft(self, client: httpx.AsyncClient, views: Sequence[View] = ()) -> str:
        """The id of a new draft with photographs of these views."""
        answer = await client.post("/v1/cases", json={"claim": CLAIM})
        case_id = answer.json()["id"]
        for view in views:
            given = await client.put(f"/v1/cases/{case_id}/photos/{view.value}", content=painted(view), headers=JPEG)
            assert given.status_code == 200, given.text
        return case_id

    async def reported(self, client: httpx.AsyncClient, verdict: Verdict = Verdict.INCONCLUSIVE) -> str:
        """The id of a case with a report, up for review."""
        case_id = await self.draft(client, VIEWS[:1])
        await client.post(f"/v1/cases/{case_id}/submit")
        self.finish(case_id, verdict)
        return case_id

    def finish(self, case_id: str, verdict: Verdict = Verdict.INCONCLUSIVE, risk: float = 0.5) -> None:
        findings, blobs = findings_of(verdict, Claim(**CLAIM))
        case = self.store.cases.work(case_id)
        named = replace(findings, case=replace(findings.case, id=case.id, tenant_id=case.tenant_id))
        report_id = f"report_{case_id.removeprefix('case_')}"
        stages = (Stage("look", 112.4), Stage("judge", 3.5))
        document = issue(named, report_id, self.clock(), stages, self.services.signer)
        for stage in stages:
            self.store.cases.note_stages(case_id, {stage.name: stage.ms})
        self.store.cases.finish(case_id, report_id, verdict, 1.0, document, blobs, risk)


def build(home: Path, **settings: Any) -> House:
    clock, lens = HandClock(), PaintedLens()
    chosen = Settings(home, **{"requests_per_minute": 100_000, **settings})
    store = Store(chosen, clock)
    services = Services(
        settings=chosen,
        store=store,
        queue=MemoryQueue(),
        lens=lens,
        comparer=None,  # type: ignore[arg-type]  # the web hands it to enrolment alone
        references=FileReferences(home / "references"),
        calibration=lambda: None,
        signer=Signer(chosen.signing_key),
        clock=clock,
    )
    accepted: list[None] = []
    app = web(services, lambda: accepted.append(None))
    return House(services, lens, clock, app, store.tenants.create("Rue de Seine"), accepted)


async def hold_to_document(response: httpx.Response) -> None:
    """Every answer of an operation is one that the OpenAPI document describes."""
    template = _template(response.request.url.path)
    operation = DOCUMENT["paths"].get(template, {}).get(response.request.method.lower())
    if operation is None:
        return
    described = operation["responses"].get(str(response.status_code))
    assert described is not None, f"{template} answered {response.status_code}, which the document does not know"
    media_type = response.headers.get("content-type", "").partition(";")[0]
    contents = described.get("content", {})
    assert media_type in contents or not contents, f"{template} gave {media_type}; the document says {list(contents)}"
    if media_type.endswith("json"):
        await response.aread()
        schema = {**contents[media_type]["schema"], "components": DOCUMENT["components"]}
        jsonschema.validate(response.json(), schema)


def _template(path: str) -> str:
    """The path in the document that this one is an instance of; one without fields goes first."""
    if path in DOCUMENT["paths"]:
        return path
    for template in DOCUMENT["paths"]:
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
            return template
    return ""
