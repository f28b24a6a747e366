"""What ``latency`` found, as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def page(document: Mapping[str, Any]) -> str:
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    machine, light = document["machine"], document["light"]
    yield f"# Assay: six photographs to a report, {document['date']}"
    yield ""
    yield f"`{document['command']}`"
    yield ""
    yield (
        f"{machine['cpu']} ({machine['family']}), {machine['cores']} cores, {machine['memory_gib']} GiB; "
        f"{machine['system']}, Python {machine['python']}. One process serves, with its defaults: SQLite, embedded "
        f"queue, engines in the process. {document['references']} items are enrolled; a case is six JPEG photographs "
        f"of 768 pixels, {document['photo_set_mib']:.2f} MiB. Customers run on the same machine."
    )
    yield ""
    yield from _light(light, document)
    yield from _curve(document)


def _light(light: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    yield "## Light load: one case after another"
    yield ""
    yield (
        f"From the first byte sent until the report is there, {light['cases']} cases: {_told(light['latency_ms'])}. "
        f"p95 by round: {_listed(light['p95_ms_by_round'])} ms. The process used {light['core_ms_per_case']:.0f} ms of "
        f"a core for a case; customers and all else on the machine kept {light['cores_used_by_others']:.2f} cores "
        f"busy meanwhile (load average {_listed(light['load_average'], 1)}). Verdicts: "
        + ", ".join(f"{count} {verdict}" for verdict, count in document["verdicts"].items())
        + "."
    )
    yield ""
    yield "| step, ms | p50 | p95 | p99 |"
    yield "|---|---|---|---|"
    for name, found in document["steps_ms"].items():
        yield f"| {name} | {found['p50']:.1f} | {found['p95']:.1f} | {found['p99']:.1f} |"
    yield ""
    yield "As the process itself counted them (`/metrics`); photographs of one case are received side by side:"
    yield ""
    yield "| stage | times a case | mean, ms |"
    yield "|---|---|---|"
    for name, found in document["mean_ms_in_process"].items():
        yield f"| {name} | {found['times_per_case']:.1f} | {found['mean_ms']:.1f} |"
    yield ""


def _curve(document: Mapping[str, Any]) -> Iterator[str]:
    if not document["curve"]:
        return
    yield "## More customers: each sends the next case when the report is there"
    yield ""
    yield "| customers | reports/s (by round) | p50 | p95 | p99 ms | refused | core ms/case | cores, other | MiB |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for level, found in document["curve"].items():
        yield _row(level, found)
    setting, overload = document["overload_setting"], document["overload"]
    yield ""
    yield (
        f"Overload: {setting['customers']} customers where at most {setting['most_waiting']} cases may wait "
        "(`most_waiting`). Those refused come again when the answer told them to."
    )
    yield ""
    told = ", ".join(f"{count} with {status}" for status, count in overload["refused"].items()) or "none"
    yield (
        f"{overload['reports_per_s']:.2f} reports/s; accepted cases: {_told(overload['latency_ms'])}; refused: {told}"
        + (f", answered after {_told(overload['refused_answer_ms'])}." if overload["refused"] else ".")
    )


def _row(level: str, found: Mapping[str, Any]) -> str:
    latency = found["latency_ms"]
    refused = sum(found["refused"].values())
    cells = (
        level,
        f"{found['reports_per_s']:.2f} ({_listed(found['reports_per_s_by_round'], 2)})",
        *(f"{latency[p]:.0f}" for p in ("p50", "p95", "p99")),
        str(refused),
        f"{found['core_ms_per_case']:.0f}",
        f"{found['cores_used']:.2f}, {found['cores_used_by_others']:.2f}",
        f"{found['resident_mib']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _told(percentiles: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f} ms" for name, value in percentiles.items())


def _listed(values: list[float], digits: int = 0) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)
