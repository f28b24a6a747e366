"""A judgement in sentences, the weightiest first."""

from __future__ import annotations

from assay.cases import Claim, Verdict
from assay.judging.judgement import Calibration, ViewJudgement
from assay.judging.scoring import CaseScore

NOTABLE = 2.5  # deviations from which a view is told of
NOT_CHECKED = (
    "What photographs cannot show: materials, weight, smell, and what lies under the surface.",
    "Whether all photographs show one and the same item.",
    "Whether the maker knows the date code or serial number.",
    "Restored, repaired or exchanged parts are compared like original ones.",
)
_PLACES = (
    ("upper left", "upper third", "upper right"),
    ("left third", "middle", "right third"),
    ("lower left", "lower third", "lower right"),
)


def reasons_for(verdict: Verdict, claim: Claim, scored: CaseScore, calibration: Calibration) -> tuple[str, ...]:
    """Of a case that was scored."""
    by_weight = sorted(scored.views.values(), key=lambda judged: -judged.score)
    notable = tuple(_deviation(judged) for judged in by_weight if judged.score >= NOTABLE)
    if verdict is Verdict.CONSISTENT:
        return (_agreement(claim, by_weight[0]), *notable)
    if verdict is Verdict.INCONCLUSIVE:
        return (_between(scored, calibration), *(notable or (_deviation(by_weight[0]),)))
    return notable or (_deviation(by_weight[0]), _sum_of_small(scored))


def place(hottest: tuple[float, float]) -> str:
    """Where x, y (fractions of the photograph) are, in words."""
    column, row = (min(int(3 * fraction), 2) for fraction in hottest)
    return _PLACES[row][column]


def _deviation(judged: ViewJudgement) -> str:
    return (
        f"The {judged.view.title} photograph is {max(judged.score, 0.0):.1f} deviations from genuine ones; "
        f"hottest at the {place(judged.hottest)}."
    )


def _agreement(claim: Claim, widest: ViewJudgement) -> str:
    return (
        f"All photographs look as those of genuine {claim.brand} {claim.model} do; the {widest.view.title} differs "
        f"most, by {max(widest.score, 0.0):.1f} deviations."
    )


def _between(scored: CaseScore, calibration: Calibration) -> str:
    return (
        f"The case scores {scored.score:.1f}, between {calibration.accept_below:.1f} (consistent) and "
        f"{calibration.reject_above:.1f} (not consistent): a person has to look."
    )


def _sum_of_small(scored: CaseScore) -> str:
    return f"No single photograph stands out; together they score {scored.score:.1f}, which genuine items do not."
