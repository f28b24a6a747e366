"""Judged cases of every verdict, with drawn pictures, and reports issued from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.cases import Case, CaseState, Claim, Fault, Finding, Lane, Photo, Verdict
from assay.imaging.heat import heat_map
from assay.judging.judgement import Calibration, Judgement, ViewJudgement
from assay.references.snapshot import Neighbour, ReferencePhoto
from assay.report.document import Findings, HeatMap, Stage, Versions
from assay.report.signing import Signer, issue
from assay.views import VIEWS, View
from assay.vision.lens import SIDE, EngineIdentity

ISSUED_AT = datetime(2026, 11, 21, 16, 38, tzinfo=UTC)
VERIFY_URL = "https://assay.example/verify/rep-01"
STAGES = (Stage("look", 112.4), Stage("compare", 71.25), Stage("judge", 3.5))
SCORES = {Verdict.CONSISTENT: 0.42, Verdict.INCONCLUSIVE: 2.61, Verdict.NOT_CONSISTENT: 7.9}
BLURRED = Finding(Fault.BLURRED, 41.7, 90.0, "Hold the camera still and tap the logo to focus.")
DULL = Finding(Fault.TOO_DARK, 62.0, 70.0, "Move to a window.", is_blocking=False)


@dataclass(frozen=True)
class Issued:
    """A report, and the pictures that it names."""

    document: bytes
    findings: Findings
    pictures: Mapping[str, bytes]

    def picture(self, sha256: str) -> bytes | None:
        return self.pictures.get(sha256)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def drawn(number: int) -> bytes:
    """A picture of SIDE x SIDE pixels."""
    pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(file, "JPEG", quality=80)
    return file.getvalue()


def calibration() -> Calibration:
    random = np.random.default_rng(7)
    genuine = tuple(np.sort(random.normal(0.2, 0.8, 240)).tolist())
    altered = tuple(np.sort(random.gamma(4, 2.2, 240)).tolist())
    return Calibration(2.05, 3.31, 9.5, 0.02, 0.02, 0.95, genuine, altered, "a1" * 32, "c4" * 32)


def photo(view: View, findings: tuple[Finding, ...] = ()) -> Photo:
    number = VIEWS.index(view)
    measures = {"sharpness": 214.123456789 + number, "brightness": 121.5, "glare": 0.0031, "fill": 0.83}
    return Photo(
        view, sha256(bytes([number])), 182_211, "image/jpeg", 1536, 1152, 0xF0E1_D2C3_B4A5_9687 + number, measures,
        findings, ISSUED_AT,
    )  # fmt: skip


def judged(view: View, claim: Claim, score: float, reference: bytes) -> ViewJudgement:
    number = VIEWS.index(view)
    neighbours = tuple(
        Neighbour(claim, ReferencePhoto(sha256(b"original"), sha256(reference), f"GA-{number}{i}"), 0.21 + 0.013 * i)
        for i in range(3)
    )
    part = score * (0.6 + 0.08 * number)
    return ViewJudgement(view, part, part * 0.7, part * 0.9, 0.993, (0.25 + 0.1 * number, 0.4), neighbours)


def peak(number: int) -> HeatMap:
    y, x = np.mgrid[0:40, 0:40] / 40
    return heat_map(np.exp(-((x - 0.25 - 0.1 * number) ** 2 + (y - 0.4) ** 2) / 0.02).astype(np.float32), 0.1, 1.1)


def findings_of(verdict: Verdict, claim: Claim) -> tuple[Findings, dict[str, bytes]]:
    """A case that ends with this verdict, and its pictures by SHA-256."""
    is_compared, is_incomplete = verdict in SCORES, verdict is Verdict.NEEDS_PHOTOS
    missing = (View.HARDWARE, View.DATE_CODE) if is_incomplete else ()
    notes = {View.LOGO: (BLURRED,)} if is_incomplete else {View.LINING: (DULL,)}
    given = [view for view in VIEWS if view not in missing]
    shown = {view: drawn(VIEWS.index(view)) for view in given}
    references = {view: drawn(100 + VIEWS.index(view)) for view in given}
    maps = {view: peak(VIEWS.index(view)) for view in given} if is_compared else {}
    case = Case(
        "case-01", "tenant-01", claim, Lane.NORMAL, CaseState.QUEUED, ISSUED_AT, ISSUED_AT, "SKU 4711",
        {view: photo(view, notes.get(view, ())) for view in given},
    )  # fmt: skip
    score = SCORES.get(verdict)
    judgement = Judgement(
        verdict,
        score,
        0.97 if is_compared else None,
        "Of 100 genuine items at most 2 score this high; that holds with 95 % assurance." if is_compared else "",
        ("The stitching is the view least like the references.", "The lining is like a usual genuine one."),
        {} if score is None else {view: judged(view, claim, score, references[view]) for view in given},
        notes,
        missing,
        ("The smell and feel of the material.", "Papers and receipts."),
    )
    versions = Versions(
        "0.1.0", EngineIdentity("a1" * 32, "b2" * 32), EngineIdentity("d3" * 32, "e5" * 32), "f6" * 32, 3, calibration()
    )
    pictures = {view: sha256(content) for view, content in shown.items()}
    blobs = {sha256(content): content for content in (*shown.values(), *references.values())}
    blobs |= {found.sha256: found.png for found in maps.values()}
    return Findings(case, judgement, maps, {}, pictures, versions), blobs


Reported = Callable[..., Issued]


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys") / "signing.key")


@pytest.fixture(scope="session")
def reported(signer: Signer) -> Reported:
    """``reported(verdict, brand=, model=)``: a report of that verdict."""

    @cache
    def issued(verdict: Verdict = Verdict.CONSISTENT, brand: str = "Maison Arcel", model: str = "Tote 32") -> Issued:
        findings, pictures = findings_of(verdict, Claim(brand, model))
        document = issue(findings, "rep-01", ISSUED_AT, STAGES, signer, audit_head="9c" * 32)
        return Issued(document, findings, pictures)

    return issued


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "signing.key"
