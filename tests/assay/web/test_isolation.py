"""No tenant sees, changes or learns of anything of another's: over every route that names a thing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from tests.assay.web.house import CLAIM, House, painted

from assay.cases import Scope
from assay.views import VIEWS
from assay.web.operations import JSON, MULTIPART, Operation
from assay.web.pages import PAGES
from assay.web.reports import named_pictures
from assay.web.table import OPERATIONS

pytestmark = pytest.mark.anyio
TENANT_SCOPES = (Scope.SUBMIT, Scope.REVIEW, Scope.ADMIN)
PUBLIC = {"verify_id"}  # whoever has a report's number may verify it
NAMING = [o for o in (*OPERATIONS, *PAGES) if "{" in o.path and o.name not in PUBLIC]
OF_TENANTS = [o for o in NAMING if set(o.scopes) & set(TENANT_SCOPES)]
LISTS = [
    o for o in (*OPERATIONS, *PAGES) if o.method == "GET" and "{" not in o.path and set(o.scopes) & set(TENANT_SCOPES)
]


@dataclass(frozen=True)
class Owned:
    """What tenant A has."""

    case_id: str
    draft_id: str
    key_id: str
    sha256: str
    texts: tuple[str, ...]


async def _furnished(house: House) -> Owned:
    async with house.client() as client:
        case_id, draft_id = await house.reported(client), await house.draft(client, VIEWS[:2])
        report = (await client.get(f"/v1/cases/{case_id}/report.json")).json()
        key_id = (await client.get("/v1/keys")).json()["keys"][0]["id"]
    picture = min(named_pictures(report))
    return Owned(case_id, draft_id, key_id, picture, (case_id, draft_id, key_id, report["id"], house.tenant.id))


@pytest.fixture(scope="module")
def owned(lasting_house: House) -> Owned:
    return asyncio.run(_furnished(lasting_house))


@pytest.mark.parametrize("operation", OF_TENANTS, ids=lambda operation: operation.name)
async def test_what_is_anothers_is_not_there(lasting_house: House, owned: Owned, operation: Operation) -> None:
    house = lasting_house
    before = house.store.audit.head(house.tenant.id)
    async with house.client(*TENANT_SCOPES, tenant=house.store.tenants.create("B")) as other:
        for case_id in (owned.case_id, owned.draft_id):
            view = "exterior"
            fields = {"case_id": case_id, "view": view, "sha256": owned.sha256, "key_id": owned.key_id}
            content, headers = _body(operation)
            path = operation.path.format(**fields)
            answer = await other.request(operation.method, path, content=content, headers=headers)
            assert answer.status_code == 404, f"{operation.method} {path}: {answer.status_code} {answer.text}"
            assert "Maison Arcel" not in answer.text
    assert house.store.audit.head(house.tenant.id) == before, "something of tenant A changed"


def _body(operation: Operation) -> tuple[bytes, dict[str, str]]:
    if operation.body is None:
        return b"", {}
    if JSON in operation.body.schemas:
        return b'{"verdict": "CONSISTENT"}', {"content-type": JSON}
    assert MULTIPART not in operation.body.schemas
    return painted(VIEWS[0]), {"content-type": "image/jpeg"}


@pytest.mark.parametrize("operation", LISTS, ids=lambda operation: operation.name)
async def test_lists_hold_ones_own_alone(lasting_house: House, owned: Owned, operation: Operation) -> None:
    async with lasting_house.client(*TENANT_SCOPES, tenant=lasting_house.store.tenants.create("B")) as other:
        answer = await other.get(operation.path)
    assert answer.status_code == 200
    assert not [text for text in owned.texts if text in answer.text]


async def test_the_same_idempotency_key_of_another_tenant_is_another_case(house: House) -> None:
    headers = {"idempotency-key": "order-1"}
    async with house.client() as a, house.client(tenant=house.store.tenants.create("B")) as b:
        made = [
            (await client.post("/v1/cases", json={"claim": CLAIM}, headers=headers)).json()["id"] for client in (a, b)
        ]
    assert made[0] != made[1]


async def test_other_operations_that_name_things_are_the_operators() -> None:
    rest = [operation for operation in NAMING if operation not in OF_TENANTS]
    assert {operation.name for operation in rest} == {"revive_dead_letter", "verify_audit"}
    assert all(operation.scopes == (Scope.OPERATE,) for operation in rest)


async def test_a_picture_is_shown_with_its_own_case_alone(lasting_house: House, owned: Owned) -> None:
    """Even within a tenant: a digest opens nothing by itself."""
    async with lasting_house.client() as client:
        assert (await client.get(f"/v1/cases/{owned.case_id}/pictures/{owned.sha256}")).status_code == 200
        assert (await client.get(f"/v1/cases/{owned.draft_id}/pictures/{owned.sha256}")).status_code == 404
