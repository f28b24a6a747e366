"""Measures Fusee against other engines, in turns.

Run: ``python -m benchmarks.compare --models all --threads 1,2 --rounds 5``.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import onnx

from benchmarks.machine import busy_core_s, load_average, machine_facts
from benchmarks.models import MODELS, BenchmarkModel
from benchmarks.results import Case, Comparison, markdown, save
from fusee.peers.contest import Contestant, PeerResult, check_outputs, enter, take_turns
from fusee.peers.process import PeerFailure, last_words
from fusee.peers.table import PEERS


@dataclass(frozen=True)
class Options:
    """What to measure."""

    models: tuple[str, ...]
    peers: tuple[str, ...]
    """The first is the one under test."""
    threads: tuple[int, ...]
    rounds: int
    turn_s: float
    """How long one engine runs in each round."""


def compare(options: Options, say: Callable[[str], None]) -> tuple[Case, ...]:
    """Measures every model with every number of threads."""
    cases: list[Case] = []
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            prepared = _prepare(MODELS[name], options.peers, Path(folder), say)
            for threads in options.threads:
                say(f"{name}, {threads} thread(s)")
                cases.append(_measure(prepared, threads, options))
                say(_case_line(cases[-1]))
    return tuple(cases)


@dataclass(frozen=True)
class Prepared:
    """A model's files: its inputs, and for each engine what it loads, or why there is nothing."""

    model: str
    folder: Path
    inputs: Path
    files: dict[str, Path | PeerFailure]
    build_s: dict[str, float]


def _prepare(model: BenchmarkModel, peers: Sequence[str], folder: Path, say: Callable[[str], None]) -> Prepared:
    say(f"{model.name}: writing the model")
    graph, inputs = folder / f"{model.name}.onnx", folder / "inputs.npz"
    onnx.save(model.build(1), graph)
    np.savez(inputs, allow_pickle=False, **model.inputs(0, 1))
    files: dict[str, Path | PeerFailure] = {}
    build_s: dict[str, float] = {}
    for peer in peers:
        if not PEERS[peer].builds:
            files[peer] = graph
            continue
        say(f"{model.name}: building for {peer}")
        start = perf_counter()
        files[peer] = _build(peer, graph)
        build_s[peer] = perf_counter() - start
    return Prepared(model.name, folder, inputs, files, build_s)


def _build(peer: str, graph: Path) -> Path | PeerFailure:
    """The engine file that the command line makes of the model, or why it made none."""
    engine = graph.with_suffix(f".{peer}")
    command = [sys.executable, "-m", peer, "build", str(graph), "-o", str(engine)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return engine
    return PeerFailure(f"build ended with status {done.returncode}: {last_words(done.stderr or done.stdout)}")


def _measure(prepared: Prepared, threads: int, options: Options) -> Case:
    before = load_average()
    contestants = [_entered(prepared, peer, threads, options.turn_s) for peer in options.peers]
    try:
        reference = check_outputs(contestants, prepared.folder)
        others_cores = _take_turns(contestants, options.rounds)
        results = tuple(contestant.finished() for contestant in contestants)
    finally:
        for contestant in contestants:
            if contestant.process:
                contestant.process.close()
    return Case(prepared.model, threads, before, reference, others_cores, results)


def _entered(prepared: Prepared, peer: str, threads: int, turn_s: float) -> Contestant:
    file = prepared.files[peer]
    if isinstance(file, PeerFailure):
        return Contestant(PeerResult(peer, failure=str(file), build_s=prepared.build_s.get(peer)))
    contestant = enter(peer, file, threads, prepared.inputs, turn_s)
    contestant.result = replace(contestant.result, build_s=prepared.build_s.get(peer))
    return contestant


def _take_turns(contestants: list[Contestant], rounds: int) -> float:
    """All rounds; gives the cores that other processes kept busy meanwhile."""
    start, busy, ours = perf_counter(), busy_core_s(), _our_core_s(contestants)
    take_turns(contestants, rounds)
    theirs = busy_core_s() - busy - (_our_core_s(contestants) - ours)
    return max(0.0, theirs / (perf_counter() - start))


def _our_core_s(contestants: Sequence[Contestant]) -> float:
    engines = sum(contestant.process.core_s() for contestant in contestants if contestant.process)
    return process_time() + engines


def _case_line(case: Case) -> str:
    times = [
        f"{result.peer} {median(result.medians_us) / 1e3:.2f} ms" if result.medians_us else f"{result.peer} failed"
        for result in case.results
    ]
    best = case.best_ratio()
    return "  " + ", ".join(times) + (f"; best peer over ours {best.median:.3f}" if best else "")


def _options(arguments: Sequence[str]) -> tuple[Options, str, Path]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Measures engines in turns.")
    parser.add_argument("--models", default="all", help="names with commas between, or all (default)")
    parser.add_argument("--peers", default=",".join(PEERS), help="engines; the first is measured against the others")
    parser.add_argument("--threads", default="1,2", help="numbers with commas between (default: 1,2)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each engine (default: 5)")
    parser.add_argument("--turn", type=float, default=0.4, help="seconds an engine runs in each round (default: 0.4)")
    parser.add_argument("--name", default="f32-batch1", help="of the result files (default: f32-batch1)")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "results", help="for the result files")
    given = parser.parse_args(arguments)
    models = tuple(MODELS) if given.models == "all" else tuple(given.models.split(","))
    peers = tuple(given.peers.split(","))
    for kind, names, known in (("model", models, MODELS), ("engine", peers, PEERS)):
        for name in names:
            if name not in known:
                parser.error(f"there is no {kind} {name!r}; there are: {', '.join(known)}")
    threads = tuple(int(number) for number in given.threads.split(","))
    return Options(models, peers, threads, given.rounds, given.turn), given.name, given.folder


def main(arguments: Sequence[str]) -> None:
    """Reads the command line, measures, writes both files and prints the page."""
    options, name, folder = _options(arguments)
    load = load_average()
    cases = compare(options, lambda line: print(line, file=sys.stderr, flush=True))
    command = shlex.join(("python", "-m", "benchmarks.compare", *arguments))
    found = Comparison(name, date.today().isoformat(), command, options.rounds, load, machine_facts(), cases)
    paths = save(found, folder)
    print(markdown(found))
    print("written:", *(path.name for path in paths))


if __name__ == "__main__":
    main(sys.argv[1:])
