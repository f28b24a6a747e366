"""One case from photographs to its report, with the trained networks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from assay.cases import Case, Claim, Tenant, Verdict
from assay.errors import Refusal
from assay.installation import opened
from assay.judging import calibrate, write_calibration
from assay.judging.calibration_file import sealed
from assay.pipeline.judge import CaseJudge, Judged
from assay.pipeline.rerun import rerun
from assay.pipeline.scoring import score_photographs
from assay.references import EnrolmentPhoto, enrol
from assay.report.verification import verify
from assay.services import Services
from assay.settings import Settings
from assay.synthetic import Condition
from assay.views import VIEWS, View

ENROLLED = Claim("Maison", "Cabas")
ITEMS = 4
T = TypeVar("T")


@pytest.fixture(scope="module")
def home(trained_engines: Path, photographs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with one model enrolled and thresholds that call genuine items consistent."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "engines").symlink_to(trained_engines)
    photos = [EnrolmentPhoto(str(n), view, c) for n in range(ITEMS) for view, c in photographs(100 + n).items()]

    async def enrolled() -> None:
        settings = Settings(folder, queue_url="memory:")
        async with opened(settings) as services:
            await enrol(ENROLLED, photos, services.lens, services.comparer, services.references, services.clock)
            digest = services.lens.identity.model_digest
        genuine, altered = [n / 100 for n in range(400)], [5 + n / 100 for n in range(400)]
        write_calibration(settings.calibration, calibrate(genuine, altered, [60.0], digest))

    asyncio.run(enrolled())
    return folder


@asynccontextmanager
async def running(home: Path, tmp_path: Path) -> AsyncGenerator[tuple[Services, Tenant]]:
    """With a store of its own."""
    store_url = f"sqlite:///{tmp_path / 'assay.sqlite'}"
    async with opened(Settings(home, store_url=store_url, queue_url="memory:")) as services:
        yield services, services.store.tenants.create("Atelier")


@pytest.fixture
def with_services(home: Path, tmp_path: Path) -> Callable[[Callable[[Services, Tenant], Awaitable[T]]], T]:
    def do(work: Callable[[Services, Tenant], Awaitable[T]]) -> T:
        async def whole() -> T:
            async with running(home, tmp_path) as (services, tenant):
                return await work(services, tenant)

        return asyncio.run(whole())

    return do


@pytest.fixture
def judged(with_services, submit) -> Callable[..., tuple[Judged, list[str]]]:
    """A case's report, kept, and what differed when it was run again."""

    def of(photos: dict[View, bytes], claim: Claim = ENROLLED) -> tuple[Judged, list[str]]:
        async def work(services: Services, tenant: Tenant) -> tuple[Judged, list[str]]:
            case: Case = submit(services.store, tenant, photos, claim)
            found = await CaseJudge(services).judge(case)
            assert found.finish(services.store)
            assert not found.finish(services.store), "a case has one report"
            assert verify(found.document, services.signer.keys).passed
            return found, await rerun(services, case.id)

        return with_services(work)

    return of


def test_a_genuine_item_gets_a_report_with_maps_and_neighbours_and_the_same_bytes_again(judged, photographs):
    found, differences = judged(photographs(200))
    assert differences == []
    judgement = found.findings.judgement
    assert judgement.verdict is Verdict.CONSISTENT
    assert set(judgement.views) == set(found.findings.heat_maps) == set(found.findings.view_maps) == set(VIEWS)
    maps = [*found.findings.heat_maps.values(), *found.findings.view_maps.values()]
    assert {m.sha256: m.png for m in maps} == found.artefacts
    assert all(view.neighbours for view in judgement.views.values())
    assert [stage.name for stage in found.stages] == ["read", "look", "compare", "search", "judge", "draw"]


def test_blurred_photographs_never_reach_an_engine(judged, photographs):
    found, differences = judged(photographs(201, Condition.BLURRED))
    assert differences == []
    assert found.findings.judgement.verdict is Verdict.NEEDS_PHOTOS
    assert [stage.name for stage in found.stages] == ["read", "judge", "draw"]
    assert found.artefacts == {}


def test_missing_views_are_named(judged, photographs):
    photos = {view: content for view, content in photographs(202).items() if view is not View.LINING}
    found, _ = judged(photos)
    assert found.findings.judgement.verdict is Verdict.NEEDS_PHOTOS
    assert found.findings.judgement.missing == (View.LINING,)


def test_one_picture_for_two_views_is_asked_for_again(judged, photographs):
    photos = photographs(203)
    found, _ = judged(photos | {View.LOGO: photos[View.EXTERIOR]})
    assert found.findings.judgement.verdict is Verdict.NEEDS_PHOTOS
    assert any("same picture" in reason for reason in found.findings.judgement.reasons)


def test_a_model_without_references_is_not_supported(judged, photographs):
    found, differences = judged(photographs(200), Claim("Maison", "Sac"))
    assert differences == []
    assert found.findings.judgement.verdict is Verdict.NOT_SUPPORTED
    assert json.loads(found.document)["result"]["versions"]["references"] == {"digest": "", "version": 0}


def test_a_rerun_keeps_what_was_reused_though_the_earlier_case_is_erased(with_services, submit, photographs):
    async def work(services: Services, tenant: Tenant) -> tuple[list[str], list[str]]:
        earlier = submit(services.store, tenant, photographs(200), ENROLLED)
        case = submit(services.store, tenant, photographs(200), ENROLLED)
        found = await CaseJudge(services).judge(case)
        found.finish(services.store)
        faults = [f.fault.value for f in found.findings.judgement.findings[View.LOGO]]
        services.store.retention.erase(tenant.id, earlier.id, "test")
        return faults, await rerun(services, case.id)

    assert with_services(work) == (["reused"], [])


def test_a_rerun_refuses_other_thresholds(with_services, submit, photographs, home: Path):
    async def work(services: Services, tenant: Tenant) -> None:
        case = submit(services.store, tenant, photographs(200), ENROLLED)
        (await CaseJudge(services).judge(case)).finish(services.store)
        present = services.calibration()
        assert present is not None
        other = sealed(replace(present, unknown_above=present.unknown_above + 1))
        await rerun(replace(services, calibration=lambda: other), case.id)

    with pytest.raises(Refusal, match=r"was judged with thresholds \w{64}, not here any more"):
        with_services(work)


def test_scores_for_calibration_are_those_of_reports(with_services, submit, photographs):
    async def work(services: Services, tenant: Tenant) -> tuple[float | None, float]:
        case = submit(services.store, tenant, photographs(200), ENROLLED)
        found = await CaseJudge(services).judge(case)
        snapshot = services.references.latest(ENROLLED)
        assert snapshot is not None
        return found.findings.judgement.score, (await score_photographs(services, snapshot, photographs(200))).score

    reported, scored = with_services(work)
    assert reported == scored
