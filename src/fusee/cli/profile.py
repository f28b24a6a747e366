"""fusee profile: where the time of an engine goes, step by step, beside what the machine could do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from fusee.cli.arguments import AsJson, Model, Shapes, Threads, open_engine, parse_shapes, sizes_of
from fusee.cli.feeds import random_inputs
from fusee.cli.output import console, print_json
from fusee.runtime.profile import StepTime


@dataclass(frozen=True)
class Row:
    """One line of the table; ``share`` is of the run's time."""

    step: StepTime
    share: float

    @property
    def gflops_per_s(self) -> float:
        return self.step.flops / self.step.time_us / 1e3 if self.step.time_us else 0.0

    @property
    def gb_per_s(self) -> float:
        return self.step.traffic_bytes / self.step.time_us / 1e3 if self.step.time_us else 0.0


def command(
    model: Model,
    shapes: Shapes = "",
    threads: Threads = 0,
    runs: Annotated[int, typer.Option(min=1, help="Runs; each step's time is the median.")] = 20,
    top: Annotated[int, typer.Option("--top", help="Only the slowest steps; 0 for all, in order.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Time every step of an engine: microseconds, GFLOP/s, GB/s, and the model's nodes it stands for."""
    with open_engine(model, parse_shapes(shapes), quiet=as_json) as engine:
        feeds = random_inputs(engine.plan, sizes_of(engine.plan, parse_shapes(shapes)), seed=0)
        with engine.session(threads or None) as session:
            steps = session.profile(feeds, runs)
    total_us = sum(s.time_us for s in steps) or 1.0
    rows = [Row(s, s.time_us / total_us) for s in steps]
    if as_json:
        print_json([_values(row) for row in rows])
        return
    if top:
        rows = sorted(rows, key=lambda r: -r.step.time_us)[:top]
    console.print(_table(rows))
    console.print(f"total {total_us / 1e3:.3f} ms in {len(steps)} steps")


def _values(row: Row) -> dict[str, object]:
    return {
        "op": row.step.op,
        "kernel": row.step.kernel,
        "time_us": row.step.time_us,
        "share": row.share,
        "gflops_per_s": row.gflops_per_s,
        "gb_per_s": row.gb_per_s,
        "from": list(row.step.loc),
    }


def _table(rows: list[Row]) -> Table:
    table = Table("op", "kernel", box=None, pad_edge=False)
    for heading in ("µs", "%", "GFLOP/s", "GB/s"):
        table.add_column(heading, justify="right")
    table.add_column("from", overflow="ellipsis", no_wrap=True)
    for row in rows:
        figures = (f"{row.step.time_us:.1f}", f"{row.share:.1%}", f"{row.gflops_per_s:.1f}", f"{row.gb_per_s:.1f}")
        table.add_row(row.step.op.split("(")[0][:40], row.step.kernel or "host", *figures, ", ".join(row.step.loc[:3]))
    return table
