"""fusee bench: how long a model takes, alone or interleaved with other engines."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.table import Table

from fusee.base.errors import RequestError
from fusee.cli.arguments import AsJson, Model, Shapes, Threads, open_engine, parse_shapes, sizes_of
from fusee.cli.feeds import random_inputs
from fusee.cli.output import console, print_json
from fusee.cli.trace import Trace, record, statistics, unsteady
from fusee.client.arrivals import Spacing
from fusee.peers.contest import PeerResult
from fusee.peers.race import race
from fusee.peers.statistics import ratio_of_rounds
from fusee.peers.table import PEERS
from fusee.runtime.cores import default_threads

PERCENTS = (90.0, 95.0, 99.0)


def command(
    model: Model,
    shapes: Shapes = "",
    threads: Threads = 0,
    iterations: Annotated[int, typer.Option(min=1, help="At least so many runs.")] = 10,
    duration: Annotated[float, typer.Option(help="At least so many seconds.")] = 3.0,
    warmup: Annotated[float, typer.Option(help="Milliseconds before the clock starts.")] = 200.0,
    vs: Annotated[str, typer.Option("--vs", help="Also measure these, in turn: onnxruntime,openvino.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="With --vs: times that each engine is measured.")] = 5,
    server: Annotated[str, typer.Option(help="Measure MODEL as served at http://host:port, by an open load.")] = "",
    rate: Annotated[float, typer.Option(min=0.01, help="With --server: requests a second.")] = 100.0,
    p99_ms: Annotated[float | None, typer.Option(help="With --server: find the highest rate within it.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="With --server: items in a request.")] = 1,
    spacing: Annotated[Spacing, typer.Option(help="With --server: how requests follow.")] = Spacing.POISSON,
    export_times: Annotated[Path | None, typer.Option(help="Write each run's times, as trtexec does.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure latency and throughput on random inputs."""
    if server:
        _bench_server(server, str(model), shapes, batch, rate, duration, spacing, p99_ms, as_json)
        return
    names = [n for n in vs.split(",") if n]
    if unknown := [n for n in names if n not in PEERS]:
        raise RequestError(f"--vs {unknown[0]}: unknown; it takes {', '.join(n for n in PEERS if n != 'fusee')}")
    if names and model.suffix != ".onnx":
        raise RequestError(f"--vs needs the ONNX model that all engines load, not {model}")
    with open_engine(model, parse_shapes(shapes), quiet=as_json) as engine:
        feeds = random_inputs(engine.plan, sizes_of(engine.plan, parse_shapes(shapes)), seed=0)
        if names:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "model.fusee"
                engine.save(file)
                found = race(model, file, feeds, names, threads or default_threads(), rounds)
            _show_race(found, as_json)
            return
        with engine.session(threads or None) as session:
            trace = record(lambda: session.run(feeds), iterations, duration, warmup)
    if export_times is not None:
        export_times.write_text(json.dumps([q.exported() for q in trace.queries]))
    _show(trace, as_json)


def _bench_server(*what: Any) -> None:
    try:
        from fusee.cli.bench_server import ServerBench, bench_server
    except ImportError as err:
        raise RequestError(f"--server needs the package {err.name!r}: pip install 'fusee[serve]'") from err
    bench_server(ServerBench(*what))


def _show(trace: Trace, as_json: bool) -> None:
    found = statistics(trace.latencies_ms, PERCENTS)
    if as_json:
        print_json({"throughput_qps": trace.throughput_qps, "latency_ms": found, "queries": len(trace.queries)})
        return
    console.print(f"{len(trace.queries)} runs in {trace.walltime_s:.2f} s: {trace.throughput_qps:.1f} per second")
    console.print("latency " + ", ".join(f"{name} {value:.3f} ms" for name, value in found.items()))
    if warning := unsteady(trace):
        console.print(f"note: {warning}")


def _show_race(results: list[PeerResult], as_json: bool) -> None:
    rows = [_row(result, results[0]) for result in results]
    if as_json:
        print_json(rows)
        return
    table = Table("engine", "median ms", "of rounds", "over ours", "of rounds", "difference", box=None, pad_edge=False)
    for row in rows:
        if row["failure"]:
            table.add_row(row["engine"], "failed", row["failure"])
            continue
        low, high = row["rounds_ms"]
        ratio = row["ratio"]
        far = "reference" if row["difference"] is None else f"{row['difference']:.1e}"
        spread = f"{ratio['low']:.2f} to {ratio['high']:.2f}"
        table.add_row(
            row["engine"], f"{row['median_ms']:.3f}", f"{low:.3f} to {high:.3f}", f"{ratio['median']:.2f}", spread, far
        )
    console.print(table)


def _row(result: PeerResult, ours: PeerResult) -> dict[str, Any]:
    if not result.medians_us or not ours.medians_us:
        return {"engine": result.peer, "failure": result.failure or f"{ours.peer}: {ours.failure}"}
    times_ms = [t / 1e3 for t in result.medians_us]
    return {
        "engine": result.peer,
        "failure": None,
        "median_ms": median(times_ms),
        "rounds_ms": (min(times_ms), max(times_ms)),
        "ratio": vars(ratio_of_rounds(result.medians_us, ours.medians_us)),
        "difference": result.difference,
    }
