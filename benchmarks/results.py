"""What a comparison found, as data, as JSON and as a Markdown page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fusee.peers.contest import PeerResult
from fusee.peers.statistics import Ratio, fastest, geometric_mean, ratio_of_rounds

MIB = 2**20


@dataclass(frozen=True)
class Case:
    """All engines on one model with one number of threads; the first engine is the one under test."""

    model: str
    threads: int
    load_average: float
    """Before the first round."""
    reference: str | None
    """The engine whose outputs the others were held against."""
    others_cores: float
    """Cores that processes outside the measurement kept busy during the rounds, on average."""
    results: tuple[PeerResult, ...]

    def ratios(self) -> dict[str, Ratio]:
        """Every working peer's time over that of the engine under test."""
        ours, *others = self.results
        if not ours.medians_us:
            return {}
        return {
            result.peer: ratio_of_rounds(result.medians_us, ours.medians_us) for result in others if result.medians_us
        }

    def best_ratio(self) -> Ratio | None:
        """The ratio to the fastest peer; None when either side failed."""
        best = fastest({result.peer: result.medians_us for result in self.results[1:] if result.medians_us})
        return self.ratios().get(best) if best else None


@dataclass(frozen=True)
class Comparison:
    """A whole measurement."""

    name: str
    date: str
    command: str
    rounds: int
    load_average: float
    """Before anything was done."""
    machine: dict[str, Any]
    cases: tuple[Case, ...]


def save(comparison: Comparison, folder: Path) -> tuple[Path, Path]:
    """Writes <date>-<name>.json and .md into the folder and gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{comparison.date}-{comparison.name}"
    data = {**asdict(comparison), "summary": [asdict(row) for row in summaries(comparison.cases)]}
    paths = stem.with_suffix(".json"), stem.with_suffix(".md")
    paths[0].write_text(json.dumps(data, indent=1) + "\n")
    paths[1].write_text(markdown(comparison))
    return paths


@dataclass(frozen=True)
class Summary:
    """Best peer over ours, for all models with one number of threads."""

    threads: int
    measured: int
    """Models for which both sides have a time."""
    models: int
    geometric_mean: float | None
    least: float | None
    least_model: str | None


def summaries(cases: Sequence[Case]) -> list[Summary]:
    """One line for each number of threads."""
    return [_summary(threads, cases) for threads in sorted({case.threads for case in cases})]


def _summary(threads: int, cases: Sequence[Case]) -> Summary:
    chosen = [case for case in cases if case.threads == threads]
    found = {case.model: ratio.median for case in chosen if (ratio := case.best_ratio())}
    if not found:
        return Summary(threads, 0, len(chosen), None, None, None)
    least = min(found, key=lambda model: found[model])
    return Summary(threads, len(found), len(chosen), geometric_mean(found.values()), found[least], least)


def markdown(comparison: Comparison) -> str:
    """The page: machine, ratios, times, memory and loading, failures."""
    parts = [f"# {comparison.name}, {comparison.date}", _machine_lines(comparison), *_summary_lines(comparison.cases)]
    for threads in sorted({case.threads for case in comparison.cases}):
        cases = [case for case in comparison.cases if case.threads == threads]
        plural = "s" if threads > 1 else ""
        parts += [f"## {threads} thread{plural}: time of one run", _time_table(cases)]
        parts += [f"## {threads} thread{plural}: memory and loading", _resource_table(cases)]
    failures = [
        f"- {case.model}, {case.threads} thread(s), {result.peer}: {result.failure}"
        for case in comparison.cases
        for result in case.results
        if result.failure
    ]
    if failures:
        parts += ["## Failures", "\n".join(failures)]
    return "\n\n".join(parts) + "\n"


def _machine_lines(comparison: Comparison) -> str:
    machine = comparison.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return "\n".join(
        (
            f"- Command: `{comparison.command}`",
            f"- Processor: {machine['cpu']} ({machine['family']}), {machine['cores']} cores, "
            f"{machine['memory_gib']} GiB, {', '.join(machine['isa'])}",
            f"- Versions: Python {machine['python']}, {versions}",
            f"- Times are medians over {comparison.rounds} rounds of each round's median; the engines take turns in "
            "every round. Ratios are formed inside a round: median (least .. greatest).",
            f"- Load average before the start: {comparison.load_average:.2f}. Others: cores that processes outside the "
            "measurement kept busy during the rounds.",
            "- Difference: the largest of any output element from the reference engine's, over the output's range.",
        )
    )


def _summary_lines(cases: Sequence[Case]) -> list[str]:
    lines: list[str] = []
    for row in summaries(cases):
        head = f"**{row.threads} thread(s)**: best peer's time over ours, {row.measured} of {row.models} models"
        if row.geometric_mean is None or row.least is None:
            lines.append(f"{head}: nothing to compare.")
            continue
        lines.append(f"{head}: geometric mean {row.geometric_mean:.3f}, least {row.least:.3f} ({row.least_model}).")
    return lines


def _time_table(cases: Sequence[Case]) -> str:
    peers = [result.peer for result in cases[0].results]
    head = ["model", *(f"{peer} (ms)" for peer in peers), *(f"{peer} / {peers[0]}" for peer in peers[1:])]
    head += ["difference", "others (cores)"]
    return _table(head, (_time_row(case) for case in cases))


def _time_row(case: Case) -> list[str]:
    ratios = case.ratios()
    times = [f"{median(result.medians_us) / 1e3:.2f}" if result.medians_us else "failed" for result in case.results]
    shown = [_ratio_text(ratios.get(result.peer)) for result in case.results[1:]]
    differences = [result.difference for result in case.results if result.difference is not None]
    worst = f"{max(differences):.1e}" if differences else "-"
    return [case.model, *times, *shown, worst, f"{case.others_cores:.2f}"]


def _ratio_text(ratio: Ratio | None) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f} .. {ratio.high:.2f})" if ratio else "-"


def _resource_table(cases: Sequence[Case]) -> str:
    head = ["model", "engine", "peak memory (MiB)", "of it the library (MiB)", "load (ms)", "to first answer (ms)"]
    head += ["build (s)"]
    return _table(head, (_resource_row(case.model, result) for case in cases for result in case.results))


def _resource_row(model: str, result: PeerResult) -> list[str]:
    if not result.loading or not result.memory:
        return [model, result.peer, "failed", "", "", "", ""]
    return [
        model,
        result.peer,
        f"{result.memory.peak / MIB:.0f}",
        f"{result.memory.after_import / MIB:.0f}",
        f"{result.loading.load_s * 1e3:.0f}",
        f"{result.loading.first_answer_s * 1e3:.0f}",
        "-" if result.build_s is None else f"{result.build_s:.1f}",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
