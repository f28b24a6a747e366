"""Which reports people look at first."""

from __future__ import annotations

from assay.cases import Verdict
from assay.judging.judgement import Calibration, Judgement

WITHOUT_REVIEW = 0.0
CLOSE = 0.25  # of the range between typical genuine and typical altered scores


def risk_of(judgement: Judgement, calibration: Calibration) -> float:
    """0: nobody needs to look. Adverse verdicts always need a person (1 and more, the clearest first); those in doubt
    come next; a consistent one only when it is close to the threshold."""
    if judgement.score is None:
        return WITHOUT_REVIEW
    low = calibration.genuine_scores[len(calibration.genuine_scores) // 2]
    high = calibration.altered_scores[len(calibration.altered_scores) // 2]
    place = (judgement.score - low) / max(high - low, 1e-9)  # 0 typical genuine, 1 typical altered
    match judgement.verdict:
        case Verdict.NOT_CONSISTENT:
            return 1.0 + max(0.0, place)
        case Verdict.INCONCLUSIVE:
            return 0.5 + min(0.49, max(0.0, place) / 2)
        case _:
            margin = (calibration.accept_below - judgement.score) / max(high - low, 1e-9)
            return WITHOUT_REVIEW if margin > CLOSE else 0.5 * (1 - margin / CLOSE) / 2
