"""The metrics page, in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from importlib.metadata import version as package_version

from starlette.responses import Response

from assay.errors import Refusal
from assay.meter import Meter
from assay.queue.jobs import Depth
from assay.store.cases import Counts
from assay.web.call import Call
from fusee.server.observe.exposition import TEXT, Family, Kind, Sample, exposition


async def metrics(call: Call) -> Response:
    """Of all tenants together. What does not answer is left out, and told by ``assay_up``."""
    services = call.services
    families = [*_process(services.meter)]
    try:
        counts = await call.run(services.store.cases.counts)
        families += _stored(counts, services.clock())
        families.append(_up("store", 1))
    except Refusal:
        families.append(_up("store", 0))
    try:
        families += _queued(await services.queue.depth())
        families.append(_up("queue", 1))
    except Refusal:
        families.append(_up("queue", 0))
    return Response(exposition(_joined(families)), headers={"content-type": TEXT, "cache-control": "no-store"})


def _up(part: str, value: int) -> Family:
    return Family("assay_up", Kind.GAUGE, "Whether the part answers.", [Sample({"part": part}, value)])


def _joined(families: Iterable[Family]) -> Iterator[Family]:
    """Families of one name as one, as the format wants them."""
    by_name: dict[str, list[Family]] = {}
    for family in families:
        by_name.setdefault(family.name, []).append(family)
    for same in by_name.values():
        yield same[0]._replace(samples=[sample for family in same for sample in family.samples])


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, Kind.GAUGE, text, [Sample({}, value)])


def _labelled(name: str, kind: Kind, text: str, label: str, values: Mapping[str, int]) -> Family:
    return Family(name, kind, text, [Sample({label: key}, value) for key, value in values.items()])


def _process(meter: Meter) -> Iterator[Family]:
    build = {"version": package_version("fusee")}
    yield Family("assay_build_info", Kind.GAUGE, "What runs.", [Sample(build, 1)])
    retakes = meter.counts("retake")
    yield _labelled("retake_total", Kind.COUNTER, "Findings about photographs, as given.", "reason", retakes)
    expired = sum(meter.counts("job_lease_expired").values())
    yield Family("job_lease_expired_total", Kind.COUNTER, "Leases lost to their time.", [Sample({}, expired)])
    webhooks = meter.counts("webhook")
    yield _labelled("webhook_deliveries_total", Kind.COUNTER, "Attempts to deliver.", "outcome", webhooks)
    stages = [Sample({"stage": name}, histogram) for name, histogram in meter.stages().items()]
    yield Family("stage_duration_seconds", Kind.HISTOGRAM, "Of the stages of judging, in this process.", stages)


def _stored(counts: Counts, now: datetime) -> Iterator[Family]:
    verdicts = {verdict.value: count for verdict, count in counts.by_verdict.items()}
    yield _labelled("cases_total", Kind.COUNTER, "Cases with a report.", "verdict", verdicts)
    states = {state.value: count for state, count in counts.by_state.items()}
    yield _labelled("cases_in_state", Kind.GAUGE, "Cases as they are.", "state", states)
    yield _gauge("outbox_depth", "Accepted cases that no queue has yet.", counts.unpublished)
    yield _gauge("review_queue_depth", "Cases that wait for people.", counts.waiting_reviews)
    yield _gauge(
        "case_age_seconds", "Since the case that waits longest was submitted.", _age_s(now, counts.oldest_waiting_at)
    )
    since = counts.oldest_review_at
    yield _gauge("review_age_seconds", "Since the case that waits longest for people was reported.", _age_s(now, since))


def _age_s(now: datetime, since: datetime | None) -> float:
    return 0.0 if since is None else (now - since).total_seconds()


def _queued(depth: Depth) -> Iterator[Family]:
    lanes = {"express": depth.express, "normal": depth.normal}
    yield _labelled("queue_depth", Kind.GAUGE, "Jobs that wait.", "lane", lanes)
    yield _gauge("queue_leased", "Jobs under way.", depth.leased)
    yield _gauge("dlq_depth", "Dead letters.", depth.dead)
