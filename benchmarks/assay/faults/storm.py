"""Faults at random moments: the same ones, in the same order, for the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from random import Random
from time import monotonic, sleep

from assay.installation import utc_now
from benchmarks.assay.faults.processes import Process, Stopped
from benchmarks.assay.faults.rigs import LEASE_S, Rig

QUIET_S = (1.0, 6.0)  # between two faults
DOWN_S = (0.0, 5.0)  # between a kill and the restart
TWO_AT_ONCE = 0.2  # of the faults are two


class How(Enum):
    """What is done to a process."""

    KILLED = "killed"  # SIGKILL, and started again a little later
    HUNG = "hung"  # SIGSTOP for longer than its leases, then SIGCONT
    STOPPED = "stopped"  # SIGTERM, and started again when it has ended


@dataclass(frozen=True)
class Blow:
    """One fault to be."""

    victim: str
    how: How

    @property
    def kind(self) -> str:
        """Without the number that tells two of one kind apart."""
        return f"{self.victim.rstrip(' 0123456789')} {self.how.value}"


@dataclass(frozen=True)
class Struck:
    """One fault that was."""

    blow: Blow
    at: datetime
    back_at: datetime  # it runs again, and has said that it is ready
    stopped: Stopped | None  # where it was asked to stop


def blows_on(rig: Rig) -> list[Blow]:
    """Everything may be killed. What judges may hang; what is ours may be asked to stop."""
    return [
        *(Blow(name, How.KILLED) for name in rig.victims),
        *(Blow(name, How.HUNG) for name in rig.workers),
        *(Blow(name, How.STOPPED) for name in rig.own),
    ]


def storm(rig: Rig, duration_s: float, seed: int) -> list[Struck]:
    """Blows until the time is over, each kind once before any comes again. All runs again when it returns."""
    random = Random(seed)
    waiting: list[Blow] = []
    struck: list[Struck] = []
    ends = monotonic() + duration_s
    with ThreadPoolExecutor(2) as hands:
        while True:
            sleep(random.uniform(*QUIET_S))
            if monotonic() >= ends:
                return struck
            if len(waiting) < 2:
                waiting += random.sample(blows_on(rig), len(blows_on(rig)))
            now = [waiting.pop(0)]
            if random.random() < TWO_AT_ONCE and waiting[0].victim != now[0].victim:
                now.append(waiting.pop(0))
            downs = [random.uniform(*DOWN_S) for _ in now]
            struck += hands.map(strike, [rig] * len(now), now, downs)


def strike(rig: Rig, blow: Blow, down_s: float) -> Struck:
    """One fault, until it is over. A hung process hangs ``down_s`` longer than its leases."""
    victim, at, stopped = rig.victims[blow.victim], utc_now(), None
    match blow.how:
        case How.KILLED:
            victim.kill()
            sleep(down_s)
            victim.restart()
        case How.HUNG:
            victim.pause()
            sleep(LEASE_S + 1.0 + down_s)
            victim.resume()
        case How.STOPPED:
            process: Process = rig.own[blow.victim]
            stopped = process.stop()
            process.restart()
    return Struck(blow, at, utc_now(), stopped)


def counts(struck: list[Struck]) -> Mapping[str, int]:
    kinds = [each.blow.kind for each in struck]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
