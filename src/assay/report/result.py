"""The content of a verdict as JSON: the same findings give the same text. It holds no times and no random names."""

from __future__ import annotations

import math
from collections.abc import Iterable

from assay.cases import Finding, Photo
from assay.judging.judgement import Calibration, ViewJudgement
from assay.references.snapshot import Neighbour
from assay.report.canonical import Json, rounded
from assay.report.document import Findings, HeatMap, Versions
from assay.report.histogram import distribution
from assay.report.wording import APPEAL, LIMITS
from assay.views import VIEWS, View
from assay.vision.lens import EngineIdentity


def result(findings: Findings) -> Json:
    """All that the case was found to be and what it rests on, as ``report.schema.json`` describes."""
    case, judgement = findings.case, findings.judgement
    return {
        "case": {"id": case.id, "customer_reference": case.customer_reference},
        "claim": {"brand": case.claim.brand, "model": case.claim.model},
        "verdict": judgement.verdict.value,
        "score": _optional(judgement.score),
        "confidence": _optional(judgement.confidence),
        "meaning": judgement.meaning,
        "reasons": list(judgement.reasons),
        "views": [_view(findings, view) for view in VIEWS if view in case.photos],
        "missing": [view.value for view in VIEWS if view in judgement.missing],
        "not_checked": list(judgement.not_checked),
        "limits": LIMITS,
        "appeal": APPEAL,
        "versions": _versions(findings.versions),
    }


def _view(findings: Findings, view: View) -> Json:
    photo = findings.case.photos[view]
    judged = findings.judgement.views.get(view)
    return {
        "view": view.value,
        "photo": _photo(photo, findings.pictures.get(view)),
        "measures": {name: rounded(value) for name, value in photo.measures.items()},
        "findings": [_finding(found) for found in _all_findings(photo, findings.judgement.findings.get(view, ()))],
        "judged": None if judged is None else _judged(judged),
        "heat_map": _heat_map(findings.heat_maps.get(view)),
        "view_map": _heat_map(findings.view_maps.get(view)),
    }


def _photo(photo: Photo, picture_sha256: str | None) -> Json:
    return {
        "sha256": photo.sha256,
        "picture_sha256": picture_sha256,
        "media_type": photo.media_type,
        "size_bytes": photo.size_bytes,
        "width": photo.width,
        "height": photo.height,
        "perceptual_hash": f"{photo.perceptual_hash:016x}",
    }


def _all_findings(photo: Photo, judged: Iterable[Finding]) -> Iterable[Finding]:
    """Of the quality gate and of the judge, who repeats those of the gate or does not: each once."""
    return dict.fromkeys((*photo.findings, *judged))


def _finding(finding: Finding) -> Json:
    return {
        "fault": finding.fault.value,
        "measured": rounded(finding.measured),
        "limit": rounded(finding.limit),
        "advice": finding.advice,
        "is_blocking": finding.is_blocking,
    }


def _judged(judged: ViewJudgement) -> Json:
    x, y = judged.hottest
    return {
        "score": rounded(judged.score),
        "one_class": rounded(judged.one_class),
        "metric": rounded(judged.metric),
        "view_probability": rounded(judged.view_probability),
        "hottest": {"x": rounded(x), "y": rounded(y)},
        "nearest": [_neighbour(neighbour) for neighbour in judged.neighbours],
    }


def _neighbour(neighbour: Neighbour) -> Json:
    return {
        "brand": neighbour.claim.brand,
        "model": neighbour.claim.model,
        "item": neighbour.photo.item,
        "sha256": neighbour.photo.sha256,
        "picture_sha256": neighbour.photo.picture_sha256,
        "distance": rounded(neighbour.distance),
    }


def _heat_map(heat_map: HeatMap | None) -> Json:
    if heat_map is None:
        return None
    return {"sha256": heat_map.sha256, "low": rounded(heat_map.low), "high": rounded(heat_map.high)}


def _versions(versions: Versions) -> Json:
    return {
        "assay": versions.assay,
        "photo": _engine(versions.photo),
        "compare": _engine(versions.compare),
        "references": {"digest": versions.references_digest, "version": versions.references_version},
        "calibration": _calibration(versions.calibration),
    }


def _engine(identity: EngineIdentity) -> Json:
    return {"model_digest": identity.model_digest, "engine_digest": identity.engine_digest}


def _calibration(calibration: Calibration) -> Json:
    return {
        "digest": calibration.digest,
        "model_digest": calibration.model_digest,
        "accept_below": _threshold(calibration.accept_below),
        "reject_above": _threshold(calibration.reject_above),
        "unknown_above": _threshold(calibration.unknown_above),
        "false_accept_rate": rounded(calibration.false_accept_rate),
        "false_reject_rate": rounded(calibration.false_reject_rate),
        "assurance": rounded(calibration.assurance),
        "genuine_cases": len(calibration.genuine_scores),
        "altered_cases": len(calibration.altered_scores),
        "distribution": distribution(calibration),
    }


def _optional(number: float | None) -> float | None:
    return None if number is None else rounded(number)


def _threshold(threshold: float) -> float | None:
    """None for one that no score reaches: too few calibration cases for the promised rate."""
    return None if math.isinf(threshold) else rounded(threshold)
