"""What `fusee bench --server` does: open-loop load on a served model, or the search for what it can take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from fusee.base.errors import RequestError
from fusee.base.switches import KEY
from fusee.cli.arguments import parse_shapes
from fusee.cli.output import console, print_json
from fusee.client.address import Address
from fusee.client.arrivals import Arrivals, Spacing
from fusee.client.capacity import find_capacity
from fusee.client.infer import PreparedRequest, ask, infer_request, random_tensors
from fusee.client.load import LoadReport, run_load
from fusee.server.types import Json

LATE_SHARE = 0.2  # of the p99 latency; a client later than that measured itself
STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True)
class ServerBench:
    """What to send where."""

    url: str
    model: str
    shapes: str
    batch: int
    rate_per_s: float
    duration_s: float
    spacing: Spacing
    target_p99_ms: float | None
    as_json: bool


def bench_server(bench: ServerBench) -> None:
    """Measure a served model and print what was found."""
    address = Address.of(bench.url)
    request = _request(address, bench)

    def measure(rate_per_s: float) -> LoadReport:
        return run_load(address, [request], Arrivals(rate_per_s, bench.duration_s, bench.spacing))

    before = _stages(address, bench.model)
    if bench.target_p99_ms is None:
        loads = (measure(bench.rate_per_s),)
        best = loads[0]
    else:
        found = find_capacity(measure, bench.rate_per_s, bench.target_p99_ms / 1e3)
        loads, best = found.loads, found.best
    stages = {name: _mean_us(before[name], after) for name, after in _stages(address, bench.model).items()}
    if bench.as_json:
        print_json({"loads": [_row(r) for r in loads], "best": _row(best) if best else None, "server_mean_us": stages})
        return
    console.print(_table(loads))
    console.print("in the server, on average: " + ", ".join(f"{n} {us:.0f} us" for n, us in stages.items()))
    if bench.target_p99_ms is not None:
        answered = f"{best.rate_per_s:.1f} requests/s" if best else "no rate that was tried"
        console.print(f"within p99 <= {bench.target_p99_ms:g} ms: {answered}")
    for report in loads:
        if report.lateness_s > LATE_SHARE * report.p99_s():
            console.print(f"note: at {report.rate_per_s:.0f}/s the client itself was late; its figures are too high")


def _request(address: Address, bench: ServerBench) -> PreparedRequest:
    key = KEY.text()
    metadata = ask(address, "GET", f"/v2/models/{bench.model}", api_key=key)
    names = [i["name"] for i in metadata["inputs"]]
    sizes = parse_shapes(bench.shapes, names)
    if unknown := sorted(set(sizes) - set(names)):
        raise RequestError(f"--shapes {unknown[0]!r}: model {bench.model!r} has the inputs {', '.join(names)}")
    return infer_request(address, bench.model, random_tensors(metadata, sizes, bench.batch, seed=0), key)


def _stages(address: Address, model: str) -> dict[str, Json]:
    found = ask(address, "GET", f"/v2/models/{model}/stats", api_key=KEY.text())
    stages = [entry["inference_stats"] for entry in found["model_stats"]]
    return {name: {k: sum(s[name][k] for s in stages) for k in ("count", "ns")} for name in STAGES}


def _mean_us(before: Json, after: Json) -> float:
    count = after["count"] - before["count"]
    return (after["ns"] - before["ns"]) / count / 1e3 if count else 0.0


def _row(report: LoadReport) -> dict[str, Any]:
    return {
        "rate_per_s": report.rate_per_s,
        "throughput_per_s": report.throughput_per_s,
        "latency_ms": report.percentiles_ms(),
        "failed": {str(status): n for status, n in report.statuses.items() if status != 200},
        "client_lateness_ms": report.lateness_s * 1e3,
    }


def _table(loads: tuple[LoadReport, ...]) -> Table:
    table = Table(
        "rate/s", "answered/s", "p50 ms", "p90", "p95", "p99", "p99.9", "max", "failed", box=None, pad_edge=False
    )
    for report in loads:
        shown = [f"{v:.2f}" for v in report.percentiles_ms().values()] or ["-"] * 6
        table.add_row(f"{report.rate_per_s:.1f}", f"{report.throughput_per_s:.1f}", *shown, str(report.failed))
    return table
