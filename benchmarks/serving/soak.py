"""Ten minutes of what a server meets: traffic on three models, reloads, kills, malformed and slow clients, overload.

    python -m benchmarks.serving.soak --minutes 10

Every answer is checked. A request may be refused (503) while the engine process is being restarted, but never be left
without an answer, and no answer may be wrong. The engine process is killed during the first half; memory is judged over
the second, in all processes. Exits with 1 when something does not hold. Writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

import fusee
from benchmarks.machine import machine_facts
from benchmarks.serving import identity
from fusee.client.address import Address
from fusee.client.arrivals import Arrivals
from fusee.client.infer import PreparedRequest, ask, infer_request
from fusee.client.load import LoadReport, run_load
from fusee.client.process import ServerProcess, server_process
from fusee.server.types import Tensor

RESULTS = Path(__file__).parents[1] / "results"
DIGITS = Path(__file__).parents[2] / "models" / "digits"
SEGMENT_S = 10.0
KILL_EVERY_S = 45.0
RELOAD_EVERY_S = 15.0
SAMPLE_EVERY_S = 2.0
RATES_PER_S: Mapping[str, float] = {"identity": 60.0, "digits": 40.0, "sums": 60.0}
OVERLOAD_PER_S = 3000.0
GROWTH = 0.03  # of resident memory, second half: its last quarter over its first
SUMS_CONFIG = """max_batch_size: 8
dynamic_batching { max_queue_delay_microseconds: 2000 default_queue_policy { max_queue_size: 64 } }
"""


def write_models(repository: Path) -> None:
    """Identity and digits as they come, and sums with a delay and a bounded queue."""
    identity.write_fusee_model(repository)
    (repository / "digits" / "1").mkdir(parents=True)
    (repository / "digits" / "1" / "model.onnx").write_bytes((DIGITS / "digits.onnx").read_bytes())
    weight = numpy_helper.from_array(np.arange(64, dtype=np.float32).reshape(16, 4), "weight")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 4))],
        [weight],
    )
    folder = repository / "sums" / "1"
    folder.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), folder / "model.onnx")
    (folder.parent / "config.pbtxt").write_text(SUMS_CONFIG)


def _request(address: Address, model: str, name: str, array: np.ndarray, expected: np.ndarray) -> PreparedRequest:
    prepared = infer_request(address, model, [Tensor(name, "FP32", array.shape, array)])

    def is_expected(body: bytes) -> bool:
        _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))  # a character a byte: tensors follow the JSON
        found = np.frombuffer(body[end:], np.float32).reshape(expected.shape)
        return bool(np.allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()))

    return PreparedRequest(prepared.parts, is_expected)


def requests_of(address: Address) -> Mapping[str, Sequence[PreparedRequest]]:
    """Requests that all differ, so that an answer given to the wrong caller is seen."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((64, 1, 16), np.float32)
    weight = np.arange(64, dtype=np.float32).reshape(16, 4)
    with np.load(DIGITS / "digits_test.npz") as held_out, fusee.build(DIGITS / "digits.onnx") as engine:
        images = [held_out["images"][i : i + 1] for i in range(64)]
        logits = [engine.run({"image": image})["logits"] for image in images]
    return {
        "identity": [_request(address, "identity", "INPUT0", r, r) for r in rows],
        "digits": [_request(address, "digits", "image", i, e) for i, e in zip(images, logits, strict=True)],
        "sums": [_request(address, "sums", "x", r, r @ weight) for r in rows],
    }


@dataclass
class Findings:
    """What the soak saw; written by several threads, each its own fields."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict[str, Counter[int]])
    wrong: Counter[str] = field(default_factory=Counter[str])
    latencies_s: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    reloads: int = 0
    kills: int = 0
    down_s: list[float] = field(default_factory=list[float])  # from each kill until the server was ready again
    nuisances: Counter[str] = field(default_factory=Counter[str])
    rss_mib: list[tuple[float, dict[str, float]]] = field(default_factory=list[tuple[float, dict[str, float]]])
    overload: dict[str, object] = field(default_factory=dict[str, object])

    def add(self, model: str, report: LoadReport) -> None:
        self.statuses.setdefault(model, Counter()).update(report.statuses)
        self.wrong[model] += report.wrong
        self.latencies_s.setdefault(model, []).extend(report.latencies_s)


class Soak:
    """One server under everything at once."""

    def __init__(self, server: ServerProcess, minutes: float) -> None:
        self.server = server
        self.address = server.http
        self.grpc = server.grpc
        self.half_s = minutes * 30.0
        self.start_s = monotonic()
        self.stopping = threading.Event()
        self.found = Findings()
        self.requests = requests_of(self.address)

    def run(self) -> Findings:
        """All of it at once, then the overload."""
        chaos: list[Callable[[], None]] = [self._reload, self._kill, self._sample, self._malformed, self._slow]
        with ThreadPoolExecutor(len(chaos) + len(RATES_PER_S)) as pool:
            running = [pool.submit(each) for each in chaos]
            traffic = [pool.submit(self._traffic, model) for model in RATES_PER_S]
            for each in traffic:
                each.result()
            self._overload()
            self.stopping.set()
            for each in running:
                each.result()
        return self.found

    def _age_s(self) -> float:
        return monotonic() - self.start_s

    def _traffic(self, model: str) -> None:
        seed = 0
        while self._age_s() < 2 * self.half_s:
            arrivals = Arrivals(RATES_PER_S[model], SEGMENT_S, seed=seed)
            self.found.add(model, run_load(self.address, self.requests[model], arrivals))
            seed += 1

    def _reload(self) -> None:
        models = list(RATES_PER_S)
        while not self.stopping.wait(RELOAD_EVERY_S):
            with suppress(fusee.FuseeError):  # while the engine process is down
                ask(self.address, "POST", f"/v2/repository/models/{models[self.found.reloads % 3]}/load", {})
                self.found.reloads += 1

    def _kill(self) -> None:
        while self._age_s() + KILL_EVERY_S < self.half_s and not self.stopping.wait(KILL_EVERY_S):
            victims = psutil.Process(self.server.process.pid).children()
            if not victims:
                raise SystemExit("the server has no engine process to kill")
            os.kill(victims[0].pid, signal.SIGKILL)
            self.found.kills += 1
            self.found.down_s.append(self._await_ready())

    def _await_ready(self) -> float:
        start_s = monotonic()
        sleep(0.2)  # the server is to have seen it
        while monotonic() - start_s < 60.0:
            with suppress(fusee.FuseeError):
                ask(self.address, "GET", "/v2/health/ready")
                return monotonic() - start_s
            sleep(0.05)
        raise SystemExit("the server did not come back within a minute")

    def _sample(self) -> None:
        root = psutil.Process(self.server.process.pid)
        while not self.stopping.wait(SAMPLE_EVERY_S):
            with suppress(psutil.NoSuchProcess):
                tree = {"front": root, **{f"engine {c.pid}": c for c in root.children()}}
                rss = {name: p.memory_info().rss / 2**20 for name, p in tree.items()}
                self.found.rss_mib.append((self._age_s(), rss))

    def _malformed(self) -> None:
        generator = random.Random(0)
        while not self.stopping.wait(0.1):
            name, content = generator.choice(NUISANCES)
            where = self.grpc if name.startswith("grpc") else self.address
            with suppress(OSError), socket.create_connection((where.host, where.port), timeout=5) as caller:
                caller.sendall(content(generator))
                caller.shutdown(socket.SHUT_WR)
                while caller.recv(65536):
                    pass
            self.found.nuisances[name] += 1

    def _slow(self) -> None:
        """Callers that send a byte now and then, or never read their answers."""
        held: list[socket.socket] = []
        request = self.requests["identity"][0].parts[0]
        while not self.stopping.wait(0.5):
            with suppress(OSError):
                caller = socket.create_connection((self.address.host, self.address.port), timeout=5)
                caller.sendall(request[: len(request) // 2])
                held.append(caller)
                self.found.nuisances["slow"] += 1
            for each in held:
                with suppress(OSError):
                    each.sendall(b"G")
            while len(held) > 64:
                held.pop(0).close()
        for each in held:
            each.close()

    def _overload(self) -> None:
        """Far more than it can do for ten seconds: refused at once, with a time to come back, and nothing grows."""
        process = psutil.Process(self.server.process.pid)
        before = process.memory_info().rss
        arrivals = Arrivals(OVERLOAD_PER_S, SEGMENT_S)
        report = run_load(self.address, self.requests["sums"], arrivals, connections=900)
        self.found.overload = {
            "offered_per_s": OVERLOAD_PER_S,
            "answered_per_s": report.throughput_per_s,
            "statuses": {str(k): v for k, v in report.statuses.items()},
            "wrong": report.wrong,
            "p99_ms": report.percentiles_ms().get("p99"),
            "front_growth_mib": (process.memory_info().rss - before) / 2**20,
        }


def _garbage(generator: random.Random) -> bytes:
    return generator.randbytes(generator.randrange(1, 4000))


def _bad_json(generator: random.Random) -> bytes:
    body = b'{"inputs": [' + b"[" * generator.randrange(1, 2000)
    return b"POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _bad_length(generator: random.Random) -> bytes:
    length = generator.choice((-1, 1 << 62, 10))
    head = "POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    return f"{head}Inference-Header-Content-Length: {length}\r\n\r\n{{}}{{}}".encode()


def _both_lengths(_: random.Random) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


def _long_header(generator: random.Random) -> bytes:
    return b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + b"y" * generator.randrange(1000, 200_000) + b"\r\n\r\n"


def _bad_frames(generator: random.Random) -> bytes:
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + generator.randbytes(generator.randrange(1, 2000))


NUISANCES: tuple[tuple[str, Callable[[random.Random], bytes]], ...] = (
    ("garbage", _garbage),
    ("bad JSON", _bad_json),
    ("bad length", _bad_length),
    ("two lengths", _both_lengths),
    ("long header", _long_header),
    ("grpc garbage", _garbage),
    ("grpc bad frames", _bad_frames),
)


def growth(samples: Sequence[tuple[float, Mapping[str, float]]], first_s: float, last_s: float) -> dict[str, float]:
    """By process that lived throughout: the median of the last quarter over that of the first, less 1."""
    within = [(at_s, rss) for at_s, rss in samples if first_s <= at_s <= last_s]
    quarter = len(within) // 4
    names = set.intersection(*(set(rss) for _, rss in within)) if within else set[str]()
    return {
        name: median(rss[name] for _, rss in within[-quarter:]) / median(rss[name] for _, rss in within[:quarter]) - 1.0
        for name in sorted(names)
    }


def judge(found: Findings, grown: Mapping[str, float]) -> list[str]:
    """What does not hold."""
    faults = [f"{m}: {n} wrong answers" for m, n in found.wrong.items() if n]
    for model, statuses in found.statuses.items():
        faults += [f"{model}: {n} answers with status {s}" for s, n in statuses.items() if s not in (200, 503)]
    faults += [f"{name} grew by {share:.1%}" for name, share in grown.items() if share > GROWTH]
    refused = found.overload.get("statuses")
    if not isinstance(refused, dict) or set(refused) - {"200", "503"} or "503" not in refused:
        faults.append(f"overload was answered with {refused}")
    if found.overload.get("wrong"):
        faults.append(f"{found.overload['wrong']} wrong answers under overload")
    if not found.reloads or not found.kills:
        faults.append(f"{found.reloads} reloads and {found.kills} kills: the soak did not do its work")
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder))
        options = ["--isolate", "--model-control", "explicit", "--load-model", "*"]
        with server_process(Path(folder), options) as server:
            soak = Soak(server, minutes)
            found = soak.run()
    grown = growth(found.rss_mib, soak.half_s, 2 * soak.half_s)
    faults = judge(found, grown)
    today = date.today().isoformat()
    latencies = {
        m: dict(zip(("p50", "p99", "max"), (np.percentile(v, [50, 99, 100]) * 1e3).tolist(), strict=True))
        for m, v in found.latencies_s.items()
    }
    document = {
        "date": today,
        "command": f"python -m benchmarks.serving.soak --minutes {minutes:g}",
        "machine": machine_facts(),
        "latency_ms": latencies,
        "growth": grown,
        "faults": faults,
        **{name: value for name, value in vars(found).items() if name != "latencies_s"},
    }
    text = json.dumps(document, indent=1) + "\n"
    (RESULTS / f"{today}-serving-soak.json").write_text(text)
    shown = {k: document[k] for k in ("statuses", "wrong", "latency_ms", "kills", "down_s", "reloads", "overload")}
    print(json.dumps({**shown, "growth": grown, "nuisances": found.nuisances}, indent=1))
    raise SystemExit("\n".join(faults) if faults else 0)


if __name__ == "__main__":
    main()
