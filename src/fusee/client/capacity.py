"""How many requests a second a server answers within a latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fusee.client.load import LoadReport

Measure = Callable[[float], LoadReport]
"""One load at that many requests a second."""

STEP = 1.15  # two rates closer than this are not told apart


@dataclass(frozen=True)
class Capacity:
    """The highest rate that met the target, and every load on the way to it in the order they ran."""

    best: LoadReport | None
    loads: tuple[LoadReport, ...]


def find_capacity(measure: Measure, first_rate_per_s: float, target_p99_s: float) -> Capacity:
    """Double the rate until the 99th percentile exceeds the target, then halve the gap until it is below STEP.

    A load meets the target when its p99, failures counted as never answered, is at most ``target_p99_s``.
    """
    loads: list[LoadReport] = []
    best: LoadReport | None = None

    def meets(rate_per_s: float) -> bool:
        nonlocal best
        report = measure(rate_per_s)
        loads.append(report)
        if report.p99_s() > target_p99_s:
            return False
        if best is None or report.rate_per_s > best.rate_per_s:
            best = report
        return True

    low, high = 0.0, first_rate_per_s
    while meets(high):
        low, high = high, high * 2.0
    if low == 0.0:
        low = first_rate_per_s / 16.0
        if not meets(low):
            return Capacity(None, tuple(loads))
    while high / low > STEP:
        middle = (low * high) ** 0.5
        if meets(middle):
            low = middle
        else:
            high = middle
    return Capacity(best, tuple(loads))
