"""What the operator of an installation does."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import text
from tests.assay.web.house import House, painted

from assay.cases import Scope
from assay.errors import unavailable
from assay.views import VIEWS
from assay.web import health_door

pytestmark = pytest.mark.anyio


async def test_a_tenant_comes_with_its_administrators_key(client: httpx.AsyncClient, house: House) -> None:
    made = (await client.post("/v1/tenants", json={"name": "Quai Ouest", "retention_days": 30})).json()
    assert made["tenant"]["retention_days"] == 30
    async with house.stranger({"authorization": f"Bearer {made['key']['secret']}"}) as admin:
        assert (await admin.get("/v1/tenant")).json() == made["tenant"]
        assert (await admin.get("/v1/tenants")).status_code == 403
    assert [t["name"] for t in (await client.get("/v1/tenants")).json()["tenants"]] == ["Rue de Seine", "Quai Ouest"]


async def test_a_dead_letter_is_revived_with_its_case(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.draft(client, VIEWS[:1])
    await client.post(f"/v1/cases/{case_id}/submit")
    queue, store = house.services.queue, house.store
    await queue.publish(store.outbox.pending(10))
    (lease,) = await queue.claim(1, 30.0, 0.0)
    store.cases.fail(case_id, "eight times over")
    await queue.dead(lease, "eight times over")
    (letter,) = (await client.get("/v1/dead-letters")).json()["dead_letters"]
    assert (letter["case_id"], letter["why"], letter["attempts"]) == (case_id, "eight times over", 1)
    assert "dlq_depth 1" in (await client.get("/metrics")).text
    assert (await client.post(f"/v1/dead-letters/{letter['job_id']}/revive")).status_code == 202
    assert (await client.get(f"/v1/cases/{case_id}")).json()["state"] == "queued"
    assert (await client.get("/v1/dead-letters")).json()["dead_letters"] == []
    assert (await client.post(f"/v1/dead-letters/{letter['job_id']}/revive")).status_code == 404


async def test_an_audit_chain_is_checked(client: httpx.AsyncClient, house: House) -> None:
    await house.draft(client)
    path = f"/v1/tenants/{house.tenant.id}/audit-verification"
    assert (await client.get(path)).json() == {"is_intact": True, "broken_at": None, "what": ""}
    with house.store._database.writing() as connection:
        connection.execute(text("UPDATE audit_entries SET actor = 'nobody' WHERE seq = 2"))
    broken = (await client.get(path)).json()
    assert (broken["is_intact"], broken["broken_at"]) == (False, 2)
    assert (await client.get("/v1/tenants/tenant_x/audit-verification")).status_code == 404


async def test_references_are_listed_and_a_poor_enrolment_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/references")).json() == {"models": []}
    form = {"brand": "Maison Arcel", "model": "Tote 32"}
    poor = await client.post("/v1/references", data=form, files={"bag-1.logo": ("a.jpg", painted(VIEWS[1]))})
    assert poor.status_code == 400
    assert "Maison Arcel Tote 32: 0 items have a photograph of the exterior" in poor.json()["detail"]


@pytest.mark.parametrize("name", ["logo", "bag.sole", ".logo", "b" * 90 + ".logo"])
async def test_a_misnamed_reference_is_refused(client: httpx.AsyncClient, name: str) -> None:
    form = {"brand": "Maison Arcel", "model": "Tote 32"}
    answer = await client.post("/v1/references", data=form, files={name: ("a.jpg", b"x")})
    assert answer.status_code == 400
    assert "expected ITEM.VIEW" in answer.json()["detail"]


async def test_health_is_told_part_by_part(client: httpx.AsyncClient, house: House) -> None:
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    house.lens.is_down = True
    down = await client.get("/readyz")
    assert (down.status_code, down.json()["status"]) == (200, "degraded")
    assert (down.json()["database"], down.json()["queue"]) == ("ready", "ready")
    assert down.json()["lens"] == "the lens does not answer; try again"
    assert (await client.get("/healthz")).status_code == 200


async def test_no_database_no_work(client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> None:
        raise unavailable("the database does not answer now; try again", 2.5)

    monkeypatch.setattr(house.store.cases, "counts", down)
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert answer.json()["database"] == "the database does not answer now; try again"


async def test_a_process_that_only_works_tells_its_health_and_nothing_else(house: House) -> None:
    transport = httpx.ASGITransport(health_door(house.services))
    async with httpx.AsyncClient(transport=transport, base_url="http://worker.test") as prober:
        assert (await prober.get("/readyz")).json()["status"] == "ready"
        assert (await prober.get("/metrics")).status_code == 401
        bearer = {"authorization": f"Bearer {house.key(Scope.MEASURE)}"}
        assert "assay_build_info" in (await prober.get("/metrics", headers=bearer)).text
        assert [(await prober.get(path)).status_code for path in ("/healthz", "/v1/cases", "/")] == [200, 404, 404]


async def test_a_database_that_is_down_is_told(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise unavailable("the database does not answer now; try again", 2.5)

    monkeypatch.setattr(house.store.cases, "get", down)
    answer = await client.get("/v1/cases/case_x")
    assert (answer.status_code, answer.json()["retry_after"], answer.headers["retry-after"]) == (503, 3, "3")


async def test_an_unexpected_error_tells_nothing_of_its_inside(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret password in the message")

    monkeypatch.setattr(house.store.cases, "get", broken)
    answer = await client.get("/v1/cases/case_x")
    assert (answer.status_code, answer.json()["reason"]) == (500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_metrics_are_the_operators(house: House) -> None:
    async with house.client(Scope.SUBMIT, Scope.REVIEW, Scope.ADMIN) as tenant:
        assert (await tenant.get("/metrics")).status_code == 403
