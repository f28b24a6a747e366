"""One run: an installation, customers, faults, and what holds afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.assay.faults.drill import Recovery, recoveries
from benchmarks.assay.faults.installation import Template
from benchmarks.assay.faults.load import Load, Seen
from benchmarks.assay.faults.processes import Stopped
from benchmarks.assay.faults.receiver import Receiver
from benchmarks.assay.faults.rigs import Rig, rig
from benchmarks.assay.faults.storm import Struck
from benchmarks.assay.faults.verdict import broken, remains, seen_by_others, until_idle

SUBMITTERS = 4
LONGEST_STOP_S = 20.0  # requests under way have 10 s of it
Faults = Callable[[Rig], list[Struck]]


@dataclass(frozen=True)
class Outcome:
    """What a run saw."""

    seen: Seen
    drilled: list[Struck]
    stormed: list[Struck]
    idle_s: float  # from the end of the load until nothing was left to do
    recoveries: dict[str, Recovery]  # by kind of what was drilled
    stops: dict[str, Stopped]  # all of ours, at the end
    broken: list[str]  # what does not hold


def no_faults(_: Rig) -> list[Struck]:
    return []


def run(
    scale: str, template: Template, folder: Path, storm: Faults, seed: int = 1, drill: Faults = no_faults
) -> Outcome:
    """``scale``: embedded, distributed. ``drill`` and then ``storm`` are done to it under load; all runs again when
    they return. Raises TimeoutError when the installation does not come to rest."""
    with Receiver() as receiver, rig(scale, template, folder, receiver.url) as running:
        receiver.secrets = [customer.webhook_secret for customer in running.customers]
        with Load(running.addresses, running.customers, template, SUBMITTERS, seed) as load:
            drilled, stormed = drill(running), storm(running)
        idle_s = until_idle(running.settings)
        recovered = recoveries(running.settings, drilled)
        not_holding = seen_by_others(running, load.seen.accepted)
        stops = {name: process.stop() for name, process in running.own.items()}
        not_holding += _left_after(running) + broken(running, load.seen.accepted, receiver)
    not_holding += load.seen.unexpected + _bad_stops([*drilled, *stormed], stops)
    return Outcome(load.seen, drilled, stormed, idle_s, recovered, stops, not_holding)


def _left_after(running: Rig) -> list[str]:
    """What stopped workers had in their hands would lie in the queue now."""
    left = remains(running.settings)
    return [] if left.is_idle else [f"after everything was stopped there is left: {left}"]


def _bad_stops(struck: Sequence[Struck], at_the_end: dict[str, Stopped]) -> list[str]:
    under_load = [(each.blow.victim, each.stopped) for each in struck if each.stopped is not None]
    return [
        f"{name} ended with {stopped.code} {stopped.took_s:.1f} s after SIGTERM"
        for name, stopped in (*under_load, *at_the_end.items())
        if stopped.code != 0 or stopped.took_s > LONGEST_STOP_S
    ]
