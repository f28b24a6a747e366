"""Who may ask for what: keys, scopes, sessions of browsers, rates."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from tests.assay.web.house import CLAIM, ORIGIN, House, build

from assay.cases import Scope
from assay.errors import Refusal
from assay.web.operations import Operation
from assay.web.pages import PAGES
from assay.web.rates import Rates
from assay.web.sessions import COOKIE, LIFETIME_S, Sessions
from assay.web.table import OPERATIONS

pytestmark = pytest.mark.anyio
GUARDED = [operation for operation in (*OPERATIONS, *PAGES) if operation.scopes]


def _path(operation: Operation) -> str:
    fields = {"case_id": "case_x", "view": "logo", "sha256": "0" * 64, "key_id": "k", "job_id": "j", "tenant_id": "t"}
    return operation.path.format(**fields)


@pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.name)
async def test_nothing_is_done_without_a_key(lasting_house: House, operation: Operation) -> None:
    async with lasting_house.stranger() as stranger:
        answer = await stranger.request(operation.method, _path(operation))
    assert answer.status_code == 401
    assert answer.json()["reason"] == "unauthenticated"
    assert answer.headers["www-authenticate"] == 'Bearer realm="assay"'


@pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.name)
async def test_a_key_of_other_scopes_is_forbidden(lasting_house: House, operation: Operation) -> None:
    others = [scope for scope in Scope if scope not in operation.scopes]
    async with lasting_house.client(*others) as client:
        answer = await client.request(operation.method, _path(operation))
    assert (answer.status_code, answer.json()["reason"]) == (403, "forbidden")
    assert f"scope {' or '.join(sorted(s.value for s in operation.scopes))}" in answer.json()["detail"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer assay_a_b", "Bearer " + "a" * 5000, "Bearer ключ"],
)
async def test_a_wrong_key_is_no_key(lasting_house: House, authorization: str) -> None:
    async with lasting_house.stranger() as stranger:
        answer = await stranger.get("/v1/cases", headers={b"authorization": authorization.encode()})
    assert answer.status_code == 401


async def test_a_revoked_key_ends_at_once(house: House) -> None:
    async with house.client() as client:
        key_id = (await client.get("/v1/keys")).json()["keys"][0]["id"]
        assert (await client.delete(f"/v1/keys/{key_id}")).status_code == 204
        assert (await client.get("/v1/keys")).status_code == 401


async def test_a_key_asks_so_often_and_no_more(tmp_path: Path) -> None:
    house = build(tmp_path, requests_per_minute=3)
    async with house.client() as client, house.client() as other:
        statuses = [(await client.get("/v1/cases")).status_code for _ in range(4)]
        refused = await client.get("/v1/cases")
        assert (await other.get("/v1/cases")).status_code == 200
    assert statuses == [200, 200, 200, 429]
    assert refused.json()["reason"] == "overloaded"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    house.store.close()


async def test_keys_are_not_guessed_for_long(tmp_path: Path) -> None:
    house = build(tmp_path, requests_per_minute=3)
    async with house.stranger({"authorization": "Bearer guess"}) as stranger:
        statuses = [(await stranger.get("/v1/cases")).status_code for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    async with house.client() as client:
        assert (await client.get("/v1/cases")).status_code == 200
    house.store.close()


def test_what_was_spent_comes_back_with_time() -> None:
    now_s = 0.0
    rates = Rates(60, lambda: now_s)
    for _ in range(60):
        rates.take("a")
    with pytest.raises(Refusal, match=r"60 requests a minute are allowed; try again in 1\.0 s") as refused:
        rates.take("a")
    assert refused.value.retry_after_s == pytest.approx(1.0)
    now_s = 2.0
    rates.take("a")
    rates.take("a")
    with pytest.raises(Refusal):
        rates.take("a")


def test_refused_requests_cost_nothing() -> None:
    now_s = 0.0
    rates = Rates(1, lambda: now_s)
    rates.take("a")
    for _ in range(100):
        with pytest.raises(Refusal):
            rates.take("a")
    now_s = 60.0
    rates.take("a")


async def _signed_in(house: House, stranger: httpx.AsyncClient, *scopes: Scope) -> httpx.Response:
    return await stranger.post("/sign-in", data={"key": house.key(*scopes)}, headers={"origin": ORIGIN})


async def test_a_key_becomes_a_session(house: House) -> None:
    async with house.stranger() as browser:
        answer = await _signed_in(house, browser)
        assert (answer.status_code, answer.headers["location"]) == (303, "/cases")
        cookie = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
        assert int(cookie["max-age"]) == LIFETIME_S
        assert (await browser.get("/cases")).status_code == 200
        assert (await browser.get("/")).headers["location"] == "/cases"
        out = await browser.post("/sign-out", headers={"origin": ORIGIN})
        assert (out.status_code, out.headers["location"]) == (303, "/")
        assert (await browser.get("/cases", headers={"accept": "text/html"})).headers["location"] == "/"


async def test_a_cookie_over_tls_is_for_tls_alone(tmp_path: Path) -> None:
    house = build(tmp_path, public_url="https://assay.example")
    async with house.stranger() as browser:
        headers = {"origin": "https://assay.example"}
        answer = await browser.post("/sign-in", data={"key": house.key()}, headers=headers)
    assert SimpleCookie(answer.headers["set-cookie"])[COOKIE]["secure"]
    house.store.close()


async def test_a_wrong_key_signs_nobody_in(house: House) -> None:
    async with house.stranger() as browser:
        answer = await browser.post("/sign-in", data={"key": "assay_a_b"}, headers={"origin": ORIGIN})
    assert answer.status_code == 401
    assert "This key opens nothing here" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "", "://", "http://[", "http://assay.test.evil.example"]
)
async def test_another_site_changes_nothing(house: House, origin: str) -> None:
    async with house.stranger() as browser:
        await _signed_in(house, browser)
        headers = {"origin": origin} if origin else {}
        changed = await browser.post("/v1/cases", json={"claim": CLAIM}, headers=headers)
        assert (changed.status_code, changed.json()["reason"]) == (403, "forbidden")
        assert (await browser.post("/sign-out", headers=headers)).status_code == 403
        assert (await browser.post("/sign-in", data={"key": house.key()}, headers=headers)).status_code == 403
        assert (await browser.get("/v1/cases")).json()["cases"] == []
        ours = await browser.post("/v1/cases", json={"claim": CLAIM}, headers={"origin": ORIGIN})
        assert ours.status_code == 201


async def test_a_session_ends_with_its_key(house: House) -> None:
    async with house.stranger() as browser:
        await _signed_in(house, browser)
        for key in house.store.tenants.keys(house.tenant.id):
            house.store.tenants.revoke(house.tenant.id, key.id)
        assert (await browser.get("/v1/cases")).status_code == 401


def test_a_cookie_is_sealed() -> None:
    sessions, others = Sessions(b"a" * 32), Sessions(b"b" * 32)
    sealed = sessions.seal("assay_key_secret")
    assert "secret" not in sealed
    assert sessions.key(sealed) == "assay_key_secret"
    assert others.key(sealed) is None
    for forged in ("", "x", sealed[:-4] + "AAAA", "é", "assay_key_secret"):
        assert sessions.key(forged) is None


@pytest.mark.parametrize(
    ("scope", "home"),
    [(Scope.SUBMIT, "/cases"), (Scope.REVIEW, "/cases"), (Scope.ADMIN, "/settings"), (Scope.OPERATE, "/verify")],
)
async def test_everybody_begins_where_their_key_leads(house: House, scope: Scope, home: str) -> None:
    async with house.stranger() as browser:
        assert (await _signed_in(house, browser, scope)).headers["location"] == home
