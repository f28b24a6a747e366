"""The cost of serving itself: an identity model on our server and on Triton with its Python backend.

    python -m benchmarks.serving.identity --rounds 5

Same machine, same client (Triton's own perf_analyzer), the servers measured in turns. Triton runs the model in two
ways, as it comes and with dynamic batching; ours as it comes. Writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from time import monotonic

import onnx
from onnx import TensorProto, helper

from benchmarks.machine import busy_core_s, load_average, machine_facts
from benchmarks.serving import triton_peer
from fusee.client.process import server_process

RESULTS = Path(__file__).parents[1] / "results"
MODEL = "identity"
RUN_S = 30.0
ATTEMPTS = 4
PYTHON_MODEL = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", array)]))
        return answers
"""


BATCHING = {"triton": "", "triton batching": "dynamic_batching { }"}


@dataclass(frozen=True)
class Case:
    """One way to ask: protocol, elements of FP32, and requests under way at a time."""

    protocol: str
    elements: int
    concurrency: int
    requests: int

    def __str__(self) -> str:
        return f"{self.protocol}, {self.elements * 4} bytes, {self.concurrency} at a time"


@dataclass(frozen=True)
class Sample:
    """What perf_analyzer found in one round. Throughput is concurrency over the mean latency."""

    p50_us: float
    p99_us: float
    per_s: float


CASES = tuple(
    Case(protocol, elements, concurrency, requests)
    for protocol in ("http", "grpc")
    for elements, concurrency, requests in ((16, 1, 4000), (16, 16, 20000), (150_528, 1, 600))
)


def write_fusee_model(repository: Path) -> None:
    """The identity of any number of rows, as an ONNX model."""
    rows = ("N", "K")
    graph = helper.make_graph(
        [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])],
        MODEL,
        [helper.make_tensor_value_info("INPUT0", TensorProto.FLOAT, rows)],
        [helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, rows)],
    )
    folder = repository / MODEL / "1"
    folder.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), folder / "model.onnx")


def write_triton_model(repository: Path, batching: str) -> None:
    """The same as a model of Triton's Python backend."""
    folder = repository / MODEL / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(PYTHON_MODEL)
    tensor = '[{{ name: "{}" data_type: TYPE_FP32 dims: [ -1 ] }}]'
    (folder.parent / "config.pbtxt").write_text(
        f'backend: "python"\nmax_batch_size: 16\n{batching}\n'
        f"input {tensor.format('INPUT0')}\noutput {tensor.format('OUTPUT0')}\n"
        "instance_group [{ kind: KIND_CPU count: 1 }]\n"
    )


def measure(home: Path, address: triton_peer.Addresses, case: Case) -> Sample:
    """One run of perf_analyzer, which with 16 requests at a time now and then does not end after its last answer: it
    is then ended and asked again."""
    for _ in range(ATTEMPTS):
        with suppress(subprocess.TimeoutExpired):
            return _measured(home, address, case)
        print(f"perf_analyzer did not end: {case}", flush=True)
    raise SystemExit(f"perf_analyzer did not end in {ATTEMPTS} attempts: {case}")


def _measured(home: Path, address: triton_peer.Addresses, case: Case) -> Sample:
    program, environment = triton_peer.perf_analyzer(home)
    where = address.http if case.protocol == "http" else address.grpc
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "found.csv"
        command = [program, "-m", MODEL, "-i", case.protocol, "-u", where, "-b", "1", "-f", table]
        command += ["--shape", f"INPUT0:{case.elements}", "--request-count", str(case.requests)]
        command += ["--concurrency-range", str(case.concurrency), "--verbose-csv"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=RUN_S)
        if done.returncode != 0:
            raise SystemExit(f"perf_analyzer failed on {case}:\n{done.stdout}{done.stderr}")
        (row,) = csv.DictReader(table.read_text().splitlines())
    return Sample(
        float(row["p50 latency"]), float(row["p99 latency"]), case.concurrency / float(row["Avg latency"]) * 1e6
    )


@contextmanager
def servers(home: Path, options: Sequence[str]) -> Generator[Mapping[str, triton_peer.Addresses]]:
    """Ours and Triton's two, all idle but the one that is asked."""
    with ExitStack() as stack:
        folders = {name: Path(stack.enter_context(tempfile.TemporaryDirectory())) for name in ("ours", *BATCHING)}
        write_fusee_model(folders["ours"])
        ours = stack.enter_context(server_process(folders["ours"], options))
        found = {"ours": triton_peer.Addresses(str(ours.http), str(ours.grpc), str(ours.metrics))}
        for name, batching in BATCHING.items():
            write_triton_model(folders[name], batching)
            found[name] = stack.enter_context(triton_peer.running(home, folders[name]))
        yield found


def ratios(samples: Mapping[str, Sequence[Sample]]) -> Mapping[str, Mapping[str, float]]:
    """How many times better ours is than each way of Triton: latency and throughput, medians over the rounds."""
    ours = samples["ours"]
    return {
        name: {
            "p50": median(s.p50_us for s in samples[name]) / median(s.p50_us for s in ours),
            "throughput": median(s.per_s for s in ours) / median(s.per_s for s in samples[name]),
        }
        for name in BATCHING
    }


def page(document: Mapping[str, object], found: Mapping[Case, Mapping[str, Sequence[Sample]]]) -> str:
    """The result for people."""
    lines = [
        f"# Serving an identity model, {document['date']}",
        "",
        f"`{document['command']}`; medians over the rounds, in brackets their range. Triton 2.51 with its Python",
        "backend, as it comes and with dynamic batching. Throughput is requests under way over the mean latency. The",
        "client, Triton's perf_analyzer, runs on the same cores: with 16 requests at a time it takes about one.",
        "",
        "| case | | ours | Triton | ratio | Triton, batching | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, samples in found.items():
        ratio = ratios(samples)
        for measure, what in (("p50_us", "p50"), ("per_s", "throughput")):
            cells = [_spread([getattr(s, measure) for s in samples["ours"]])]
            for name in BATCHING:
                cells += [_spread([getattr(s, measure) for s in samples[name]]), f"{ratio[name][what]:.2f}"]
            unit = "p50, us" if what == "p50" else "requests/s"
            lines.append(f"| {case} | {unit} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--options", default="", help="further options of fusee serve")
    asked = parser.parse_args()
    home = triton_peer.triton_home()
    if home is None:
        raise SystemExit("no Triton: python -m benchmarks.serving.setup_triton .triton")
    found: dict[Case, dict[str, list[Sample]]] = {case: {} for case in CASES}
    load, busy_s, start = load_average(), busy_core_s(), monotonic()
    with servers(home, asked.options.split()) as addresses:
        for number in range(asked.rounds):
            for case in CASES:
                for name, address in addresses.items():
                    found[case].setdefault(name, []).append(measure(home, address, case))
            print(f"round {number + 1} of {asked.rounds}", flush=True)
    command = f"python -m benchmarks.serving.identity --rounds {asked.rounds}"
    document = {
        "date": date.today().isoformat(),
        "command": command + (f" --options '{asked.options}'" if asked.options else ""),
        "machine": machine_facts(),
        "load_average": load,
        "busy_cores": (busy_core_s() - busy_s) / (monotonic() - start),
        "cases": [
            {**asdict(case), "ratios": ratios(s), "samples": {n: [asdict(x) for x in v] for n, v in s.items()}}
            for case, s in found.items()
        ],
    }
    stem = RESULTS / f"{document['date']}-serving-identity"
    stem.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    stem.with_suffix(".md").write_text(page(document, found))
    print(page(document, found))


if __name__ == "__main__":
    main()
