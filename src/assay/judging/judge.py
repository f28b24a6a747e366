"""A case's verdict from what the engines and the references say of it. Pure: the same gives the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.cases import Case, Verdict
from assay.errors import unavailable
from assay.judging import gates
from assay.judging.confidence import confidence_in
from assay.judging.gates import Findings
from assay.judging.judgement import Calibration, Judgement, ViewJudgement
from assay.judging.reasons import NOT_CHECKED, reasons_for
from assay.judging.scoring import CaseScore, score_case, score_view
from assay.references.snapshot import Neighbour, Snapshot
from assay.views import VIEWS, View
from assay.vision.lens import Comparison, Features


def judge(
    case: Case,
    features: Mapping[View, Features],
    comparisons: Mapping[View, Comparison],
    snapshot: Snapshot | None,
    neighbours: Mapping[View, Sequence[Neighbour]],
    calibration: Calibration,
    findings: Findings,
) -> Judgement:
    """The gates in order, then the score.

    ``features`` and ``comparisons`` (with ``snapshot``'s banks) are of all photographs without a blocking finding;
    ``snapshot`` is None when the claimed model is not enrolled; ``neighbours`` are the nearest references of any model.
    Raises Refusal UNAVAILABLE when references and thresholds were made with different networks.
    """
    found = gates.joined(findings, gates.view_findings(features))
    missing = gates.missing_views(case)
    needed = gates.photographs_needed(missing, found)
    if needed:
        return _unscored(Verdict.NEEDS_PHOTOS, needed, _views(snapshot, features, comparisons), found, missing)
    if snapshot is None:
        return _unscored(Verdict.NOT_SUPPORTED, (_not_enrolled(case),), {}, found)
    check_network(calibration.model_digest, "the thresholds", snapshot)
    scored = score_case(snapshot, features, comparisons)
    other = gates.another_model(case.claim, scored, neighbours)
    strange = other or gates.unfamiliar(scored, calibration)
    if strange:
        return _unscored(Verdict.NOT_SUPPORTED, (strange,), scored.views, found)
    return _scored(case, scored, calibration, found)


def verdict_of(score: float, calibration: Calibration) -> Verdict:
    """By the two thresholds."""
    if score <= calibration.accept_below:
        return Verdict.CONSISTENT
    return Verdict.NOT_CONSISTENT if score >= calibration.reject_above else Verdict.INCONCLUSIVE


def _scored(case: Case, scored: CaseScore, calibration: Calibration, findings: Findings) -> Judgement:
    verdict = verdict_of(scored.score, calibration)
    confidence = confidence_in(verdict, scored.score, calibration)
    return Judgement(
        verdict=verdict,
        score=scored.score,
        confidence=confidence.value,
        meaning=confidence.meaning,
        reasons=reasons_for(verdict, case.claim, scored, calibration),
        views=scored.views,
        findings=findings,
        missing=(),
        not_checked=NOT_CHECKED,
    )


def _unscored(
    verdict: Verdict,
    reasons: tuple[str, ...],
    views: Mapping[View, ViewJudgement],
    findings: Findings,
    missing: tuple[View, ...] = (),
) -> Judgement:
    meaning = "No score was made, so there is no confidence to state."
    return Judgement(verdict, None, None, meaning, reasons, views, findings, missing, NOT_CHECKED)


def _views(
    snapshot: Snapshot | None, features: Mapping[View, Features], comparisons: Mapping[View, Comparison]
) -> Mapping[View, ViewJudgement]:
    """Of the photographs that were compared, though others are missing."""
    if snapshot is None:
        return {}
    return {v: score_view(snapshot, v, features[v], comparisons[v]) for v in VIEWS if v in comparisons}


def _not_enrolled(case: Case) -> str:
    claim = case.claim
    return f"There are no references of {claim.brand} {claim.model}; enrol genuine photographs of it first."


def check_network(model_digest: str, what: str, snapshot: Snapshot) -> None:
    """Refuse to compare what different networks made: ``what`` ("the photo engine") comes from ``model_digest``.

    Raises Refusal UNAVAILABLE.
    """
    if snapshot.model_digest != model_digest:
        raise unavailable(
            f"{what}: made with network {model_digest}, but the references of {snapshot.claim.brand} "
            f"{snapshot.claim.model} with {snapshot.model_digest}; enrol and calibrate with the network that is packed"
        )
