"""Thresholds that keep a promise: split conformal, conditional on the calibration cases.

Scores of altered cases lie in an order; those below the k-th smallest of n have a probability that is distributed as
Beta(k, n - k + 1), whatever the scores' distribution (Vovk, "Conditional validity of inductive conformal predictors",
ACML 2012). The threshold is the largest one for which that probability is within the promised rate with the promised
assurance; genuine cases likewise from above. Between the two thresholds the verdict is INCONCLUSIVE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from assay.errors import Refusal, invalid
from assay.judging.calibration_file import sealed
from assay.judging.judgement import Calibration

FAMILIAR = 3.0  # deviations of most views that are no reason to think of another model


def calibrate(
    genuine: Sequence[float],
    altered: Sequence[float],
    unfamiliarity: Sequence[float],
    model_digest: str,
    false_accept_rate: float = 0.05,
    false_reject_rate: float = 0.02,
    assurance: float = 0.95,
) -> Calibration:
    """From ``CaseScore.score`` of genuine and of altered cases, and ``CaseScore.unfamiliarity`` of all of them.

    With probability ``assurance`` over the draw of these cases, an altered one of the same kind is called CONSISTENT
    with at most ``false_accept_rate``, and, with the same probability, a genuine one NOT CONSISTENT with at most
    ``false_reject_rate``. Raises Refusal INVALID when there are too few cases for that, and says how many are needed.
    """
    _check_rates(false_accept_rate=false_accept_rate, false_reject_rate=false_reject_rate, assurance=assurance)
    genuine_scores = _ordered("genuine", genuine, false_reject_rate, assurance)
    altered_scores = _ordered("altered", altered, false_accept_rate, assurance)
    most_accepted = most_errors(len(altered_scores), false_accept_rate, assurance)
    most_rejected = most_errors(len(genuine_scores), false_reject_rate, assurance)
    accept = math.nextafter(altered_scores[most_accepted], -math.inf)
    reject = math.nextafter(genuine_scores[-1 - most_rejected], math.inf)
    return sealed(
        Calibration(
            accept_below=min(accept, reject),
            reject_above=max(accept, reject),
            unknown_above=_beyond(unfamiliarity),
            false_accept_rate=false_accept_rate,
            false_reject_rate=false_reject_rate,
            assurance=assurance,
            genuine_scores=genuine_scores,
            altered_scores=altered_scores,
            model_digest=model_digest,
        )
    )


def most_errors(cases: int, rate: float, assurance: float) -> int:
    """The most cases on the wrong side of a threshold that still assure the rate; -1 when even none would not do."""
    errors, tail = -1, 0.0
    while errors < cases:
        tail += _binomial(cases, errors + 1, rate)
        if tail > 1 - assurance:
            break
        errors += 1
    return errors


def fewest_cases(rate: float, assurance: float) -> int:
    """How many cases assure the rate when none of them is on the wrong side."""
    return math.ceil(math.log(1 - assurance) / math.log1p(-rate))


def _binomial(n: int, k: int, p: float) -> float:
    """The probability of k successes in n trials."""
    log_ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log_ways + k * math.log(p) + (n - k) * math.log1p(-p))


def _check_rates(**rates: float) -> None:
    for name, rate in rates.items():
        if not 0 < rate < 1:
            raise invalid(f"{name} is {rate}, expected a number between 0 and 1, such as 0.02")


def _ordered(kind: str, scores: Sequence[float], rate: float, assurance: float) -> tuple[float, ...]:
    """Ascending. Raises Refusal when they are too few or not numbers."""
    if not np.isfinite(scores).all():
        raise invalid(f"the scores of {kind} cases are not all numbers; judge these cases again")
    if most_errors(len(scores), rate, assurance) < 0:
        needed = fewest_cases(rate, assurance)
        raise _too_few(
            f"{len(scores)} {kind} cases cannot show a rate of {rate:g} with assurance {assurance:g}", needed
        )
    return tuple(sorted(map(float, scores)))


def _too_few(what: str, needed: int) -> Refusal:
    return invalid(f"{what}; expected at least {needed}: add cases, or ask for a higher rate or less assurance")


def _beyond(unfamiliarity: Sequence[float]) -> float:
    """Just above all that was seen: of n + 1 cases of one kind the last one is the most unfamiliar once in n + 1. Never
    below FAMILIAR: cases of one careful photographer lie closer together than those to come."""
    if not len(unfamiliarity) or not np.isfinite(unfamiliarity).all():
        raise invalid("the unfamiliarity of the calibration cases is not given; expected one number for each case")
    return math.nextafter(max(FAMILIAR, *map(float, unfamiliarity)), math.inf)
