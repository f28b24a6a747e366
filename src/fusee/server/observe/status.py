"""The status page: one look at models, latency, batches and waits, drawn anew every second from a JSON page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from functools import cache
from importlib.metadata import version as package_version
from importlib.resources import files
from itertools import accumulate, pairwise
from time import monotonic

from fusee.server.door import Content, Page
from fusee.server.observe.machine import memory, process_use
from fusee.server.observe.sources import Explaining, Sources, queue_length
from fusee.server.operations import Scope
from fusee.server.plane import Servable
from fusee.server.statistics import Histogram, ModelStatistics
from fusee.server.types import Json

LATEST = 8  # explanations shown of each model
QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
STARTED_S = monotonic()


def pages(sources: Sources) -> tuple[Page, ...]:
    """``/status`` for people, and ``/status.json`` that it is drawn from."""

    async def html() -> Content:
        return Content("text/html; charset=utf-8", page_html())

    async def state() -> Content:
        return Content("application/json", json.dumps(document(sources)).encode())

    return Page("/status", Scope.READ, html), Page("/status.json", Scope.READ, state)


@cache
def page_html() -> bytes:
    """The page, with a policy that lets its own script and style run and nothing else."""
    text = files("fusee.server.observe").joinpath("status.html").read_text()
    policy = (
        f"default-src 'none'; script-src {_digest(text, 'script')}; style-src {_digest(text, 'style')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    return text.replace("{policy}", policy).encode()


def _digest(text: str, element: str) -> str:
    """The source expression that allows the page's one inline element of that kind."""
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def document(sources: Sources) -> Json:
    """Everything that the page shows. Durations are in seconds, sizes in bytes, counts since the start."""
    ram = memory()
    return {
        "version": package_version("fusee"),
        "uptime_s": monotonic() - STARTED_S,
        "cpu_utilization": sources.processors.utilization(),
        "memory": {"total_bytes": ram.total_bytes, "used_bytes": ram.used_bytes},
        "processes": _processes(sources),
        "doors": [{"door": door, "code": code, "count": count} for (door, code), count in sources.doors.items()],
        "models": _models(sources),
        "comparisons": list(sources.comparisons()),
    }


def _processes(sources: Sources) -> list[Json]:
    found = [(process, process_use(process.pid)) for process in sources.processes()]
    return [{**process._asdict(), **use._asdict()} for process, use in found if use is not None]


def _models(sources: Sources) -> list[Json]:
    """The versions that answer, with their record, and those that do not, with the reason."""
    servables = {(s.name, s.version): s for s in sources.servables()}
    entries: dict[tuple[str, str], Json] = {key: {"state": "READY"} for key in servables}
    for entry in sources.index():
        entries[entry["name"], entry.get("version", "")] = entry
    return [
        {
            "name": name,
            "version": version,
            "state": entry.get("state", "UNAVAILABLE"),
            "reason": entry.get("reason", ""),
            "record": _record(servables[name, version]) if (name, version) in servables else None,
        }
        for (name, version), entry in sorted(entries.items())
    ]


def _record(servable: Servable) -> Json:
    statistics = servable.statistics
    return {
        "queue_depth": queue_length(servable),
        "pending": statistics.pending,
        "load_s": statistics.load_s,
        "succeeded": statistics.success.count,
        "failures": {reason: count for reason, count in statistics.failures.items() if count},
        "rejections": statistics.rejections,
        "inferences": statistics.inference_count,
        "executions": statistics.execution_count,
        "latency": {name: quantile(statistics.request_s, q) for name, q in QUANTILES},
        "bounds_s": statistics.request_s.bounds,
        "request_counts": statistics.request_s.counts,
        "stages_s": _stages(statistics),
        "batches": _batches(statistics.batch_size),
        "waits": _waits(servable),
    }


def _stages(statistics: ModelStatistics) -> dict[str, float]:
    """The mean time of each stage."""
    tallies = ((name, getattr(statistics, name)) for name in STAGES)
    return {name: tally.ns * 1e-9 / tally.count if tally.count else 0.0 for name, tally in tallies}


def _batches(sizes: Histogram) -> dict[str, int]:
    """Runs by size of the batch, in ranges up to the largest that ran."""
    tops = [int(bound) for bound in sizes.bounds]
    names = [str(top) if top == below + 1 else f"{below + 1}–{top}" for below, top in pairwise([0, *tops])]
    named = dict(zip([*names, f"over {tops[-1]}"], sizes.counts, strict=True))
    used = [place for place, count in enumerate(sizes.counts) if count]
    return dict(list(named.items())[: used[-1] + 1]) if used else {}


def _waits(servable: Servable) -> Json:
    if not isinstance(servable, Explaining):
        return {"reasons": {}, "latest": []}
    explanations = servable.explain()
    latest = [explanation._asdict() for explanation in reversed(explanations[-LATEST:])]
    return {"reasons": dict(Counter(e.why for e in explanations).most_common()), "latest": latest}


def quantile(histogram: Histogram, share: float) -> float | None:
    """The value that a share of all values does not exceed, as Prometheus's histogram_quantile estimates it: evenly
    spread within its bucket, and the highest bound for what lies above all bounds. None of nothing."""
    below = list(accumulate(histogram.counts))
    if not below[-1]:
        return None
    rank = share * below[-1]
    place = next(i for i, count in enumerate(below) if count >= rank and histogram.counts[i])
    if place == len(histogram.bounds):
        return histogram.bounds[-1]
    start = histogram.bounds[place - 1] if place else 0.0
    before = below[place] - histogram.counts[place]
    return start + (histogram.bounds[place] - start) * (rank - before) / histogram.counts[place]
