"""How the calibration cases scored, in few enough bins to travel with every report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from assay.judging.judgement import Calibration
from assay.report.canonical import Json, rounded

BINS = 48
SHARE_SHOWN = 0.9  # of the altered cases; the rest, far out, counts in the last bin


def distribution(calibration: Calibration) -> Json:
    """Counts of genuine and altered scores in BINS equal bins from ``low`` to ``high``; the outer bins hold what lies
    beyond them. None without calibration cases."""
    genuine, altered = calibration.genuine_scores, calibration.altered_scores
    if not genuine and not altered:
        return None
    low, high = _limits(calibration)
    return {"low": low, "high": high, "genuine": _counts(genuine, low, high), "altered": _counts(altered, low, high)}


def _limits(calibration: Calibration) -> tuple[float, float]:
    """The scores shown: all genuine ones, both thresholds with room around them, most altered ones."""
    marks = [*calibration.genuine_scores, calibration.accept_below, calibration.reject_above]
    if calibration.altered_scores:
        marks.append(float(np.quantile(calibration.altered_scores, SHARE_SHOWN)))
    finite = [mark for mark in marks if math.isfinite(mark)]
    margin = max(0.05 * (max(finite) - min(finite)), 0.5)
    return rounded(min(finite) - margin), rounded(max(finite) + margin)


def _counts(scores: Sequence[float], low: float, high: float) -> list[int]:
    places = np.floor((np.asarray(scores) - low) / (high - low) * BINS)
    return np.bincount(np.clip(places, 0, BINS - 1).astype(int), minlength=BINS).tolist()
