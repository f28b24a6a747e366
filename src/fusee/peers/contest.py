"""Engines measured in turns, each in a process of its own, so that the machine's mood falls on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import sleep

from fusee.peers.process import Loading, Memory, PeerFailure, PeerProcess
from fusee.peers.statistics import difference, round_medians
from fusee.peers.table import Array

REFERENCE = "onnxruntime"
"""Whose outputs the others are held against, where it works."""
PAUSE_S = 0.1
"""Before each turn: worker threads of the engine before stop spinning, and the other core is idle."""
LEAST_RUNS, MOST_RUNS = 3, 500


@dataclass(frozen=True)
class PeerResult:
    """One engine on one model with one number of threads; ``failure`` says why figures are missing."""

    peer: str
    failure: str | None = None
    medians_us: tuple[float, ...] = ()
    """The median time of each round."""
    fastest_us: float | None = None
    runs: int = 0
    difference: float | None = None
    """Largest difference from the reference engine's outputs, as a share of their range; None for the reference."""
    loading: Loading | None = None
    memory: Memory | None = None
    build_s: float | None = None


@dataclass
class Contestant:
    """An engine of a case on its way through the rounds."""

    result: PeerResult
    process: PeerProcess | None = None
    rounds_us: list[list[float]] = field(default_factory=list[list[float]])
    runs: int = LEAST_RUNS

    def fail(self, failure: PeerFailure) -> None:
        """Keeps the reason, and takes no further part."""
        self.result = replace(self.result, failure=str(failure))
        self.process = None

    def turn(self) -> None:
        """Runs once to warm the caches, then as often as a turn holds."""
        if self.process is None:
            return
        sleep(PAUSE_S)
        try:
            self.rounds_us.append(self.process.run(self.runs + 1)[1:])
        except PeerFailure as failure:
            self.fail(failure)

    def finished(self) -> PeerResult:
        """The result with the times of all rounds; a failed engine has none."""
        if self.process is None:
            return self.result
        times = [time for one_round in self.rounds_us for time in one_round]
        return replace(
            self.result,
            medians_us=round_medians(self.rounds_us),
            fastest_us=min(times),
            runs=len(times),
            memory=self.process.memory(),
        )


def enter(peer: str, file: Path, threads: int, inputs: Path, turn_s: float) -> Contestant:
    """The engine loaded and warm, knowing how many runs fill a turn of ``turn_s`` seconds."""
    contestant = Contestant(PeerResult(peer))
    try:
        process = PeerProcess(peer, file, threads, inputs)
        typical_us = median(process.run(LEAST_RUNS))
    except PeerFailure as failure:
        contestant.fail(failure)
        return contestant
    contestant.process = process
    contestant.runs = min(MOST_RUNS, max(LEAST_RUNS, round(turn_s * 1e6 / typical_us)))
    contestant.result = replace(contestant.result, loading=process.loading)
    return contestant


def take_turns(contestants: Sequence[Contestant], rounds: int) -> None:
    """All rounds, each starting with another engine."""
    for number in range(rounds):
        first = number % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            contestant.turn()


def check_outputs(contestants: Sequence[Contestant], folder: Path) -> str | None:
    """Holds every engine's outputs against the reference's, and gives the reference's name."""
    outputs: dict[str, dict[str, Array]] = {}
    for contestant in contestants:
        if contestant.process is None:
            continue
        try:
            outputs[contestant.result.peer] = contestant.process.outputs(folder / "outputs.npz")
        except PeerFailure as failure:
            contestant.fail(failure)
    if not outputs:
        return None
    reference = REFERENCE if REFERENCE in outputs else next(iter(outputs))
    for contestant in contestants:
        peer = contestant.result.peer
        if peer in outputs and peer != reference:
            contestant.result = replace(contestant.result, difference=difference(outputs[reference], outputs[peer]))
    return reference
