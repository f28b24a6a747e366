from __future__ import annotations

import json
from datetime import timedelta

import pytest
from tests.assay.store.making import Bench

from assay.cases import Verdict

URL = "https://shop.test/hook"


@pytest.fixture
def listening(bench: Bench) -> Bench:
    bench.store.tenants.update(bench.tenant.id, webhook_url=URL)
    return bench


def test_a_tenant_without_a_url_is_told_nothing(bench: Bench) -> None:
    bench.reported()
    assert bench.store.webhooks.due() == []


def test_a_delivery_says_what_happened_where_to_and_how_to_sign(listening: Bench) -> None:
    case = listening.reported(Verdict.INCONCLUSIVE)
    (delivery,) = listening.store.webhooks.due()
    body = json.loads(delivery.body)
    assert (delivery.url, delivery.attempts) == (URL, 0)
    assert delivery.secret == listening.store.tenants.webhook_secret(listening.tenant.id)
    assert body["id"] == delivery.id
    assert body["event"] == delivery.event == "case.reported"
    assert (body["case_id"], body["report_id"], body["verdict"]) == (case.id, case.report_id, "INCONCLUSIVE")


def test_a_failed_case_is_told_too(listening: Bench) -> None:
    listening.store.cases.fail(listening.queued().id, "why")
    assert [delivery.event for delivery in listening.store.webhooks.due()] == ["case.failed"]


def test_one_that_was_handed_out_is_held_for_its_caller(listening: Bench) -> None:
    listening.reported(), listening.reported()
    first = listening.store.webhooks.due(most=1, hold_s=30)
    second = listening.store.webhooks.due(most=5, hold_s=30)
    assert [len(first), len(second)] == [1, 1]
    assert first[0].id != second[0].id
    assert listening.store.webhooks.due() == []
    listening.clock.advance(seconds=31)
    assert [delivery.id for delivery in listening.store.webhooks.due()] == [first[0].id, second[0].id]


def test_a_delivered_one_is_over(listening: Bench) -> None:
    listening.reported()
    (delivery,) = listening.store.webhooks.due()
    listening.store.webhooks.delivered(delivery.id)
    listening.store.webhooks.failed(delivery.id, listening.clock(), "a late answer to an earlier attempt")
    listening.clock.advance(days=1)
    assert listening.store.webhooks.due() == []


def test_a_failed_one_comes_again_when_it_is_time(listening: Bench) -> None:
    listening.reported()
    (delivery,) = listening.store.webhooks.due()
    listening.store.webhooks.failed(delivery.id, listening.clock() + timedelta(minutes=5), "status 500")
    assert listening.store.webhooks.due() == []
    listening.clock.advance(minutes=5)
    (again,) = listening.store.webhooks.due()
    assert (again.id, again.body, again.attempts) == (delivery.id, delivery.body, 1)
    listening.store.webhooks.failed(again.id, None, "given up")
    listening.clock.advance(days=1)
    assert listening.store.webhooks.due() == []
