"""Where the time of a run goes: microseconds of each step, from the threads' own clock readings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from fusee.base.dims import Dim, evaluate
from fusee.base.types import Array
from fusee.engine.plan import KernelStep, Step
from fusee.runtime.bind import HostRun, NativeRun, Results
from fusee.runtime.frame import Frame
from fusee.runtime.names import Names
from fusee.runtime.runner import Runner, compute


@dataclass(frozen=True)
class StepTime:
    """One step of a plan: the median of its times, and what it computes and moves."""

    op: str
    kernel: str  # '' for a step on the host
    loc: tuple[str, ...]
    time_us: float
    flops: int = 0
    traffic_bytes: int = 0


class Stopwatch:
    """Runs the parts of one run, and keeps the time of each step in order."""

    def __init__(self) -> None:
        self.times_us: list[float] = []
        self.steps: list[tuple[Step, Names]] = []

    def __call__(self, run: NativeRun | HostRun, frame: Frame) -> Results | None:
        if isinstance(run, NativeRun):
            self.times_us += run.segment.run_timed()
            self.steps += [(step, run.names) for step in run.steps]
            return None
        start = time.perf_counter()
        results = compute(run, frame)
        self.times_us.append((time.perf_counter() - start) * 1e6)
        self.steps.append((run.step, {}))
        return results


def profile(runner: Runner, inputs: Sequence[Array], runs: int) -> list[StepTime]:
    """The median time of each step over some runs, after one that is not counted."""
    runner.run(inputs)
    watches = [Stopwatch() for _ in range(runs)]
    for watch in watches:
        runner.run(inputs, watch=watch)
    columns = zip(*[w.times_us for w in watches], strict=True)
    return [_step_time(*step, median(times)) for step, times in zip(watches[0].steps, columns, strict=True)]


def _step_time(step: Step, names: Names, time_us: float) -> StepTime:
    if not isinstance(step, KernelStep):
        return StepTime(step.op, "", step.loc, time_us)
    flops, traffic_bytes = _number(step.flops, names), _number(step.traffic_bytes, names)
    return StepTime(step.op, step.kernel, step.loc, time_us, flops, traffic_bytes)


def _number(dim: Dim, names: Names) -> int:
    return evaluate(dim, names)
