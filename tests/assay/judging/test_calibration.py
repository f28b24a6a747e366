"""The promise of the thresholds, kept over many draws of calibration cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.cases import Verdict
from assay.errors import Reason, Refusal
from assay.judging import calibrate
from assay.judging.calibration import FAMILIAR, fewest_cases, most_errors
from assay.judging.judge import verdict_of
from assay.judging.judgement import Calibration

RATE, ASSURANCE = 0.05, 0.9


def normal_cases(seed: int, gap: float, cases: int = 200) -> Calibration:
    random = np.random.default_rng(seed)
    genuine, altered = random.standard_normal(cases), gap + random.standard_normal(cases)
    return calibrate(genuine.tolist(), altered.tolist(), [1.0], "m", RATE, RATE, ASSURANCE)


def below(score: float) -> float:
    """The probability of a standard normal value up to ``score``."""
    return 0.5 * math.erfc(-score / math.sqrt(2))


@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0, 6.0, 12.0])
def test_both_rates_are_kept_as_often_as_assured(gap: float) -> None:
    """Normal scores, whose error rates are known exactly. 1,000 draws: the share of broken promises has a standard
    deviation of 1 %; where the promise is tight, it is near to, and not above, what it may be."""
    drawn = [normal_cases(seed, gap) for seed in range(1000)]
    accepts = np.array([below(c.accept_below - gap) for c in drawn])
    rejects = np.array([1 - below(c.reject_above) for c in drawn])
    limit = (1 - ASSURANCE) + 3 * math.sqrt(ASSURANCE * (1 - ASSURANCE) / len(drawn))
    assert (accepts > RATE).mean() <= limit
    assert (rejects > RATE).mean() <= limit


def test_the_promise_is_not_kept_by_never_deciding() -> None:
    drawn = [normal_cases(seed, 4.0) for seed in range(50)]
    assert np.mean([below(c.accept_below) for c in drawn]) > 0.95  # of genuine items: CONSISTENT
    broken = np.mean([below(normal_cases(seed, 1.0).accept_below - 1.0) > RATE for seed in range(1000)])
    assert broken > 0.04  # the largest threshold that may be: assured, and little more


@given(st.lists(st.floats(-5, 5), min_size=60, max_size=90), st.lists(st.floats(-5, 5), min_size=60, max_size=90))
def test_between_the_thresholds_nothing_is_decided(genuine: list[float], altered: list[float]) -> None:
    made = calibrate(genuine, altered, [0.0], "m", RATE, RATE, ASSURANCE)
    assert made.accept_below <= made.reject_above
    assert verdict_of(made.accept_below, made) is Verdict.CONSISTENT
    order = [Verdict.CONSISTENT, Verdict.INCONCLUSIVE, Verdict.NOT_CONSISTENT]
    scores = sorted({-9.0, 9.0, *genuine, *altered, made.accept_below, made.reject_above})
    ranks = [order.index(verdict_of(score, made)) for score in scores]
    assert ranks == sorted(ranks)
    accepted = sum(score <= made.accept_below for score in altered)
    rejected = sum(score >= made.reject_above for score in genuine)
    assert accepted <= most_errors(len(altered), RATE, ASSURANCE)
    assert rejected <= most_errors(len(genuine), RATE, ASSURANCE)


@pytest.mark.parametrize(("rate", "assurance", "needed"), [(0.02, 0.95, 149), (0.05, 0.95, 59), (0.01, 0.99, 459)])
def test_how_many_cases_are_needed(rate: float, assurance: float, needed: int) -> None:
    assert fewest_cases(rate, assurance) == needed
    assert most_errors(needed, rate, assurance) == 0
    assert most_errors(needed - 1, rate, assurance) == -1


@given(st.integers(1, 400), st.floats(0.005, 0.5), st.floats(0.5, 0.99))
def test_most_errors_is_the_last_count_whose_tail_is_small_enough(cases: int, rate: float, assurance: float) -> None:
    ways = [math.comb(cases, k) * rate**k * (1 - rate) ** (cases - k) for k in range(cases + 1)]
    tails = np.cumsum(ways)
    expected = int(np.searchsorted(tails, 1 - assurance, "right")) - 1
    found = most_errors(cases, rate, assurance)
    is_tie = any(abs(tail - (1 - assurance)) < 1e-9 for tail in tails)
    assert found == expected or is_tie


def test_too_few_cases_are_refused_with_how_many_it_takes() -> None:
    scores = [0.1 * i for i in range(148)]
    with pytest.raises(
        Refusal, match=r"58 altered cases cannot show .* 0\.05 .* 0\.95; expected at least 59"
    ) as refused:
        calibrate([*scores, 1.0], scores[:58], [1.0], "m")
    assert refused.value.reason is Reason.INVALID
    with pytest.raises(Refusal, match=r"148 genuine cases .* 0\.02 .* expected at least 149"):
        calibrate(scores, scores, [1.0], "m")
    with pytest.raises(Refusal, match=r"0 genuine cases .* expected at least 149"):
        calibrate([], scores, [1.0], "m")
    assert calibrate([*scores, 1.0], [*scores, 1.0], [1.0], "m").assurance == 0.95


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_rates_that_are_none(rate: float) -> None:
    with pytest.raises(Refusal, match=r"false_reject_rate is .* expected a number between 0 and 1"):
        calibrate([0.0] * 200, [1.0] * 200, [1.0], "m", false_reject_rate=rate)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers(bad: float) -> None:
    good = [1.0] * 200
    with pytest.raises(Refusal, match="scores of altered cases are not all numbers"):
        calibrate(good, [*good, bad], [1.0], "m")
    with pytest.raises(Refusal, match="unfamiliarity of the calibration cases is not given"):
        calibrate(good, good, [bad], "m")
    with pytest.raises(Refusal, match="unfamiliarity of the calibration cases is not given"):
        calibrate(good, good, [], "m")


def test_unknown_is_what_is_beyond_all_that_was_seen() -> None:
    made = calibrate([0.0] * 149, [1.0] * 149, [0.3, 3.5, -1.0], "m")
    assert made.unknown_above == math.nextafter(3.5, math.inf)


def test_what_is_ordinary_is_not_unknown_though_the_calibration_cases_lie_closer() -> None:
    made = calibrate([0.0] * 149, [1.0] * 149, [0.3, 0.9, -1.0], "m")
    assert made.unknown_above == math.nextafter(FAMILIAR, math.inf)
