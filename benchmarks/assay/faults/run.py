"""One run: an installation, customers, a storm, and what holds afterwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import create_engine, select

from assay.settings import Settings
from assay.store.tables import cases, reports
from benchmarks.assay.faults.installation import Template
from benchmarks.assay.faults.load import Load, Seen
from benchmarks.assay.faults.processes import Stopped
from benchmarks.assay.faults.receiver import Receiver
from benchmarks.assay.faults.rigs import Rig, rig
from benchmarks.assay.faults.storm import Struck
from benchmarks.assay.faults.verdict import broken, remains, seen_by_others, until_idle

SUBMITTERS = 4
LONGEST_STOP_S = 20.0  # requests under way have 10 s of it


@dataclass
class Outcome:
    """What a run saw."""

    seen: Seen
    struck: list[Struck]
    idle_s: float = 0.0  # from the end of the load until nothing was left to do
    stops: dict[str, Stopped] = field(default_factory=dict[str, Stopped])  # all of ours, at the end
    recoveries: Mapping[str, list[Recovery]] = field(default_factory=dict[str, "list[Recovery]"])
    broken: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Recovery:
    """How long what a fault did was felt, in seconds from the fault. None: nothing waited for it."""

    down_s: float  # until the process was back and ready
    first_s: float | None  # until the first report
    all_s: float | None  # until the last report of the cases that were under way


def run(scale: str, template: Template, folder: Path, faults: Callable[[Rig], list[Struck]], seed: int = 1) -> Outcome:
    """``scale``: embedded, distributed. ``faults`` are done to it under load; all runs again when they return.
    Raises TimeoutError when the installation does not come to rest."""
    with Receiver() as receiver, rig(scale, template, folder, receiver.url) as running:
        receiver.secrets = [customer.webhook_secret for customer in running.customers]
        with Load(running.addresses, running.customers, template, SUBMITTERS, seed) as load:
            outcome = Outcome(load.seen, faults(running))
        outcome.idle_s = until_idle(running.settings)
        outcome.recoveries = recoveries(running.settings, outcome.struck)
        outcome.broken += seen_by_others(running, load.seen.accepted)
        outcome.stops = {name: process.stop() for name, process in running.own.items()}
        outcome.broken += _left_after(running) + broken(running, load.seen.accepted, receiver)
    outcome.broken += load.seen.unexpected + _bad_stops(outcome)
    return outcome


def _left_after(running: Rig) -> list[str]:
    """What stopped workers had in their hands would lie in the queue now."""
    left = remains(running.settings)
    return [] if left.is_idle else [f"after everything was stopped there is left: {left}"]


def _bad_stops(outcome: Outcome) -> list[str]:
    stops = [(each.blow.victim, each.stopped) for each in outcome.struck if each.stopped is not None]
    return [
        f"{name} ended with {stopped.code} {stopped.took_s:.1f} s after SIGTERM"
        for name, stopped in (*stops, *outcome.stops.items())
        if stopped.code != 0 or stopped.took_s > LONGEST_STOP_S
    ]


def recoveries(settings: Settings, struck: Sequence[Struck]) -> dict[str, list[Recovery]]:
    """By kind of fault."""
    engine = create_engine(settings.database_url)
    query = select(cases.c.submitted_at, reports.c.created_at).join(reports, reports.c.case_id == cases.c.id)
    with closing(engine.connect()) as connection:
        times = [(row.submitted_at, row.created_at) for row in connection.execute(query)]
    engine.dispose()
    found: dict[str, list[Recovery]] = defaultdict(list)
    for each in struck:
        found[each.blow.kind].append(_recovery(each, times))
    return found


def _recovery(struck: Struck, times: Sequence[tuple[datetime, datetime]]) -> Recovery:
    later = [(submitted, reported) for submitted, reported in times if reported > struck.at]
    waiting = [reported for submitted, reported in later if submitted < struck.at]
    first = min((reported for _, reported in later), default=None)
    return Recovery(
        (struck.back_at - struck.at).total_seconds(),
        None if first is None else (first - struck.at).total_seconds(),
        (max(waiting) - struck.at).total_seconds() if waiting else None,
    )
