"""Where a case's score lies: between the thresholds, among the calibration cases. In fractions of a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Bar(NamedTuple):
    """A bin of a histogram: where it begins, how wide it is, and how high, the highest of its histogram being 1."""

    x: float
    width: float
    height: float


@dataclass(frozen=True)
class Scale:
    """From 0 at the left to 1 at the right. The band left of ``accept`` is CONSISTENT, right of ``reject`` NOT."""

    accept: float
    reject: float
    accept_label: str
    reject_label: str
    score: float
    score_label: str
    is_beyond: bool  # the score lies further out than is shown
    genuine: tuple[Bar, ...]
    altered: tuple[Bar, ...]
    genuine_cases: int
    altered_cases: int


def scale(calibration: dict[str, Any], score: float | None) -> Scale | None:
    """Of a report's calibration and score; None when nothing was compared or calibrated."""
    shown = calibration["distribution"]
    if score is None or shown is None:
        return None
    low, high = shown["low"], shown["high"]
    accept, reject = calibration["accept_below"], calibration["reject_above"]
    return Scale(
        accept=0.0 if accept is None else _place(accept, low, high),
        reject=1.0 if reject is None else _place(reject, low, high),
        accept_label="" if accept is None else f"{accept:.2f}",
        reject_label="" if reject is None else f"{reject:.2f}",
        score=_place(score, low, high),
        score_label=f"{score:.2f}",
        is_beyond=not low <= score <= high,
        genuine=_bars(shown["genuine"]),
        altered=_bars(shown["altered"]),
        genuine_cases=calibration["genuine_cases"],
        altered_cases=calibration["altered_cases"],
    )


def _place(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _bars(counts: Sequence[int]) -> tuple[Bar, ...]:
    width, highest = 1 / len(counts), max(counts)
    return tuple(Bar(i * width, width, count / highest) for i, count in enumerate(counts) if count)
