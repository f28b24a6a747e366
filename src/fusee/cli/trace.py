"""Timing of many runs, and its summary by trtexec's definitions (TensorRT 10 and 11, sampleReporting.cpp)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median

import numpy as np

AVERAGED_RUNS = 10
SHOWN_AVERAGES = 200  # trtexec prints the first and last so many


@dataclass(frozen=True)
class Query:
    """One run: when it began and how long it took, in milliseconds since the first began.

    On a CPU nothing is enqueued or copied to a device: the compute time is the latency.
    """

    start_ms: float
    end_ms: float

    @property
    def latency_ms(self) -> float:
        return self.end_ms - self.start_ms

    def exported(self) -> dict[str, float]:
        """The record of --exportTimes."""
        start, end = self.start_ms, self.end_ms
        return {
            "startEnqMs": start,
            "endEnqMs": start,
            "startH2dMs": start,
            "endH2dMs": start,
            "startComputeMs": start,
            "endComputeMs": end,
            "startD2hMs": end,
            "endD2hMs": end,
            "h2dMs": 0.0,
            "computeMs": end - start,
            "d2hMs": 0.0,
            "latencyMs": end - start,
        }


@dataclass(frozen=True)
class Trace:
    """Queries in order, and the wall-clock time they took together."""

    queries: tuple[Query, ...]
    warmup_queries: int
    warmup_ms: float
    walltime_s: float

    @property
    def latencies_ms(self) -> list[float]:
        return [q.latency_ms for q in self.queries]

    @property
    def throughput_qps(self) -> float:
        return len(self.queries) / self.walltime_s if self.walltime_s else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """trtexec's percentile: the sorted values' element ``n - 1 - int((1 - p / 100) * n)``, 0 at least, in f32."""
    ordered = sorted(values)
    excluded = int((1 - np.float32(percent) / np.float32(100)) * np.float32(len(ordered)))
    return ordered[max(len(ordered) - 1 - excluded, 0)]


def record(run: Callable[[], object], iterations: int, duration_s: float, warmup_ms: float) -> Trace:
    """Run for at least so many iterations and so long (below 0: until interrupted), after an uncounted warm-up."""
    duration_s = duration_s if duration_s >= 0 else math.inf
    begin = time.perf_counter()
    warmups = 0
    while (time.perf_counter() - begin) * 1e3 < warmup_ms:
        run()
        warmups += 1
    queries: list[Query] = []
    first = time.perf_counter()
    while len(queries) < iterations or time.perf_counter() - first < duration_s:
        start = time.perf_counter()
        run()
        queries.append(Query((start - first) * 1e3, (time.perf_counter() - first) * 1e3))
    return Trace(tuple(queries), warmups, warmup_ms, time.perf_counter() - first)


def statistics(values: Sequence[float], percents: Sequence[float]) -> dict[str, float]:
    """min, max, mean, median and the percentiles asked for."""
    found = {"min": min(values), "max": max(values), "mean": mean(values), "median": median(values)}
    return found | {f"percentile({p:g}%)": percentile(values, p) for p in percents}


def summary_lines(trace: Trace, percents: Sequence[float], averaged_runs: int = AVERAGED_RUNS) -> list[str]:
    """What trtexec prints after a run, in its words and order."""
    lines = [
        f"Warmup completed {trace.warmup_queries} queries over {trace.warmup_ms:g} ms",
        f"Timing trace has {len(trace.queries)} queries over {trace.walltime_s:.5g} s",
        "",
        "=== Trace details ===",
        f"Trace averages of {averaged_runs} runs:",
        *_averages(trace, averaged_runs),
        "",
        "=== Performance summary ===",
        f"Throughput: {trace.throughput_qps:.6g} qps",
    ]
    idle = [0.0] * len(trace.queries)
    named = (
        ("Latency", trace.latencies_ms),
        ("Enqueue Time", idle),
        ("H2D Latency", idle),
        ("GPU Compute Time", trace.latencies_ms),
        ("D2H Latency", idle),
    )
    lines += [f"{name}: {_fields(values, percents)}" for name, values in named]
    total_s = sum(trace.latencies_ms) / 1e3
    return [*lines, f"Total Host Walltime: {trace.walltime_s:.6g} s", f"Total GPU Compute Time: {total_s:.6g} s"]


def _fields(values: Sequence[float], percents: Sequence[float]) -> str:
    return ", ".join(f"{name} = {value:.6g} ms" for name, value in statistics(values, percents).items())


def _averages(trace: Trace, runs: int) -> list[str]:
    groups = [trace.latencies_ms[i : i + runs] for i in range(0, len(trace.queries) - runs + 1, runs)]
    shown = groups if len(groups) <= 2 * SHOWN_AVERAGES else [*groups[:SHOWN_AVERAGES], *groups[-SHOWN_AVERAGES:]]
    return [
        f"Average on {runs} runs - GPU latency: {mean(g):.6g} ms - Host latency: {mean(g):.6g} ms (enqueue 0 ms)"
        for g in shown
    ]


def unsteady(trace: Trace) -> str:
    """A warning when the times vary more than trtexec accepts; '' when they do not."""
    values = trace.latencies_ms
    centre = mean(values)
    spread = (sum((v - centre) ** 2 for v in values) / len(values)) ** 0.5 / centre if centre else 0.0
    if spread <= 0.025:
        return ""
    return f"latency varies by {spread:.1%} (coefficient of variation; above 2.5%): is the machine shared?"
