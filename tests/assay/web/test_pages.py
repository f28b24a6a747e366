"""Pages: what they show, that nothing runs in them but our own script, and what happens where there is none."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
import pytest
from tests.assay.web.house import House

from assay.cases import Claim, Scope, Verdict
from assay.references.snapshot import ReferenceStore
from assay.views import VIEWS, View
from assay.web.assets import asset
from assay.web.headers import PAGE_POLICY, SECURITY_HEADERS

pytestmark = pytest.mark.anyio
BROWSER = {"accept": "text/html,application/xhtml+xml"}


class Reading(HTMLParser):
    """What a browser would run, load and label."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


async def _pages(client: httpx.AsyncClient, house: House) -> dict[str, str]:
    draft, reported = await house.draft(client, VIEWS[:2]), await house.reported(client, Verdict.NOT_CONSISTENT)
    queued = await house.draft(client, VIEWS[2:3])
    await client.post(f"/v1/cases/{queued}/submit")
    failed = await house.draft(client, VIEWS[3:4])
    await client.post(f"/v1/cases/{failed}/submit")
    house.store.cases.fail(failed, "the lens was down for a day")
    erased = await house.draft(client)
    await client.delete(f"/v1/cases/{erased}")
    cases = [f"/cases/{case_id}" for case_id in (draft, reported, queued, failed, erased)]
    paths = ["/cases", "/cases/new", *cases, "/review", f"/review/{reported}", "/settings"]
    pages = {path: await client.get(path, headers=BROWSER) for path in paths}
    async with house.stranger() as stranger:
        pages["/"] = await stranger.get("/")
    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(pages, 200)
    return {path: page.text for path, page in pages.items()}


async def test_nothing_runs_in_a_page_but_our_script(client: httpx.AsyncClient, house: House) -> None:
    for path, page in (await _pages(client, house)).items():
        reading = Reading(page)
        assert [script.get("src") for script in reading.all("script")] == [asset("app.js")], path
        assert not reading.all("style"), path
        for tag, attributes in reading.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (path, tag)
            for name in ("href", "src", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#")), (path, tag)


async def test_every_field_has_a_label_and_every_picture_a_text(client: httpx.AsyncClient, house: House) -> None:
    for path, page in (await _pages(client, house)).items():
        reading = Reading(page)
        labelled = {label.get("for") for label in reading.all("label")}
        for field in reading.all("input") + reading.all("select") + reading.all("textarea"):
            is_wrapped = field.get("type") in ("file", "radio", "checkbox")
            assert is_wrapped or field.get("id") in labelled, (path, field)
        assert all("alt" in picture for picture in reading.all("img")), path
        assert len(reading.all("h1")) == 1, path
        assert reading.all("html")[0].get("lang") == "en"


async def test_policy_and_headers_come_with_every_answer(client: httpx.AsyncClient, house: House) -> None:
    assert "unsafe" not in PAGE_POLICY
    for path in ("/", "/cases", "/nope", "/v1/cases", "/v1/cases/x", "/healthz", "/openapi.json", asset("app.js")):
        answer = await client.get(path)
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value, (path, name)


@pytest.mark.parametrize("name", ["app.js", "style.css", "mark.svg"])
async def test_assets_are_fetched_once(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(asset(name))
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert (await client.get(f"/static/{'0' * 16}/{name}")).status_code == 404


@pytest.mark.parametrize("path", ["/static/x/..%2f..%2fsettings.py", "/static/x/%2e%2e/app.js", "/static/x/app.py"])
async def test_nothing_else_is_an_asset(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_who_is_not_signed_in_is_led_to_do_so(house: House) -> None:
    async with house.stranger() as stranger:
        answer = await stranger.get("/cases", headers=BROWSER)
        api = await stranger.get("/v1/cases", headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (api.status_code, api.json()["reason"]) == (401, "unauthenticated")


async def test_people_and_programs_are_each_told_in_their_way(client: httpx.AsyncClient) -> None:
    page = await client.get("/cases/case_x", headers=BROWSER)
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "there is no case" in page.text
    problem = await client.get("/cases/case_x")
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["type"] == "urn:assay:problem:not_found"
    assert (await client.put("/v1/cases")).json()["reason"] == "method_not_allowed"


async def test_what_a_user_wrote_is_shown_as_text(client: httpx.AsyncClient, house: House) -> None:
    script = "<script>alert(1)</script>"
    body = {"claim": {"brand": script, "model": script}, "customer_reference": script}
    case_id = (await client.post("/v1/cases", json=body)).json()["id"]
    for path in ("/cases", f"/cases/{case_id}", f"/cases?text={script}"):
        page = (await client.get(path)).text
        assert script not in page
        assert "&lt;script&gt;" in page


async def test_the_list_shows_verdicts_and_filters(client: httpx.AsyncClient, house: House) -> None:
    reported = await house.reported(client, Verdict.NOT_CONSISTENT)
    draft = await house.draft(client)
    page = (await client.get("/cases")).text
    assert '<span class="chip not-consistent">Not consistent</span>' in page
    assert '<span class="chip draft">Draft</span>' in page
    only = (await client.get("/cases?text=&state=&verdict=NOT+CONSISTENT")).text
    assert f"/cases/{reported}" in only
    assert f"/cases/{draft}" not in only


async def test_older_cases_are_a_link_away(client: httpx.AsyncClient, house: House) -> None:
    ids = [await house.draft(client) for _ in range(3)]
    first = (await client.get("/cases?most=2&text=Tote")).text
    link = re.search(r'href="(/cases\?[^"]+)">Older', first)
    assert link
    older = (await client.get(link[1].replace("&amp;", "&"))).text
    assert [f"/cases/{case_id}" in older for case_id in ids] == [True, False, False]


async def test_the_form_offers_what_is_enrolled_and_six_slots(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    references: ReferenceStore = house.services.references
    monkeypatch.setattr(references, "models", lambda: [Claim("Maison Arcel", "Tote 32"), Claim("Orsay", "Doctor")])
    reading = Reading((await client.get("/cases/new")).text)
    options = [(o.get("data-brand"), o.get("data-model")) for o in reading.all("option") if o.get("data-brand")]
    assert options == [("Maison Arcel", "Tote 32"), ("Orsay", "Doctor")]
    assert [slot["data-view"] for slot in reading.all("li") if "data-view" in slot] == [view.value for view in VIEWS]
    cameras = [field for field in reading.all("input") if field.get("capture") == "environment"]
    assert len(cameras) == len(reading.all("svg")) == 6


async def test_a_draft_is_taken_up_again(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.draft(client, [View.LOGO])
    reading = Reading((await client.get(f"/cases/{case_id}")).text)
    pictures = [picture["data-picture"] for picture in reading.all("img") if "data-picture" in picture]
    assert pictures == [f"/v1/cases/{case_id}/photos/logo"]
    assert not [field for field in reading.all("select") if field.get("id") == "known"]


async def test_a_page_shows_what_its_reader_may(house: House) -> None:
    async with house.client(Scope.SUBMIT) as till:
        page = (await till.get("/cases")).text
        reported = await house.reported(till)
        case = (await till.get(f"/cases/{reported}")).text
    assert "/settings" not in page
    assert "/review" not in page
    assert "Erase this case" not in case
    async with house.client(Scope.REVIEW) as reviewer:
        assert "/cases/new" not in (await reviewer.get("/cases")).text
