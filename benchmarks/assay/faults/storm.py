"""Faults at random moments: the same ones, in the same order, for the same seed."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
AT_ONCE = 2


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
    """Everything may be killed or hang; what is ours may be asked to stop."""
    return [
        *(Blow(name, How.KILLED) for name in rig.victims),
        *(Blow(name, How.HUNG) for name in rig.victims),
        *(Blow(name, How.STOPPED) for name in rig.own),
    ]


def storm(rig: Rig, duration_s: float, seed: int) -> list[Struck]:
    """Blows until the time is over, each kind once before any comes again, at most ``AT_ONCE`` of them under way.
    All runs again when it returns."""
    random = Random(seed)
    waiting: list[Blow] = []
    running: dict[Future[Struck], Blow] = {}
    done: list[Struck] = []
    ends = monotonic() + duration_s
    with ThreadPoolExecutor(AT_ONCE) as hands:
        while (left_s := ends - monotonic()) > 0:
            sleep(min(random.uniform(*QUIET_S), left_s))
            over, _ = wait(running, None if len(running) == AT_ONCE else 0, FIRST_COMPLETED)
            done += [each.result() for each in over]
            running = {each: blow for each, blow in running.items() if each not in over}
            waiting = waiting or random.sample(blows_on(rig), len(blows_on(rig)))
            if waiting[0].victim not in {blow.victim for blow in running.values()}:
                blow = waiting.pop(0)
                running[hands.submit(strike, rig, blow, random.uniform(*DOWN_S))] = blow
        return [*done, *(each.result() for each in running)]


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
