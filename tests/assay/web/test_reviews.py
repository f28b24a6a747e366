"""Reviews by the API and on their pages."""

from __future__ import annotations

import httpx
import pytest
from tests.assay.web.house import House

from assay.cases import Scope
from assay.views import VIEWS

pytestmark = pytest.mark.anyio


async def _queued(client: httpx.AsyncClient, house: House, risk: float) -> str:
    case_id = await house.draft(client, VIEWS[:1])
    await client.post(f"/v1/cases/{case_id}/submit")
    house.finish(case_id, risk=risk)
    return case_id


async def _opine(reviewer: httpx.AsyncClient, case_id: str, verdict: str) -> httpx.Response:
    return await reviewer.post(f"/v1/reviews/{case_id}/opinions", json={"verdict": verdict, "note": f"I say {verdict}"})


async def test_the_riskiest_comes_first(client: httpx.AsyncClient, house: House) -> None:
    low, high = await _queued(client, house, 0.2), await _queued(client, house, 0.9)
    queue = (await client.get("/v1/reviews")).json()["reviews"]
    assert [(review["case_id"], review["risk"], review["opinions"]) for review in queue] == [
        (high, 0.9, 0),
        (low, 0.2, 0),
    ]
    page = (await client.get("/review")).text
    assert page.index(high) < page.index(low)


async def test_a_claimed_case_is_ones_own(client: httpx.AsyncClient, house: House) -> None:
    case_id = await _queued(client, house, 0.9)
    assert (await client.post("/v1/reviews/claim")).json()["case_id"] == case_id
    async with house.client(Scope.REVIEW) as other:
        assert (await other.post("/v1/reviews/claim")).status_code == 204
        assert (await _opine(other, case_id, "CONSISTENT")).status_code == 409
        assert "Another reviewer is looking at this case." in (await other.get(f"/review/{case_id}")).text
    assert (await _opine(client, case_id, "CONSISTENT")).status_code == 201


async def test_the_second_opinion_is_blind_and_a_third_decides(client: httpx.AsyncClient, house: House) -> None:
    case_id = await _queued(client, house, 0.9)
    assert (await _opine(client, case_id, "CONSISTENT")).json()["verdict"] is None
    assert (await _opine(client, case_id, "CONSISTENT")).status_code == 409
    async with house.client(Scope.REVIEW) as second, house.client(Scope.REVIEW) as third:
        assert (await second.get(f"/v1/reviews/{case_id}/opinions")).json()["opinions"] == []
        assert "I say" not in (await second.get(f"/review/{case_id}")).text
        assert (await _opine(second, case_id, "NOT CONSISTENT")).json()["verdict"] is None
        own = (await second.get(f"/v1/reviews/{case_id}/opinions")).json()["opinions"]
        assert [opinion["verdict"] for opinion in own] == ["NOT CONSISTENT"]
        decided = (await _opine(third, case_id, "NOT CONSISTENT")).json()
        assert (decided["verdict"], decided["opinions"]) == ("NOT CONSISTENT", 3)
        assert len((await second.get(f"/v1/reviews/{case_id}/opinions")).json()["opinions"]) == 3
    assert (await client.get("/v1/reviews")).json()["reviews"] == []
    actions = [entry["action"] for entry in (await client.get(f"/v1/audit?subject={case_id}")).json()["entries"]]
    assert actions[-1] == "review.overridden"


@pytest.mark.parametrize(
    "body", [{}, {"verdict": "FINE"}, {"verdict": "CONSISTENT", "note": "x" * 4001}, {"verdict": 1}]
)
async def test_a_wrong_opinion_is_refused(client: httpx.AsyncClient, house: House, body: dict[str, object]) -> None:
    case_id = await _queued(client, house, 0.9)
    assert (await client.post(f"/v1/reviews/{case_id}/opinions", json=body)).status_code == 400


async def test_the_page_shows_the_evidence_side_by_side(client: httpx.AsyncClient, house: House) -> None:
    case_id = await _queued(client, house, 0.9)
    page = (await client.get(f"/review/{case_id}")).text
    for view in VIEWS:
        assert f'src="/v1/cases/{case_id}/heat-maps/{view.value}"' in page
    assert page.count("Nearest genuine, distance") == 6
    assert f'data-api="POST /v1/reviews/{case_id}/opinions"' in page


async def test_a_case_that_nobody_asks_about_takes_no_opinion(client: httpx.AsyncClient, house: House) -> None:
    case_id = await _queued(client, house, 0.0)
    assert (await _opine(client, case_id, "CONSISTENT")).status_code == 404
    assert "not up for review" in (await client.get(f"/review/{case_id}")).text
