"""Progress by server-sent events."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from tests.assay.web.house import House

from assay.cases import CaseState
from assay.views import VIEWS
from assay.web import live

pytestmark = pytest.mark.anyio
Event = tuple[str, dict[str, object]]


def events(text: str) -> list[Event]:
    found: list[Event] = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def _follow(client: httpx.AsyncClient, case_id: str) -> list[Event]:
    answer = await client.get(f"/v1/cases/{case_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    return events(answer.text)


async def test_a_finished_case_tells_all_at_once(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.reported(client)
    told = await _follow(client, case_id)
    assert [(name, event.get("name")) for name, event in told[:2]] == [("stage", "look"), ("stage", "judge")]
    report_id = (await client.get(f"/v1/cases/{case_id}")).json()["report_id"]
    assert told[2:] == [("state", {"state": "reported", "report_id": report_id, "failure": None})]


async def test_a_case_is_followed_to_its_end(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    case_id = await house.draft(client, VIEWS[:1])
    polled = asyncio.Event()
    real = house.store.cases.progress

    def progress(tenant_id: str, asked: str) -> object:
        loop.call_soon_threadsafe(polled.set)
        return real(tenant_id, asked)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(house.store.cases, "progress", progress)
    monkeypatch.setattr(live, "POLL_S", 0.001)
    following = asyncio.create_task(_follow(client, case_id))

    async def next_poll() -> None:
        polled.clear()
        await polled.wait()
        polled.clear()
        await polled.wait()

    await next_poll()
    await client.post(f"/v1/cases/{case_id}/submit")
    await next_poll()
    house.store.cases.note_stages(case_id, {"read": 61.0})
    await next_poll()
    house.finish(case_id)
    told = await following
    assert [event["state"] for name, event in told if name == "state"] == ["draft", "queued", "reported"]
    assert [event["name"] for name, event in told if name == "stage"] == ["read", "look", "judge"]


async def test_a_case_that_was_given_up_says_why(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.draft(client, VIEWS[:1])
    await client.post(f"/v1/cases/{case_id}/submit")
    house.store.cases.fail(case_id, "the lens was down for a day")
    told = await _follow(client, case_id)
    assert told[-1][1] == {"state": CaseState.FAILED.value, "report_id": None, "failure": "the lens was down for a day"}


async def test_a_silence_is_filled(client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    case_id = await house.draft(client, VIEWS[:1])
    monkeypatch.setattr(live, "POLL_S", 0.001)
    monkeypatch.setattr(live, "SILENT_POLLS", 1)
    asked = 0
    real = house.store.cases.get

    def get(tenant_id: str, wanted: str) -> object:
        nonlocal asked
        asked += 1
        if asked == 5:
            house.store.retention.erase(tenant_id, wanted, "system")
        return real(tenant_id, wanted)

    monkeypatch.setattr(house.store.cases, "get", get)
    text = (await client.get(f"/v1/cases/{case_id}/events")).text
    assert text.count(": still here\n\n") == 3
