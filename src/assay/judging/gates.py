"""What has to hold before a case is scored: usable photographs, known references, photographs of that model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from assay.cases import Case, Claim, Finding
from assay.intake import wrong_view
from assay.judging.judgement import Calibration
from assay.judging.scoring import MOST_VIEWS, CaseScore
from assay.references.snapshot import Neighbour
from assay.views import VIEWS, View
from assay.vision.lens import Features

Findings = Mapping[View, tuple[Finding, ...]]

CLEARLY_NEARER = 0.75  # another model's reference at less than this part of the distance to the claimed model's


def view_findings(features: Mapping[View, Features]) -> Findings:
    """WRONG_VIEW for each photograph that shows another view than it was given for."""
    found = {view: wrong_view(view, seen.view) for view, seen in features.items()}
    return {view: findings for view, findings in found.items() if findings}


def joined(first: Findings, second: Findings) -> Findings:
    """Both, each fault of a view once."""
    return {view: _each_once(first.get(view, ()), second.get(view, ())) for view in VIEWS if view in {*first, *second}}


def _each_once(first: Sequence[Finding], second: Sequence[Finding]) -> tuple[Finding, ...]:
    known = {finding.fault for finding in first}
    return (*first, *(finding for finding in second if finding.fault not in known))


def missing_views(case: Case) -> tuple[View, ...]:
    return tuple(view for view in VIEWS if view not in case.photos)


def photographs_needed(missing: Sequence[View], findings: Findings) -> tuple[str, ...]:
    """Why photographs have to be taken (again), in sentences; none when they need not."""
    absent = [f"The photograph of the {view.title} is missing." for view in missing]
    blocking = [(view, f) for view in VIEWS for f in findings.get(view, ()) if f.is_blocking]
    return (*absent, *(f"Photograph of the {view.title}: {finding.advice}" for view, finding in blocking))


def unfamiliar(scored: CaseScore, calibration: Calibration) -> str:
    """Why the photographs are unlike anything that the thresholds were made with; '' when they are not."""
    if scored.unfamiliarity < calibration.unknown_above:
        return ""
    return (
        f"At least {MOST_VIEWS} of the {len(VIEWS)} photographs are {scored.unfamiliarity:.1f} deviations or more from "
        f"the references; no case of the calibration set was from {calibration.unknown_above:.1f} on. This seems to be "
        "another model, and nothing can be said of it."
    )


def another_model(claim: Claim, scored: CaseScore, neighbours: Mapping[View, Sequence[Neighbour]]) -> str:
    """Why the item seems to be of another enrolled model; '' when it does not."""
    others = Counter(
        other
        for view, judged in scored.views.items()
        for other in _clearly_nearer(claim, judged.neighbours[0].distance, neighbours.get(view, ()))
    )
    for other, views in others.most_common(1):
        if views >= MOST_VIEWS:
            return (
                f"In {views} of {len(VIEWS)} photographs the item looks clearly more like {other.brand} {other.model} "
                f"than like {claim.brand} {claim.model}. Submit it as that model if it is one."
            )
    return ""


def _clearly_nearer(claim: Claim, own_distance: float, neighbours: Sequence[Neighbour]) -> set[Claim]:
    """Other models whose references are clearly nearer than the claimed model's."""
    limit = CLEARLY_NEARER * own_distance
    return {n.claim for n in neighbours if n.claim != claim and n.distance < limit}
