"""Reports by the API, their pictures, and public verification."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re

import httpx
import pytest
from PIL import Image
from tests.assay.web.house import House

from assay.cases import Scope, Verdict
from assay.report.verification import verify

pytestmark = pytest.mark.anyio


async def test_the_document_is_given_byte_for_byte(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.reported(client)
    document = (await client.get(f"/v1/cases/{case_id}/report.json")).content
    assert document == house.store.reports.get(house.tenant.id, case_id).content
    assert verify(document, house.services.signer.keys).passed


async def test_the_page_carries_its_own_policy(client: httpx.AsyncClient, house: House) -> None:
    answer = await client.get(f"/v1/cases/{await house.reported(client, Verdict.NOT_CONSISTENT)}/report.html")
    policy = answer.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert "<script" not in answer.text
    assert f"{house.services.settings.public_url or 'http://assay.test'}/verify/report_" in answer.text


async def test_the_pdf_is_one(client: httpx.AsyncClient, house: House) -> None:
    answer = await client.get(f"/v1/cases/{await house.reported(client)}/report.pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")


@pytest.mark.parametrize("ending", ["json", "html", "pdf"])
async def test_a_draft_has_no_report(client: httpx.AsyncClient, house: House, ending: str) -> None:
    answer = await client.get(f"/v1/cases/{await house.draft(client)}/report.{ending}")
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")


async def test_every_picture_of_the_report_is_there(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.reported(client, Verdict.NOT_CONSISTENT)
    report = (await client.get(f"/v1/cases/{case_id}/report.json")).json()
    for view in report["result"]["views"]:
        photo = await client.get(f"/v1/cases/{case_id}/pictures/{view['photo']['picture_sha256']}")
        heat = await client.get(f"/v1/cases/{case_id}/pictures/{view['heat_map']['sha256']}")
        near = await client.get(f"/v1/cases/{case_id}/pictures/{view['judged']['nearest'][0]['picture_sha256']}")
        kinds = [answer.headers["content-type"] for answer in (photo, heat, near)]
        assert kinds == ["image/jpeg", "image/png", "image/jpeg"]
        laid_over = await client.get(f"/v1/cases/{case_id}/heat-maps/{view['view']}")
        assert Image.open(io.BytesIO(laid_over.content)).size == (320, 320)
        assert laid_over.content != photo.content


async def test_an_original_is_not_served(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.reported(client)
    original = (await client.get(f"/v1/cases/{case_id}")).json()["photos"][0]["sha256"]
    assert house.store.blobs.get(house.tenant.id, original)
    assert (await client.get(f"/v1/cases/{case_id}/pictures/{original}")).status_code == 404


async def test_where_nothing_was_compared_there_is_no_heat_map(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.reported(client, Verdict.NOT_SUPPORTED)
    assert (await client.get(f"/v1/cases/{case_id}/heat-maps/logo")).status_code == 404


async def test_people_replace_the_verdict_on_the_page(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.reported(client, Verdict.INCONCLUSIVE)
    automatic = (await client.get(f"/v1/cases/{case_id}/report.json")).content
    for _ in range(2):
        async with house.client(Scope.REVIEW) as reviewer:
            body = {"verdict": "CONSISTENT", "note": "Engraving and weave are right."}
            assert (await reviewer.post(f"/v1/reviews/{case_id}/opinions", json=body)).status_code == 201
    page = (await client.get(f"/v1/cases/{case_id}/report.html")).text
    assert "Engraving and weave are right." in page
    assert (await client.get(f"/v1/cases/{case_id}")).json()["verdict"] == "CONSISTENT"
    assert (await client.get(f"/v1/cases/{case_id}/report.json")).content == automatic


async def test_an_opinion_alone_does_not_show(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.reported(client)
    body = {"verdict": "CONSISTENT", "note": "Only me so far."}
    await client.post(f"/v1/reviews/{case_id}/opinions", json=body)
    assert "Only me so far." not in (await client.get(f"/v1/cases/{case_id}/report.html")).text


async def _report(client: httpx.AsyncClient, house: House) -> bytes:
    return (await client.get(f"/v1/cases/{await house.reported(client)}/report.json")).content


async def test_anyone_verifies_a_document(client: httpx.AsyncClient, house: House) -> None:
    document = await _report(client, house)
    headers = {"content-type": "application/json"}
    async with house.stranger() as stranger:
        good = (await stranger.post("/v1/verify", content=document, headers=headers)).json()
        changed = document.replace(b"INCONCLUSIVE", b"CONSISTENT")
        bad = (await stranger.post("/v1/verify", content=changed, headers=headers)).json()
        keys = (await stranger.get("/.well-known/assay-keys.json")).json()["keys"]
    assert (good["is_valid"], good["verdict"], good["key_id"]) == (True, "INCONCLUSIVE", keys[0]["id"])
    assert not bad["is_valid"]
    assert [check["name"] for check in bad["checks"] if not check["passed"]] == ["digest", "signature"]


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00", b"[1]", b"[" * 10_000])
async def test_what_is_no_report_is_not_valid(house: House, content: bytes) -> None:
    async with house.stranger() as stranger:
        answer = await stranger.post("/v1/verify", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["is_valid"]) == (200, False)


async def test_a_document_of_five_megabytes_is_refused(house: House) -> None:
    async with house.stranger() as stranger:
        answer = await stranger.post("/v1/verify", content=bytes(5 << 20))
    assert answer.status_code == 413


async def test_the_number_on_a_report_leads_to_its_verification(client: httpx.AsyncClient, house: House) -> None:
    report = json.loads(await _report(client, house))
    async with house.stranger() as stranger:
        page = await stranger.get(f"/verify/{report['id']}")
        unknown = await stranger.get("/verify/report_unknown")
    assert (page.status_code, unknown.status_code) == (200, 404)
    assert "REPORT VERIFIED" in page.text
    assert report["result_sha256"] in page.text
    for private in ("Maison Arcel", "SKU", house.tenant.id, report["result"]["case"]["id"]):
        assert private not in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]


async def test_an_erased_report_is_not_verified_any_more(client: httpx.AsyncClient, house: House) -> None:
    report = json.loads(await _report(client, house))
    await client.delete(f"/v1/cases/{report['result']['case']['id']}")
    assert (await client.get(f"/verify/{report['id']}")).status_code == 404


async def test_a_file_is_verified_on_the_page(client: httpx.AsyncClient, house: House) -> None:
    document = await _report(client, house)
    async with house.stranger() as stranger:
        assert (await stranger.get("/verify")).status_code == 200
        good = await stranger.post("/verify", files={"document": ("r.json", document)})
        bad = await stranger.post("/verify", files={"document": ("r.json", document + b" ")})
        none = await stranger.post("/verify", files={"other": ("r.json", document)})
    assert "REPORT VERIFIED" in good.text
    assert "REPORT NOT VERIFIED" in bad.text
    assert none.status_code == 400
