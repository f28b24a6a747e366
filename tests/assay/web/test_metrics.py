"""The metrics page, read by Prometheus's own parser."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.assay.web.house import JPEG, House, painted

from assay.cases import Verdict
from assay.errors import unavailable
from assay.meter import Meter
from assay.views import VIEWS, View

pytestmark = pytest.mark.anyio
Samples = dict[tuple[str, tuple[str, ...]], float]


async def scraped(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in families}) == len(families)
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


async def test_an_empty_installation_counts_nothing(client: httpx.AsyncClient) -> None:
    samples = await scraped(client)
    assert samples["assay_up", ("store",)] == samples["assay_up", ("queue",)] == 1
    for verdict in Verdict:
        assert samples["cases_total", (verdict.value,)] == 0
    for name in (
        "review_queue_depth",
        "review_age_seconds",
        "case_age_seconds",
        "dlq_depth",
        "job_lease_expired_total",
    ):
        assert samples[name, ()] == 0
    assert "assay_build_info" in {name for name, _ in samples}


async def test_what_happens_is_counted(client: httpx.AsyncClient, house: House) -> None:
    await house.reported(client, Verdict.NOT_CONSISTENT)
    waiting = await house.draft(client, VIEWS[:1])
    await client.post(f"/v1/cases/{waiting}/submit")
    await house.services.queue.publish(house.store.outbox.pending(10))
    await client.put(f"/v1/cases/{await house.draft(client)}/photos/logo", content=painted(View.LINING), headers=JPEG)
    house.services.meter.stage("look", 0.2)
    house.services.meter.count("job_lease_expired")
    samples = await scraped(client)
    assert samples["cases_total", ("NOT CONSISTENT",)] == 1
    assert samples["cases_in_state", ("queued",)] == samples["queue_depth", ("normal",)] == 1
    assert samples["review_queue_depth", ()] == 1
    assert samples["review_age_seconds", ()] > 0
    assert samples["case_age_seconds", ()] > 0
    assert samples["retake_total", ("wrong_view",)] == 1
    assert samples["job_lease_expired_total", ()] == 1
    assert samples["stage_duration_seconds_count", ("look",)] == 1
    assert samples["stage_duration_seconds_sum", ("look",)] == pytest.approx(0.2)


async def test_what_does_not_answer_is_told(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> None:
        raise unavailable("gone")

    monkeypatch.setattr(house.store.cases, "counts", down)
    monkeypatch.setattr(house.services.queue, "depth", down)
    samples = await scraped(client)
    assert samples["assay_up", ("store",)] == samples["assay_up", ("queue",)] == 0
    assert "review_queue_depth" not in {name for name, _ in samples}


def test_a_histogram_that_was_read_stays_as_it_was() -> None:
    meter = Meter()
    meter.stage("look", 0.2)
    read = meter.stages()["look"]
    meter.stage("look", 0.2)
    assert (sum(read.counts), read.total) == (1, 0.2)
