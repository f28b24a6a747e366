"""How sure a verdict is: conformal p-values against the calibration cases, and what they say in a sentence."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from assay.cases import Verdict
from assay.judging.judgement import Calibration

_LIKE = "like those of the calibration set"


class Confidence(NamedTuple):
    """A number that is the larger the surer, and its meaning."""

    value: float
    meaning: str


def confidence_in(verdict: Verdict, score: float, calibration: Calibration) -> Confidence:
    """Of CONSISTENT: 1 - the p-value of "altered"; of NOT CONSISTENT: 1 - that of "genuine"; of INCONCLUSIVE: 1 - the
    smaller of both, which is how sure the better of the two explanations is."""
    genuine, altered = genuine_p_value(score, calibration), altered_p_value(score, calibration)
    if verdict is Verdict.CONSISTENT:
        return Confidence(
            1 - altered, f"Of altered items {_LIKE}, at most {_share(altered)} look as consistent as this."
        )
    if verdict is Verdict.NOT_CONSISTENT:
        return Confidence(
            1 - genuine, f"Of genuine items {_LIKE}, at most {_share(genuine)} look as far from the references as this."
        )
    return Confidence(
        1 - min(genuine, altered),
        f"Neither is shown: of genuine items {_LIKE}, about {_share(genuine)} look as far from the references as this, "
        f"and of altered ones about {_share(altered)} look as consistent.",
    )


def altered_p_value(score: float, calibration: Calibration) -> float:
    """For an altered item, the probability of a p-value of at most p is at most p."""
    as_consistent = bisect_right(calibration.altered_scores, score)
    return (1 + as_consistent) / (1 + len(calibration.altered_scores))


def genuine_p_value(score: float, calibration: Calibration) -> float:
    """For a genuine item, the probability of a p-value of at most p is at most p."""
    as_far = len(calibration.genuine_scores) - bisect_left(calibration.genuine_scores, score)
    return (1 + as_far) / (1 + len(calibration.genuine_scores))


def _share(probability: float) -> str:
    """As "2 in 100", rounded up; in thousands where hundreds would round to one."""
    whole = 100 if probability > 0.01 else 1000 if probability > 0.001 else 10_000
    return f"{math.ceil(probability * whole - 1e-9)} in {whole}"
