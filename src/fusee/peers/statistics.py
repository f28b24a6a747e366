"""Figures from timings: medians, ratios with their spread over rounds, geometric means, and how far outputs differ.

Pure functions. A round is one turn of every peer, taken closely enough together that the machine's mood is shared:
ratios are formed inside a round, and the spread over rounds says how far to trust them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from statistics import median
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Ratio:
    """A peer's time over ours in each round; above 1, ours is faster."""

    median: float
    low: float
    high: float


def round_medians(rounds: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The median time of each round."""
    return tuple(median(times) for times in rounds)


def ratio_of_rounds(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Their time over ours, round by round; raises ValueError when the numbers of rounds differ or are 0."""
    if not ours or len(theirs) != len(ours):
        raise ValueError(f"ratios need the same rounds on both sides: theirs has {len(theirs)}, ours has {len(ours)}")
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))


def fastest(medians: Mapping[str, Sequence[float]]) -> str | None:
    """The name whose median over all rounds is least; None when there are none."""
    return min(medians, key=lambda name: median(medians[name]), default=None)


def geometric_mean(values: Iterable[float]) -> float:
    """The mean of ratios; raises ValueError when there are none, or one is not above 0."""
    logs = [log(value) for value in values]
    if not logs:
        raise ValueError("the geometric mean of no values")
    return exp(sum(logs) / len(logs))


def difference(reference: Mapping[str, Array], outputs: Mapping[str, Array]) -> float:
    """The largest difference of any element, as a share of the range of its output in the reference.

    Infinity when an output is missing, has another shape, or holds NaN or infinity where the
    reference does not.
    """
    return max((_difference(expected, outputs.get(name)) for name, expected in reference.items()), default=0.0)


def _difference(expected: Array, found: Array | None) -> float:
    if found is None or found.shape != expected.shape:
        return inf
    if not np.array_equal(np.isfinite(expected), np.isfinite(found)):
        return inf
    finite = np.isfinite(expected)
    if not finite.any():
        return 0.0
    largest = float(np.abs(expected[finite].astype(np.float64) - found[finite]).max())
    extent = float(np.ptp(expected[finite]))
    if largest == 0.0:
        return 0.0
    return largest / extent if extent else inf
