"""One case from its stored photographs to its signed report: the same photographs give the same result, bit by bit."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import ParamSpec, TypeVar

from assay.cases import Case, Finding, Photo
from assay.errors import Refusal, not_found, unavailable
from assay.evidence import HeatMap
from assay.imaging.recent import Sight
from assay.imaging.uploads import Limits, read_upload
from assay.intake import repeated, reused
from assay.judging import check_network, judge
from assay.judging.judgement import Calibration
from assay.pipeline.maps import distance_maps, view_maps
from assay.pipeline.risk import risk_of
from assay.pipeline.stages import StageClock
from assay.references.snapshot import Neighbour, Snapshot
from assay.report.document import Findings, Stage, Versions
from assay.report.signing import issue
from assay.services import Services
from assay.store import Store
from assay.views import View
from assay.vision.lens import Comparison, Features

NEIGHBOURS = 5  # of any model, looked at for each photograph
REPORT_ID_BYTES = 12  # random: a report's public page is found by whoever has its address
ASSAY_VERSION = version("fusee")
P = ParamSpec("P")
T = TypeVar("T")
FoundFaults = Mapping[View, tuple[Finding, ...]]
Reuse = Callable[[Case, Photo], tuple[Finding, ...]]
"""What is found of a photograph's earlier appearances."""


@dataclass(frozen=True)
class Judged:
    """A case with its report, to be kept."""

    findings: Findings
    report_id: str
    document: bytes  # signed
    artefacts: Mapping[str, bytes]  # SHA-256 -> what the report shows besides photographs
    stages: tuple[Stage, ...]

    def finish(self, store: Store) -> bool:
        """Give the case this report; False when it has one already."""
        judgement = self.findings.judgement
        return store.cases.finish(
            self.findings.case.id,
            self.report_id,
            judgement.verdict,
            judgement.score,
            self.document,
            self.artefacts,
            risk_of(judgement, self.findings.versions.calibration),
        )


@dataclass(frozen=True)
class Looked:
    """What the engines say of a case's photographs; nothing where they were not asked."""

    features: Mapping[View, Features]
    comparisons: Mapping[View, Comparison]
    neighbours: Mapping[View, Sequence[Neighbour]]


NOTHING_SEEN = Looked({}, {}, {})


class CaseJudge:
    """Judges cases with the services of an installation."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def judge(self, case: Case) -> Judged:
        """With the latest references and the present calibration. Raises Refusal."""
        services = self._services
        if case.submitted_at is not None:
            services.meter.stage("wait", (services.clock() - case.submitted_at).total_seconds())
        snapshot = await self._run(self._services.references.latest, case.claim)
        return await self.judge_with(case, snapshot, self._calibration(), self._reuse)

    async def judge_with(self, case: Case, snapshot: Snapshot | None, calibration: Calibration, reuse: Reuse) -> Judged:
        """With these references and thresholds: a report is run again with those that it names."""
        clock = StageClock(lambda stages: self._note(case, stages))
        with clock.timed("read"):
            sights, faults = await asyncio.gather(self._read(case), self._run(_faults, case, reuse))
        looked = NOTHING_SEEN
        if not any(finding.is_blocking for found in faults.values() for finding in found):
            looked = await self._look(sights, snapshot, clock)
        with clock.timed("judge"):
            judgement = judge(
                case, looked.features, looked.comparisons, snapshot, looked.neighbours, calibration, faults
            )
        with clock.timed("draw"):
            drawing = (self._run(distance_maps, looked.comparisons, snapshot), self._run(view_maps, looked.features))
            distances, views = await asyncio.gather(*drawing)
        versions = self._versions(snapshot, calibration)
        shown = {view: hashlib.sha256(sight.picture).hexdigest() for view, sight in sights.items()}
        findings = Findings(case, judgement, distances, views, shown, versions)
        with self._services.meter.timed("sign"):
            judged = await self._run(self._signed, findings, clock)
        await clock.told()
        return judged

    async def _note(self, case: Case, stages: Sequence[Stage]) -> None:
        """For whoever watches the case, and for the metrics."""
        for stage in stages:
            self._services.meter.stage(stage.name, stage.ms / 1000)
        with suppress(Refusal):  # a report does not wait for a line of progress
            took_ms = {stage.name: stage.ms for stage in stages}
            await self._run(self._services.store.cases.note_stages, case.id, took_ms)

    async def _read(self, case: Case) -> dict[View, Sight]:
        reading = (self._sight(case, photo) for photo in case.photos.values())
        return dict(zip(case.photos, await asyncio.gather(*reading), strict=True))

    async def _sight(self, case: Case, photo: Photo) -> Sight:
        """As it was read when it came, if that was lately and here."""
        return self._services.sights.take(photo.sha256) or await self._run(self._read_again, case, photo)

    def _read_again(self, case: Case, photo: Photo) -> Sight:
        content = self._services.store.blobs.get(case.tenant_id, photo.sha256)
        if content is None:
            raise not_found(
                f"case {case.id}: the {photo.view.title} photograph {photo.sha256} is not in the blob store"
            )
        return Sight.of(read_upload(content, Limits.of(self._services.settings)))

    def _reuse(self, case: Case, photo: Photo) -> tuple[Finding, ...]:
        return reused(self._services.store.cases.reused(case.tenant_id, case.id, photo))

    async def _look(self, sights: Mapping[View, Sight], snapshot: Snapshot | None, clock: StageClock) -> Looked:
        """All photographs through the photo engine, then each against the references of its view."""
        with clock.timed("look"):
            found = await self._services.lens.look([sight.pixels for sight in sights.values()])
            features = dict(zip(sights, found, strict=True))
        if snapshot is None:
            return Looked(features, {}, {})
        check_network(self._services.lens.identity.model_digest, "the photo engine", snapshot)
        with clock.timed("compare"):
            comparing = (self._run(self._compare, snapshot, view, seen) for view, seen in features.items())
            comparisons = dict(zip(features, await asyncio.gather(*comparing), strict=True))
        with clock.timed("search"):
            neighbours = await self._run(self._neighbours, features)
        return Looked(features, comparisons, neighbours)

    def _compare(self, snapshot: Snapshot, view: View, seen: Features) -> Comparison:
        return self._services.comparer.compare(seen.patches, snapshot.views[view].bank)

    def _neighbours(self, features: Mapping[View, Features]) -> dict[View, Sequence[Neighbour]]:
        nearest = self._services.references.nearest
        return {view: nearest(view, [seen.embedding], NEIGHBOURS)[0] for view, seen in features.items()}

    def _signed(self, findings: Findings, clock: StageClock) -> Judged:
        services = self._services
        head = services.store.audit.head(findings.case.tenant_id)
        report_id = secrets.token_hex(REPORT_ID_BYTES)
        document = issue(findings, report_id, services.clock(), clock.stages, services.signer, audit_head=head.hash)
        maps: list[HeatMap] = [*findings.heat_maps.values(), *findings.view_maps.values()]
        return Judged(findings, report_id, document, {m.sha256: m.png for m in maps}, clock.stages)

    def _versions(self, snapshot: Snapshot | None, calibration: Calibration) -> Versions:
        return Versions(
            assay=ASSAY_VERSION,
            photo=self._services.lens.identity,
            compare=self._services.comparer.identity,
            references_digest="" if snapshot is None else snapshot.digest,
            references_version=0 if snapshot is None else snapshot.version,
            calibration=calibration,
        )

    def _calibration(self) -> Calibration:
        calibration = self._services.calibration()
        if calibration is None:
            raise unavailable(f"{self._services.settings.calibration} is not there; make it with `assay calibrate`")
        return calibration

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In a thread: engines, databases and pictures take their time."""
        return await asyncio.to_thread(work, *args, **kwargs)


def _faults(case: Case, reuse: Reuse) -> FoundFaults:
    """Of each photograph by itself, beside the others, and beside earlier cases."""
    twice = repeated(case.photos)
    return {v: (*photo.findings, *twice.get(v, ()), *reuse(case, photo)) for v, photo in case.photos.items()}
