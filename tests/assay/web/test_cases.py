"""Cases by the API."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.assay.web.house import CLAIM, JPEG, House, painted

from assay.cases import Verdict
from assay.views import VIEWS, View
from assay.web.photos import read_photo

pytestmark = pytest.mark.anyio


async def test_a_draft_is_made_shown_and_listed(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/cases", json={"claim": CLAIM, "lane": "express", "customer_reference": "SKU 4711"})
    assert made.status_code == 201
    case = made.json()
    assert made.headers["location"] == f"/v1/cases/{case['id']}"
    assert (case["claim"], case["lane"], case["state"]) == (CLAIM, "express", "draft")
    assert case["missing"] == [view.value for view in VIEWS]
    assert (await client.get(f"/v1/cases/{case['id']}")).json() == case
    assert (await client.get("/v1/cases")).json()["cases"] == [case]


async def test_an_idempotency_key_makes_one_case(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order-17"}
    first, again = [await client.post("/v1/cases", json={"claim": CLAIM}, headers=headers) for _ in range(2)]
    assert first.json()["id"] == again.json()["id"]
    other = await client.post("/v1/cases", json={"claim": {**CLAIM, "model": "Clutch"}}, headers=headers)
    assert (other.status_code, other.json()["reason"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "body.claim is missing; expected an object"),
        ({"claim": {"brand": "A"}}, "body.claim.model is missing; expected text of 1 to 80 characters"),
        ({"claim": {"brand": " ", "model": "B"}}, "body.claim.brand is ' '; expected text of 1 to 80 characters"),
        ({"claim": CLAIM, "lane": "slow"}, "body.lane is 'slow'; expected one of express, normal"),
        ({"claim": CLAIM, "lan": "express"}, "unknown field 'lan'; there are claim, lane, customer_reference"),
        ({"claim": {"brand": "A\u0000", "model": "B"}}, "expected text of 1 to 80 characters"),
    ],
)
async def test_a_wrong_claim_is_told_where(client: httpx.AsyncClient, body: object, detail: str) -> None:
    answer = await client.post("/v1/cases", json=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 50_000])
async def test_what_is_no_json_object_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await client.post("/v1/cases", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "invalid")


async def test_a_whole_case_comes_as_one_form(client: httpx.AsyncClient, house: House) -> None:
    files = {view.value: ("../../etc/passwd", painted(view), "image/jpeg") for view in VIEWS}
    answer = await client.post("/v1/cases", data={**CLAIM, "lane": "express"}, files=files)
    assert answer.status_code == 202, answer.text
    case = answer.json()
    assert case["state"] == "queued"
    assert [photo["view"] for photo in case["photos"]] == [view.value for view in VIEWS]
    assert len(house.accepted) == 1
    assert not [file for file in house.services.settings.home.rglob("*") if "passwd" in file.name]


async def test_the_same_form_again_is_the_same_case(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order-18"}
    files = {"logo": ("a.jpg", painted(View.LOGO), "image/jpeg")}
    first, again = [await client.post("/v1/cases", data=CLAIM, files=files, headers=headers) for _ in range(2)]
    assert (again.status_code, again.json()) == (202, first.json())


async def test_the_same_form_while_the_first_is_under_way_is_the_same_case(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller was cut off and tries again; the second overtakes the first."""
    headers = {"idempotency-key": "order-19"}
    files = {"logo": ("a.jpg", painted(View.LOGO), "image/jpeg")}
    overtaking: list[httpx.Response] = []

    async def overtaken(*given: Any) -> Any:
        monkeypatch.undo()
        overtaking.append(await client.post("/v1/cases", data=CLAIM, files=files, headers=headers))
        return await read_photo(*given)

    monkeypatch.setattr("assay.web.cases.read_photo", overtaken)
    first = await client.post("/v1/cases", data=CLAIM, files=files, headers=headers)

    assert [(answer.status_code, answer.json()) for answer in overtaking] == [(202, first.json())]
    assert first.status_code == 202


@pytest.mark.parametrize(
    ("fields", "files", "detail"),
    [
        (CLAIM, {"sole": b"x"}, "the form has a file 'sole'"),
        (CLAIM, {}, "the form has no photograph"),
        ({"brand": "A"}, {"logo": b"x"}, "form.model is missing"),
        ({**CLAIM, "colour": "red"}, {"logo": b"x"}, "form: unknown field 'colour'"),
    ],
)
async def test_a_wrong_form_is_told(
    client: httpx.AsyncClient, fields: dict[str, str], files: dict[str, bytes], detail: str
) -> None:
    parts = {name: ("a.jpg", content, "image/jpeg") for name, content in files.items()}
    parts |= {name: (None, value.encode(), "text/plain") for name, value in fields.items()}
    answer = await client.post("/v1/cases", files=parts)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize("content", [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n"])
async def test_a_broken_form_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await client.post("/v1/cases", content=content, headers=headers)
    assert answer.status_code == 400, answer.text


async def test_a_submitted_case_is_queued_once(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.draft(client, VIEWS[:2])
    first = await client.post(f"/v1/cases/{case_id}/submit")
    assert (first.status_code, first.json()["state"]) == (202, "queued")
    assert first.headers["location"] == f"/v1/cases/{case_id}"
    assert (await client.post(f"/v1/cases/{case_id}/submit")).status_code == 202
    assert len(house.store.outbox.pending(10)) == 1


async def test_a_case_without_photographs_is_not_submitted(client: httpx.AsyncClient, house: House) -> None:
    answer = await client.post(f"/v1/cases/{await house.draft(client)}/submit")
    assert (answer.status_code, answer.json()["reason"]) == (400, "invalid")


async def test_a_full_queue_says_when_to_come_again(client: httpx.AsyncClient, house: House) -> None:
    full = house.store.cases
    full._most_waiting = 0
    answer = await client.post(f"/v1/cases/{await house.draft(client, VIEWS[:1])}/submit")
    assert answer.status_code == 429
    assert answer.json()["retry_after"] == int(answer.headers["retry-after"]) > 0


async def test_lists_are_filtered_and_paged(client: httpx.AsyncClient, house: House) -> None:
    reported = await house.reported(client, Verdict.CONSISTENT)
    drafts = [await house.draft(client) for _ in range(3)]
    assert [c["id"] for c in (await client.get("/v1/cases?state=reported")).json()["cases"]] == [reported]
    assert [c["id"] for c in (await client.get("/v1/cases?verdict=CONSISTENT")).json()["cases"]] == [reported]
    assert (await client.get("/v1/cases?text=clutch")).json()["cases"] == []
    first = (await client.get("/v1/cases?most=2")).json()
    second = (await client.get("/v1/cases", params={"most": 2, "cursor": first["next_cursor"]})).json()
    assert [c["id"] for c in first["cases"] + second["cases"]] == [*reversed(drafts), reported]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("query", ["state=lost", "verdict=FAKE", "most=0", "most=x", "cursor=!", "page=2"])
async def test_a_wrong_query_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/cases?{query}")).status_code == 400


async def test_an_erased_case_shows_nothing_any_more(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.reported(client)
    assert (await client.delete(f"/v1/cases/{case_id}")).status_code == 204
    case = (await client.get(f"/v1/cases/{case_id}")).json()
    assert (case["state"], case["photos"]) == ("erased", [])
    assert (await client.get(f"/v1/cases/{case_id}/report.json")).status_code == 404
    assert (await client.get(f"/v1/cases/{case_id}/photos/exterior")).status_code == 404
    changed = await client.put(f"/v1/cases/{case_id}/photos/logo", content=painted(View.LOGO), headers=JPEG)
    assert changed.status_code == 409
