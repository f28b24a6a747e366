"""The page of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from statistics import median

from benchmarks.assay.faults.rigs import HEARTBEAT_S, LEASE_S
from benchmarks.assay.faults.run import SUBMITTERS, Outcome, Recovery
from benchmarks.machine import machine_facts

RESULTS = Path(__file__).parents[2] / "results"


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
        "answers": outcome.seen.statuses,
        "reads": outcome.seen.reads,
        "recoveries": {kind: [asdict(each) for each in found] for kind, found in outcome.recoveries.items()},
        "stops": {name: stopped._asdict() for name, stopped in outcome.stops.items()},
        "broken": outcome.broken,
    }
    file = RESULTS / f"{today}-assay-faults-{scale}"
    file.with_suffix(".md").write_text(page)
    file.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    return page


def _parts(outcome: Outcome, command: str) -> list[str]:
    machine, accepted = machine_facts(), outcome.seen.accepted
    longest = max((each.waited_s for each in accepted), default=0.0)
    answers = ", ".join(f"{count} x {status}" for status, count in outcome.seen.statuses.most_common())
    reads = ", ".join(f"{count} x {status}" for status, count in outcome.seen.reads.most_common())
    holds = (
        "\n".join(f"- {line}" for line in outcome.broken[:50])
        if outcome.broken
        else (
            "Every accepted case is reported, by one report that verifies; it has one audit entry and one webhook, "
            "which arrived; the audit chains hold; no case failed, nothing is left in the outbox, the queue or the "
            "dead letters; no tenant sees another's cases; every process that was asked to stop ended with 0."
        )
    )
    return [
        f"- Command: `{command}`\n"
        f"- Processor: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, shared\n"
        f"- {SUBMITTERS} customers at once, who do not give up; leases of {LEASE_S:g} s; RabbitMQ's heartbeat "
        f"{HEARTBEAT_S} s\n"
        f"- {len(accepted)} cases accepted; the longest took {longest:.1f} s to be accepted. Answers to submissions: "
        f"{answers}. Answers to looks: {reads}\n"
        f"- {len(outcome.struck)} faults. From the last one until nothing was left to do: {outcome.idle_s:.1f} s",
        f"## What holds\n\n{holds}",
        f"## Recovery\n\nSeconds from the fault, median (greatest). {_RECOVERY}\n\n{_recovery_table(outcome)}",
        f"## SIGTERM\n\n{_stop_table(outcome)}",
    ]


_RECOVERY = (
    "Ready: the process is back and says so. First report: of any case; another worker may have given it. "
    "All: the last report of the cases that were under way or waiting at the fault. Faults overlap: what is told of "
    "one may be another's doing."
)


def _recovery_table(outcome: Outcome) -> str:
    rows = [
        [
            kind,
            str(len(found)),
            *(_spread(found, name) for name in ("down_s", "first_s", "all_s")),
        ]
        for kind, found in sorted(outcome.recoveries.items())
    ]
    return _table(["fault", "times", "ready", "first report", "all"], rows)


def _spread(found: Sequence[Recovery], name: str) -> str:
    values = [value for each in found if (value := getattr(each, name)) is not None]
    return f"{median(values):.1f} ({max(values):.1f})" if values else "-"


def _stop_table(outcome: Outcome) -> str:
    under_load = [(each.blow.victim, each.stopped) for each in outcome.struck if each.stopped is not None]
    rows = [[name, "under load", str(stopped.code), f"{stopped.took_s:.1f}"] for name, stopped in under_load]
    rows += [[name, "idle", str(stopped.code), f"{stopped.took_s:.1f}"] for name, stopped in outcome.stops.items()]
    return _table(["process", "when", "exit code", "seconds"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
