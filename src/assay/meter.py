"""What this process has counted and timed, for the metrics page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from time import perf_counter

from fusee.server.statistics import Histogram

STAGE_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meter:
    """Counters and stage timings. Thread-safe; gone with the process, as scrapers expect."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._stages: dict[str, Histogram] = {}

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """One more of ``name``: a metric of ``web/metrics.py``, told apart by ``label``."""
        with self._lock:
            self._counts[name, label] += by

    def stage(self, name: str, seconds: float) -> None:
        """A stage on the way to a report took this long."""
        with self._lock:
            self._stages.setdefault(name, Histogram(STAGE_BOUNDS_S)).add(seconds)

    @contextmanager
    def timed(self, name: str) -> Generator[None]:
        """The block is a stage; one that raises is not counted."""
        start = perf_counter()
        yield
        self.stage(name, perf_counter() - start)

    def counts(self, name: str) -> dict[str, int]:
        """By label."""
        with self._lock:
            return {label: count for (counted, label), count in sorted(self._counts.items()) if counted == name}

    def stages(self) -> dict[str, Histogram]:
        """Copies, by stage."""
        with self._lock:
            return {name: _copy(histogram) for name, histogram in self._stages.items()}


def _copy(histogram: Histogram) -> Histogram:
    copy = Histogram(histogram.bounds)
    copy.counts, copy.total = list(histogram.counts), histogram.total
    return copy
