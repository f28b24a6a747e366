"""What a tenant's administrator does."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.assay.web.house import House, build

from assay.cases import Scope

pytestmark = pytest.mark.anyio


async def test_a_key_is_made_used_and_revoked(client: httpx.AsyncClient, house: House) -> None:
    made = await client.post("/v1/keys", json={"name": "Till", "scopes": ["submit"]})
    assert made.status_code == 201
    async with house.stranger({"authorization": f"Bearer {made.json()['secret']}"}) as till:
        assert (await till.get("/v1/cases")).status_code == 200
        assert (await till.get("/v1/keys")).status_code == 403
        assert (await client.delete(f"/v1/keys/{made.json()['id']}")).status_code == 204
        assert (await till.get("/v1/cases")).status_code == 401
    listed = (await client.get("/v1/keys")).json()["keys"]
    assert [(key["name"], key["scopes"], key["revoked_at"] is None) for key in listed[1:]] == [
        ("Till", ["submit"], False)
    ]
    assert made.json()["secret"] not in (await client.get("/v1/keys")).text


@pytest.mark.parametrize("scope", ["operate", "measure"])
async def test_nobody_makes_an_operator_of_themselves(house: House, scope: str) -> None:
    async with house.client(Scope.ADMIN) as admin:
        answer = await admin.post("/v1/keys", json={"name": "More", "scopes": [scope]})
    assert (answer.status_code, answer.json()["reason"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "A"},
        {"name": "", "scopes": ["submit"]},
        *({"name": "A", "scopes": scopes} for scopes in ([], ["all"], "submit", [1])),
    ],
)
async def test_a_wrong_key_is_not_made(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    assert (await client.post("/v1/keys", json=body)).status_code == 400


async def test_retention_and_webhook_are_set(client: httpx.AsyncClient) -> None:
    changed = await client.patch("/v1/tenant", json={"retention_days": 90, "webhook_url": "https://shop.example/hook"})
    assert changed.status_code == 200
    tenant = (await client.get("/v1/tenant")).json()
    assert (tenant["retention_days"], tenant["webhook_url"]) == (90, "https://shop.example/hook")
    cleared = await client.patch("/v1/tenant", json={"webhook_url": ""})
    assert (cleared.json()["retention_days"], cleared.json()["webhook_url"]) == (90, "")


@pytest.mark.parametrize(
    "body", [{"retention_days": 0}, {"retention_days": 5000}, {"retention_days": True}, {"name": "x"}]
)
async def test_a_wrong_setting_is_refused(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    assert (await client.patch("/v1/tenant", json=body)).status_code == 400


@pytest.mark.parametrize(
    "url",
    ["http://shop.example/", "ftp://a.example", "https://", "https://u:p@a.example/", "https://a:99999/", "x", "//a"],
)
async def test_a_webhook_goes_by_https_to_a_host(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.patch("/v1/tenant", json={"webhook_url": url})
    assert answer.status_code == 400
    assert "expected https://host/path without a user name" in answer.json()["detail"]


async def test_the_webhook_secret_is_shown_and_renewed(client: httpx.AsyncClient) -> None:
    first = (await client.get("/v1/tenant/webhook-secret")).json()["secret"]
    renewed = (await client.post("/v1/tenant/webhook-secret")).json()["secret"]
    assert first != renewed
    assert (await client.get("/v1/tenant/webhook-secret")).json()["secret"] == renewed


async def test_the_audit_log_is_read_in_pages(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.draft(client)
    entries = (await client.get("/v1/audit?most=1000")).json()["entries"]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[-1]["action"] == "case.created"
    assert entries[-1]["actor"] == (await client.get("/v1/keys")).json()["keys"][0]["id"]
    rest = (await client.get(f"/v1/audit?after_seq={len(entries) - 1}")).json()["entries"]
    assert [entry["subject"] for entry in rest] == [case_id]


async def test_a_notice_stands_above_every_page(tmp_path: Path) -> None:
    house = build(tmp_path, notice="Demonstration: <synthetic>")
    async with house.client() as client:
        for path in ("/cases", "/cases/new", "/settings", "/review"):
            assert "Demonstration: &lt;synthetic&gt;" in (await client.get(path)).text
        assert "Demonstration" in (await client.get(f"/v1/cases/{await house.reported(client)}/report.html")).text
    house.store.close()
