"""Reports as JSON, as a page, as PDF; and the pictures they show."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from assay.cases import Case
from assay.errors import not_found
from assay.imaging.heat import overlay
from assay.report.document import Decision
from assay.report.page import content_security_policy, html
from assay.report.paper import pdf
from assay.web.call import Call
from assay.web.decisions import decision_of

_KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}
_KEEP = {"cache-control": "private, max-age=3600, immutable"}  # content under its hash does not change


async def report_json(call: Call) -> Response:
    """The signed document, byte for byte."""
    return _inline(await document_of(call), "application/json", "json", call)


async def report_html(call: Call) -> Response:
    page = await call.run(_rendered, call, await document_of(call), html)
    policy = f"{content_security_policy()}; frame-ancestors 'self'"
    headers = {"cache-control": "no-store", "content-security-policy": policy}
    return Response(page, media_type="text/html", headers=headers)


async def report_pdf(call: Call) -> Response:
    return _inline(await call.run(_rendered, call, await document_of(call), pdf), "application/pdf", "pdf", call)


async def document_of(call: Call) -> bytes:
    """The case's report. Raises Refusal NOT_FOUND when it has none."""
    return (await call.run(call.services.store.reports.get, call.tenant_id, call.path("case_id"))).content


def _inline(content: bytes, media_type: str, ending: str, call: Call) -> Response:
    disposition = f'inline; filename="assay-{call.path("case_id")}.{ending}"'
    headers = {"cache-control": "no-store", "content-disposition": disposition}
    return Response(content, media_type=media_type, headers=headers)


def _rendered(call: Call, document: bytes, render: Any) -> Any:
    decision: Decision | None = decision_of(call)
    notice = call.services.settings.notice
    verify_url = f"{call.public_url}/verify/{json.loads(document)['id']}"
    return render(document, lambda digest: find_picture(call, digest), verify_url, notice, decision=decision)


def find_picture(call: Call, digest: str) -> bytes | None:
    """A picture of the caller's tenant, or of a reference."""
    return call.services.store.blobs.get(call.tenant_id, digest) or call.services.references.picture(digest)


async def show_photo(call: Call) -> Response:
    """The picture of a view: upright, small, without metadata. The original is evidence and is not served."""
    pictures = await call.run(call.services.store.cases.pictures, call.tenant_id, call.path("case_id"))
    digest = pictures.get(call.view, "")
    content = await call.run(call.services.store.blobs.get, call.tenant_id, digest)
    if content is None:
        raise not_found(f"case {call.path('case_id')} has no photograph of the {call.view.title}")
    return Response(content, media_type="image/jpeg", headers={"cache-control": "no-store"})


async def show_picture(call: Call) -> Response:
    """A picture that belongs to the case: of a photograph, of a map, of a reference that its report shows."""
    digest = call.path("sha256")
    case = await call.run(call.services.store.cases.get, call.tenant_id, call.path("case_id"))
    content = None
    if digest in await call.run(_pictures_of, call, case):
        content = await call.run(find_picture, call, digest)
    if content is None:
        raise not_found(f"case {case.id} has no picture {digest[:64]!r}; its report names those that it has")
    kind = next(kind for mark, kind in _KINDS.items() if content.startswith(mark))
    return Response(content, media_type=kind, headers=_KEEP)


def _pictures_of(call: Call, case: Case) -> set[str]:
    photos = set(call.services.store.cases.pictures(case.tenant_id, case.id).values())
    if not case.report_id:
        return photos
    return photos | named_pictures(json.loads(call.services.store.reports.get(case.tenant_id, case.id).content))


def named_pictures(report: Any) -> set[str]:
    """Digests of the pictures that a report names."""
    named: set[str] = set()
    for view in report["result"]["views"]:
        named.add(view["photo"]["picture_sha256"])
        named |= {shown["sha256"] for shown in (view["heat_map"], view["view_map"]) if shown}
        named |= {near["picture_sha256"] for near in (view["judged"] or {}).get("nearest", ())}
    return named


async def show_heat_map(call: Call) -> Response:
    """A view's heat map laid over its photograph."""
    report = json.loads(await document_of(call))
    content = await call.run(_laid_over, call, report)
    if content is None:
        raise not_found(f"the report has no heat map of the {call.view.title}")
    return Response(content, media_type="image/jpeg", headers=_KEEP)


def _laid_over(call: Call, report: Any) -> bytes | None:
    shown = next((view for view in report["result"]["views"] if view["view"] == call.view.value), None)
    if shown is None or shown["heat_map"] is None:
        return None
    photo = find_picture(call, shown["photo"]["picture_sha256"])
    heat_map = find_picture(call, shown["heat_map"]["sha256"])
    return None if photo is None or heat_map is None else overlay(photo, heat_map)
