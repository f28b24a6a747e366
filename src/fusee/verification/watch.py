"""What FUSEE_DEBUG prints of a finished engine: 2 its steps with times, 4 their sources as well."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from fusee.base.switches import debug_level
from fusee.base.types import Array
from fusee.runtime.engine import Engine
from fusee.runtime.profile import StepTime

RUNS = 5


def show_sources(texts: Mapping[str, str]) -> None:
    """Print the LLVM IR of every function, from level 4 on."""
    if debug_level() >= 4:
        print("\n".join(f"; {name}\n{text}" for name, text in texts.items()), file=sys.stderr)


def show_steps(engine: Engine, feeds: Mapping[str, Array]) -> None:
    """Run on one thread and print each step with its kernel, time and rates, from level 2 on."""
    if debug_level() < 2:
        return
    with engine.session(threads=1) as session:
        steps = session.profile(feeds, RUNS)
    print("\n".join(step_line(i, step) for i, step in enumerate(steps)), file=sys.stderr)


def step_line(number: int, step: StepTime) -> str:
    """``  3 conv  TiledConv(…)  12.3 us  101.0 GFLOP/s  5.1 GB/s  <- /layer1/conv1``."""
    per_us = 1 / step.time_us if step.time_us else 0.0
    rates = f"{step.flops * per_us / 1e3:.1f} GFLOP/s  {step.traffic_bytes * per_us / 1e3:.1f} GB/s"
    return f"{number:4} {step.op}  {step.kernel or 'host'}  {step.time_us:.1f} us  {rates}  <- {', '.join(step.loc)}"
