"""The page of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from benchmarks.assay.faults.processes import Stopped
from benchmarks.assay.faults.rigs import HEARTBEAT_S, LEASE_S
from benchmarks.assay.faults.run import SUBMITTERS, Outcome
from benchmarks.machine import machine_facts

RESULTS = Path(__file__).parents[2] / "results"
HOLDS = (
    "Every accepted case is reported, by one report that verifies; it has one audit entry and one webhook, which "
    "arrived; the audit chains hold; no case failed, nothing is left in the outbox, the queue or the dead letters; no "
    "tenant sees another's cases; every process that was asked to stop ended with 0."
)
READING = (
    "One fault at a time under load, each over before the next, in seconds from the fault. Ready: the process is back "
    "and says so; a killed one is started again 1 s later, a hung one goes on 1 s after its leases. First report: the "
    "next one, whoever gives it. All: the last report of the cases that were accepted before the fault."
)


def write_page(outcome: Outcome, scale: str, minutes: float, seed: int) -> str:
    """Beside its figures as JSON."""
    today = date.today().isoformat()
    command = f"python -m benchmarks.assay.faults --minutes {minutes:g} --scale {scale} --seed {seed}"
    page = f"# Faults, {scale}, {today}\n\n" + "\n\n".join(_parts(outcome, command)) + "\n"
    figures = {
        "date": today,
        "command": command,
        "machine": machine_facts(),
        "accepted": len(outcome.seen.accepted),
        "submissions": outcome.seen.statuses,
        "looks": outcome.seen.reads,
        "recoveries": {kind: asdict(found) for kind, found in outcome.recoveries.items()},
        "storm": Counter(each.blow.kind for each in outcome.stormed),
        "idle_s": outcome.idle_s,
        "stops": [[name, when, *stopped] for name, when, stopped in _stops(outcome)],
        "broken": outcome.broken,
    }
    file = RESULTS / f"{today}-assay-faults-{scale}"
    file.with_suffix(".md").write_text(page)
    file.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    return page


def _parts(outcome: Outcome, command: str) -> list[str]:
    holds = "\n".join(f"- {line}" for line in outcome.broken) if outcome.broken else HOLDS
    storm = Counter(each.blow.kind for each in outcome.stormed)
    return [
        _head(outcome, command),
        f"## What holds\n\n{holds}",
        f"## Recovery\n\n{READING}\n\n{_recovery_table(outcome)}",
        f"## The storm\n\nAt random moments, up to two at once: {_counted(storm)}.",
        f"## SIGTERM\n\n{_stop_table(outcome)}",
    ]


def _head(outcome: Outcome, command: str) -> str:
    machine, accepted = machine_facts(), outcome.seen.accepted
    longest = max((each.waited_s for each in accepted), default=0.0)
    lines = (
        f"Command: `{command}`",
        f"Processor: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, shared with other work",
        f"{SUBMITTERS} customers at once, who do not give up; leases of {LEASE_S:g} s; RabbitMQ's heartbeat "
        f"{HEARTBEAT_S} s",
        f"{len(accepted)} cases accepted; the longest took {longest:.1f} s to be accepted. Submissions: "
        f"{_counted(outcome.seen.statuses)}. Looks at them: {_counted(outcome.seen.reads)}",
        f"From the end of the load until nothing was left to do: {outcome.idle_s:.1f} s",
    )
    return "\n".join(f"- {line}" for line in lines)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in counter.most_common()) or "none"


def _recovery_table(outcome: Outcome) -> str:
    rows = [
        [kind, *map(_seconds, (found.down_s, found.first_s, found.all_s))]
        for kind, found in sorted(outcome.recoveries.items())
    ]
    return _table(["fault", "ready", "first report", "all"], rows)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _stops(outcome: Outcome) -> list[tuple[str, str, Stopped]]:
    struck = [*outcome.drilled, *outcome.stormed]
    under_load = [(each.blow.victim, "under load", each.stopped) for each in struck if each.stopped is not None]
    return under_load + [(name, "idle", stopped) for name, stopped in outcome.stops.items()]


def _stop_table(outcome: Outcome) -> str:
    """Of each process the slowest of each kind."""
    slowest: dict[tuple[str, str], Stopped] = {}
    for name, when, stopped in _stops(outcome):
        slowest[name, when] = max(slowest.get((name, when), stopped), stopped, key=lambda each: each.took_s)
    rows = [[name, when, str(stopped.code), f"{stopped.took_s:.1f}"] for (name, when), stopped in slowest.items()]
    return _table(["process", "when", "exit code", "seconds, at most"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
