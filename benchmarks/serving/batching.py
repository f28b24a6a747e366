"""What dynamic batching gives under an open load, beside what the engine's own batch curve allows.

    python -m benchmarks.serving.batching

For each model: the engine alone at batch sizes 1 to 16, then the highest rate of single requests (Poisson) that the
server answers within a p99 latency, with batching and without. Writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import fusee
from benchmarks.machine import load_average, machine_facts
from benchmarks.models import MODELS
from fusee.client.arrivals import Arrivals
from fusee.client.capacity import Capacity, find_capacity
from fusee.client.infer import ask, infer_request, random_tensors
from fusee.client.load import LoadReport, run_load
from fusee.client.process import server_process

RESULTS = Path(__file__).parents[1] / "results"
SIZES = (1, 2, 4, 8, 16)
WIDTH, LAYERS = 2048, 4
WAYS: Mapping[str, str] = {
    "batch 1": "max_batch_size: 1\n",
    "batching": "max_batch_size: 16\ndynamic_batching { }\n",
}


@dataclass(frozen=True)
class Subject:
    """A model, the latency asked of it, and the rate at which the search begins."""

    name: str
    make: Callable[[], onnx.ModelProto]
    target_p99_ms: float
    first_rate_per_s: float


def dense() -> onnx.ModelProto:
    """Four products with 2048x2048 weights: at batch 1 their time is that of reading 64 MiB."""
    generator = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    for i in range(LAYERS):
        weight = generator.standard_normal((WIDTH, WIDTH), np.float32) / np.float32(WIDTH**0.5)
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"y{i}"]))
        nodes.append(helper.make_node("Tanh", [f"y{i}"], [f"x{i + 1}"]))
    types = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("N", WIDTH)) for n in ("x0", f"x{LAYERS}")]
    graph = helper.make_graph(nodes, "dense", types[:1], types[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


SUBJECTS = (
    Subject("resnet50", lambda: MODELS["resnet50"].build("N"), 150.0, 20.0),
    Subject("dense", dense, 40.0, 100.0),
)


def batch_curve(path: Path) -> Mapping[int, float]:
    """Milliseconds of one run by batch size: medians of runs taken in turns over the sizes."""
    times_ms: dict[int, list[float]] = {size: [] for size in SIZES}
    with fusee.load(path) as engine, engine.session() as session:
        (entry,) = engine.inputs
        shape = [d if isinstance(d, int) else 0 for d in entry.type.shape[1:]]
        feeds = {n: {entry.name: np.random.default_rng(n).standard_normal((n, *shape), np.float32)} for n in SIZES}
        for number in range(9):
            for size in SIZES:
                start = perf_counter()
                session.run(feeds[size])
                if number > 1:
                    times_ms[size].append((perf_counter() - start) * 1e3)
    return {size: median(times) for size, times in times_ms.items()}


def allowed(curve: Mapping[int, float]) -> float:
    """How many times the items a second of batch 1 the engine does at its best batch size."""
    return max(curve[1] * size / time_ms for size, time_ms in curve.items())


def capacity(subject: Subject, engine: Path, way: str, duration_s: float) -> Capacity:
    """The highest rate within the subject's latency, of a server that serves it in that way."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / subject.name
        (place / "1").mkdir(parents=True)
        shutil.copy(engine, place / "1" / "model.fusee")
        (place / "config.pbtxt").write_text(WAYS[way])
        with server_process(Path(folder)) as server:
            address = server.http
            metadata = ask(address, "GET", f"/v2/models/{subject.name}")
            request = infer_request(address, subject.name, random_tensors(metadata, {}, 1, seed=0))

            def measure(rate_per_s: float) -> LoadReport:
                return run_load(address, [request], Arrivals(rate_per_s, duration_s))

            return find_capacity(measure, subject.first_rate_per_s, subject.target_p99_ms / 1e3)


def study(subject: Subject, rounds: int, duration_s: float) -> Mapping[str, object]:
    """Curve and capacities of one subject; the ways in turns."""
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / "model.fusee"
        with fusee.build(subject.make()) as built:
            built.save(engine)
        curve = batch_curve(engine)
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        p99_ms: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                best = capacity(subject, engine, way, duration_s).best
                rates[way].append(best.rate_per_s if best else 0.0)
                p99_ms[way].append(best.p99_s() * 1e3 if best else float("inf"))
    return {
        "model": subject.name,
        "target_p99_ms": subject.target_p99_ms,
        "curve_ms": curve,
        "allowed": allowed(curve),
        "rates_per_s": rates,
        "p99_ms": p99_ms,
        "ratio": median(rates["batching"]) / median(rates["batch 1"]),
    }


def page(document: Mapping[str, object], studies: list[Mapping[str, object]]) -> str:
    """The result for people."""
    lines = [
        f"# Dynamic batching, {document['date']}",
        "",
        f"`{document['command']}`; requests of one item,",
        "Poisson arrivals, client on the same machine. The curve is the engine alone; what it allows is items a second",
        "at its best batch size over those at batch 1.",
        "",
        "| model | p99 asked | ms by batch size | curve allows | batch 1, requests/s | batching, requests/s | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for s in studies:
        curve, rates = s["curve_ms"], s["rates_per_s"]
        assert isinstance(curve, dict)
        assert isinstance(rates, dict)
        shown = ", ".join(f"{size}: {ms:.1f}" for size, ms in curve.items())
        each = [f"{median(r):.0f} ({min(r):.0f} to {max(r):.0f})" for r in rates.values()]
        lines.append(
            f"| {s['model']} | {s['target_p99_ms']} ms | {shown} | {s['allowed']:.2f}x | {' | '.join(each)} | "
            f"{s['ratio']:.2f}x |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration-s", type=float, default=5.0, help="of each load")
    asked = parser.parse_args()
    document = {
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks.serving.batching --rounds {asked.rounds} --duration-s {asked.duration_s:g}",
        "machine": machine_facts(),
        "load_average": load_average(),
    }
    studies = [study(subject, asked.rounds, asked.duration_s) for subject in SUBJECTS]
    stem = RESULTS / f"{document['date']}-serving-batching"
    stem.with_suffix(".json").write_text(json.dumps({**document, "studies": studies}, indent=1) + "\n")
    stem.with_suffix(".md").write_text(page(document, studies))
    print(page(document, studies))


if __name__ == "__main__":
    main()
