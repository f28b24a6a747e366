"""P-values that are what they are called, and their sentences."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.assay.judging.bench import CALIBRATION

from assay.cases import Verdict
from assay.judging import calibrate
from assay.judging.confidence import altered_p_value, confidence_in, genuine_p_value


def test_p_values_are_as_rare_as_they_say() -> None:
    random = np.random.default_rng(6)
    small = np.zeros(2)
    for _ in range(300):
        genuine, altered = random.standard_normal(149), 2 + random.standard_normal(149)
        made = calibrate(genuine.tolist(), altered.tolist(), [0.0], "m")
        small += [
            np.mean([genuine_p_value(x, made) <= 0.1 for x in random.standard_normal(40)]),
            np.mean([altered_p_value(x, made) <= 0.1 for x in 2 + random.standard_normal(40)]),
        ]
    np.testing.assert_allclose(small / 300, 0.1, atol=0.012)


@pytest.mark.parametrize(
    ("verdict", "score", "confidence", "said"),
    [
        (Verdict.CONSISTENT, 3.0, 1 - 2 / 201, "Of altered items .* at most 10 in 1000 look as consistent as this"),
        (Verdict.CONSISTENT, 3.05, 1 - 3 / 201, "Of altered items .* at most 2 in 100 look as consistent as this"),
        (Verdict.NOT_CONSISTENT, 0.995, 1 - 2 / 201, "Of genuine items .* at most 10 in 1000 look as far"),
        (Verdict.INCONCLUSIVE, 0.9, 1 - 1 / 201, "genuine items .* about 11 in 100 .* altered ones about 5 in 1000"),
    ],
)
def test_what_a_confidence_means(verdict: Verdict, score: float, confidence: float, said: str) -> None:
    found = confidence_in(verdict, score, CALIBRATION)
    assert found.value == pytest.approx(confidence)
    assert re.search(said, found.meaning), found.meaning
