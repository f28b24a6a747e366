"""Photographs by the API: judged at once, and every bad upload refused with its reason."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncGenerator

import httpx
import pytest
from PIL import Image
from tests.assay.web.house import JPEG, House, painted

from assay.views import VIEWS, View
from assay.web import photos

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024


def _encoded(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, kind, **options)
    return file.getvalue()


def _bomb() -> bytes:
    """A PNG whose header says 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunk += struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


BAD_UPLOADS = {
    "empty": (b"", 400, "invalid"),
    "text": (b"hello, I am a photograph", 415, "unsupported_media"),
    "html": (b"<html><script>alert(1)</script></html>", 415, "unsupported_media"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_media"),
    "gif": (_encoded("GIF"), 415, "unsupported_media"),
    "tiff": (_encoded("TIFF"), 415, "unsupported_media"),
    "animation": (
        _encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64), "black")]),
        415,
        "unsupported_media",
    ),
    "cut short": (painted(View.LOGO)[:5000], 422, "unreadable"),
    "polyglot": (painted(View.LOGO) + b"PK\x03\x04 an archive", 400, "invalid"),
    "script inside": (painted(View.LOGO) + b"<script>alert(1)</script>", 400, "invalid"),
    "bomb": (_bomb(), 413, "too_large"),
}


@pytest.mark.parametrize("name", BAD_UPLOADS)
async def test_a_bad_upload_is_refused(client: httpx.AsyncClient, house: House, name: str) -> None:
    content, status, reason = BAD_UPLOADS[name]
    case_id = await house.draft(client)
    answer = await client.put(f"/v1/cases/{case_id}/photos/logo", content=content, headers=JPEG)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
    assert len(answer.json()["detail"]) > 40
    assert (await client.get(f"/v1/cases/{case_id}")).json()["photos"] == []
    form = await client.post("/v1/cases", data={"brand": "A", "model": "B"}, files={"logo": ("a.jpg", content)})
    assert (form.status_code, form.json()["reason"]) == (status, reason), form.text
    assert [case["id"] for case in (await client.get("/v1/cases")).json()["cases"]] == [case_id]
    assert (await client.post("/v1/views", content=content, headers=JPEG)).status_code == status


async def test_forty_megabytes_are_refused_by_their_announcement(client: httpx.AsyncClient, house: House) -> None:
    read = 0

    async def content() -> AsyncGenerator[bytes]:
        nonlocal read
        for _ in range(40):
            read += MIB
            yield bytes(MIB)

    path = f"/v1/cases/{await house.draft(client)}/photos/logo"
    answer = await client.put(path, content=content(), headers=JPEG | {"content-length": str(40 * MIB)})
    assert (answer.status_code, answer.json()["reason"], read) == (413, "too_large", 0)


async def test_forty_megabytes_that_nobody_announced_stop_at_the_limit(house: House) -> None:
    pieces = 0

    async def receive() -> dict[str, object]:
        nonlocal pieces
        pieces += 1
        return {"type": "http.request", "body": bytes(MIB), "more_body": pieces < 40}

    async with house.client() as client:
        path = f"/v1/cases/{await house.draft(client)}/photos/logo"
        authorization = client.headers["authorization"].encode()
    status = await _ask(house, path, authorization, receive)
    assert status == 413
    assert pieces * MIB <= house.services.settings.upload_bytes + 2 * MIB


async def test_a_body_that_stops_is_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.web.bodies.SILENCE_S", 0.01)

    async def receive() -> dict[str, object]:
        return await asyncio.get_running_loop().create_future()

    async with house.client() as client:
        path = f"/v1/cases/{await house.draft(client)}/photos/logo"
        authorization = client.headers["authorization"].encode()
    assert await _ask(house, path, authorization, receive) == 408


async def _ask(house: House, path: str, authorization: bytes, receive: object) -> int:
    """The status of a PUT whose body comes from ``receive``."""
    status: list[int] = []

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    headers = [(b"authorization", authorization), (b"content-type", b"image/jpeg"), (b"host", b"assay.test")]
    scope = {"type": "http", "method": "PUT", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {
        "headers": headers,
        "scheme": "http",
        "server": ("assay.test", 80),
        "client": ("1.2.3.4", 5),
        "root_path": "",
    }
    await house.app(scope, receive, send)
    return status[0]


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "٣"])
async def test_a_wrong_announcement_is_refused(client: httpx.AsyncClient, house: House, length: str) -> None:
    path = f"/v1/cases/{await house.draft(client)}/photos/logo"
    headers = {**JPEG, "content-length": length.encode()}
    answer = await client.put(path, content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (400, "invalid")


async def test_a_good_photograph_has_no_findings(client: httpx.AsyncClient, house: House) -> None:
    content = painted(View.LOGO)
    answer = await client.put(f"/v1/cases/{await house.draft(client)}/photos/logo", content=content, headers=JPEG)
    photo = answer.json()
    assert (photo["findings"], photo["is_usable"], photo["size_bytes"]) == ([], True, len(content))
    assert (photo["width"], photo["height"], photo["media_type"]) == (720, 720, "image/jpeg")


async def test_a_small_photograph_is_advised_on(client: httpx.AsyncClient, house: House) -> None:
    small = painted(View.LOGO, side=120)
    answer = await client.put(f"/v1/cases/{await house.draft(client)}/photos/logo", content=small, headers=JPEG)
    photo = answer.json()
    assert not photo["is_usable"]
    assert "too_small" in [finding["fault"] for finding in photo["findings"]]
    assert house.services.meter.counts("retake")["too_small"] == 1


async def test_another_view_is_advised_on(client: httpx.AsyncClient, house: House) -> None:
    path = f"/v1/cases/{await house.draft(client)}/photos/stitching"
    findings = (await client.put(path, content=painted(View.LINING), headers=JPEG)).json()["findings"]
    assert [finding["fault"] for finding in findings] == ["wrong_view"]
    assert findings[0]["advice"] == "This looks like the lining. Here we need the stitching."


async def test_a_photograph_is_taken_though_the_lens_is_down(client: httpx.AsyncClient, house: House) -> None:
    house.lens.is_down = True
    path = f"/v1/cases/{await house.draft(client)}/photos/stitching"
    answer = await client.put(path, content=painted(View.LINING), headers=JPEG)
    assert (answer.status_code, answer.json()["findings"]) == (200, [])
    told = await client.post("/v1/views", content=painted(View.LINING), headers=JPEG)
    assert (told.status_code, told.json()["reason"]) == (503, "unavailable")
    assert told.headers["retry-after"] == "1"


async def test_the_answer_waits_for_the_lens_a_second_at_most(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(photos, "VIEW_CHECK_S", 0.01)
    monkeypatch.setattr(house.lens, "look", never)
    path = f"/v1/cases/{await house.draft(client)}/photos/stitching"
    assert (await client.put(path, content=painted(View.LINING), headers=JPEG)).json()["findings"] == []


async def test_one_picture_for_two_views_is_found_with_both(client: httpx.AsyncClient, house: House) -> None:
    house.lens.is_down = True
    case_id = await house.draft(client, [View.LOGO])
    path = f"/v1/cases/{case_id}/photos/lining"
    findings = (await client.put(path, content=painted(View.LOGO), headers=JPEG)).json()["findings"]
    assert [(f["fault"], f["advice"]) for f in findings] == [
        ("duplicate_in_case", "This is the same picture as for the logo. Take one of each.")
    ]
    shown = (await client.get(f"/v1/cases/{case_id}")).json()["photos"]
    assert [photo["findings"][0]["fault"] for photo in shown] == ["duplicate_in_case"] * 2
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(f"/v1/cases/{case_id}")).json()["photos"][0]["findings"] == []


async def test_a_picture_of_an_earlier_case_is_noted(client: httpx.AsyncClient, house: House) -> None:
    earlier = await house.draft(client, [View.LOGO])
    path = f"/v1/cases/{await house.draft(client)}/photos/logo"
    photo = (await client.put(path, content=painted(View.LOGO), headers=JPEG)).json()
    assert [finding["fault"] for finding in photo["findings"]] == ["reused"]
    assert earlier in photo["findings"][0]["advice"]
    assert photo["is_usable"]


async def test_a_picture_of_another_tenant_is_not_spoken_of(client: httpx.AsyncClient, house: House) -> None:
    async with house.client(tenant=house.store.tenants.create("Other")) as other:
        await house.draft(other, [View.LOGO])
    path = f"/v1/cases/{await house.draft(client)}/photos/logo"
    assert (await client.put(path, content=painted(View.LOGO), headers=JPEG)).json()["findings"] == []


async def test_what_is_shown_has_no_metadata(client: httpx.AsyncClient, house: House) -> None:
    original = painted(View.LOGO)
    assert b"Camera of somebody" in original
    case_id = await house.draft(client, [View.LOGO])
    shown = await client.get(f"/v1/cases/{case_id}/photos/logo")
    assert shown.headers["content-type"] == "image/jpeg"
    assert b"Camera" not in shown.content
    assert Image.open(io.BytesIO(shown.content)).size == (320, 320)
    assert (await client.get(f"/v1/cases/{case_id}/photos/lining")).status_code == 404


async def test_there_are_six_views(client: httpx.AsyncClient, house: House) -> None:
    answer = await client.put(f"/v1/cases/{await house.draft(client)}/photos/sole", content=b"x", headers=JPEG)
    assert answer.status_code == 404
    assert "there are exterior, logo," in answer.json()["detail"]


async def test_a_submitted_case_takes_no_photographs(client: httpx.AsyncClient, house: House) -> None:
    case_id = await house.draft(client, [View.LOGO])
    await client.post(f"/v1/cases/{case_id}/submit")
    changed = await client.put(f"/v1/cases/{case_id}/photos/logo", content=painted(View.LOGO), headers=JPEG)
    assert (changed.status_code, changed.json()["reason"]) == (409, "conflict")
    assert (await client.delete(f"/v1/cases/{case_id}/photos/logo")).status_code == 409


@pytest.mark.parametrize("view", VIEWS)
async def test_the_view_is_told(client: httpx.AsyncClient, view: View) -> None:
    told = (await client.post("/v1/views", content=painted(view), headers=JPEG)).json()
    assert told["view"] == view.value
    assert told["probabilities"][view.value] == pytest.approx(0.9)
