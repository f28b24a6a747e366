"""Cases: made, listed, submitted, erased."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from assay.cases import Case, CaseState, Claim, Lane, Verdict
from assay.errors import invalid
from assay.views import VIEWS, View
from assay.web.call import Call, answer, nothing
from assay.web.documents import case_document
from assay.web.fields import Fields
from assay.web.operations import JSON, MULTIPART
from assay.web.photos import found_besides, read_photo

_FORM_FIELDS = ("brand", "model", "lane", "customer_reference")
_PAGE_MOST = 100


async def create_case(call: Call) -> Response:
    """A draft from JSON, or all in one go from a form, which is submitted at once."""
    if call.media_type == MULTIPART:
        return await _create_whole(call)
    if call.media_type != JSON:
        raise invalid(f"the body is {call.media_type or 'of no type'}; expected {JSON} or {MULTIPART}")
    fields = await call.fields("claim", "lane", "customer_reference")
    claim = fields.within("claim").only("brand", "model")
    case = await _made(call, _new_case(claim, fields))
    return answer(case_document(case), 201, {"location": f"/v1/cases/{case.id}"})


class NewCase(NamedTuple):
    """What is said of an item before there are photographs."""

    claim: Claim
    lane: Lane
    customer_reference: str


def _new_case(claim: Fields, fields: Fields) -> NewCase:
    said = Claim(claim.text("brand", 1, 80), claim.text("model", 1, 80))
    return NewCase(said, fields.choice("lane", Lane, Lane.NORMAL), fields.text("customer_reference"))


async def _made(call: Call, new: NewCase) -> Case:
    key, actor = _idempotency_key(call), call.caller.key_id
    return await call.run(call.services.store.cases.create, call.tenant_id, *new, key, actor)


def _idempotency_key(call: Call) -> str:
    key = call.request.headers.get("idempotency-key", "")
    if len(key) > 200 or not key.isprintable():
        raise invalid(f"header Idempotency-Key has {len(key)} characters; expected at most 200 printable ones")
    return key


def _traceparent(call: Call) -> str:
    return call.request.headers.get("traceparent", "")[:64]


async def _create_whole(call: Call) -> Response:
    async with call.request.form(max_files=len(VIEWS), max_fields=len(_FORM_FIELDS)) as form:
        texts = {name: value for name, value in form.items() if isinstance(value, str)}
        fields = Fields(texts, "form").only(*_FORM_FIELDS)
        new = _new_case(fields, fields)
        contents = {view: await upload.read() for view, upload in _uploads(form).items()}
    cases, meter = call.services.store.cases, call.services.meter
    await call.run(cases.check_room)  # before any decoding
    with meter.timed("receive"):
        read = await asyncio.gather(*(read_photo(call, view, content) for view, content in contents.items()))
    claim, lane, reference = new
    said = (reference, _idempotency_key(call), _traceparent(call), call.caller.key_id)
    with meter.timed("accept"):
        case = await call.run(cases.accept, call.tenant_id, claim, lane, [given for given, _ in read], *said)
    call.door.submitted()
    return answer(case_document(case), 202, {"location": f"/v1/cases/{case.id}"})


def _uploads(form: FormData) -> dict[View, UploadFile]:
    files = {name: value for name, value in form.items() if isinstance(value, UploadFile)}
    views = {view.value: view for view in VIEWS}
    unknown = sorted(files.keys() - views.keys())
    if unknown:
        raise invalid(f"the form has a file {unknown[0][:40]!r}; expected files named {', '.join(views)}")
    if not files:
        raise invalid(f"the form has no photograph; expected files named {', '.join(views)}")
    return {views[name]: upload for name, upload in files.items()}


async def submit_case(call: Call) -> Response:
    case = await _submitted(call, call.path("case_id"))
    return answer(case_document(case), 202, {"location": f"/v1/cases/{case.id}"})


async def _submitted(call: Call, case_id: str) -> Case:
    submit, actor = call.services.store.cases.submit, call.caller.key_id
    case = await call.run(submit, call.tenant_id, case_id, _traceparent(call), actor)
    call.door.submitted()
    return case


async def show_case(call: Call) -> Response:
    case = await call.run(call.services.store.cases.get, call.tenant_id, call.path("case_id"))
    besides = await found_besides(call, case) if case.state is CaseState.DRAFT else {}
    return answer(case_document(case, besides))


async def list_cases(call: Call) -> Response:
    cases, cursor = await cases_found(call)
    return answer({"cases": [case_document(case) for case in cases], "next_cursor": cursor or None})


async def cases_found(call: Call) -> tuple[list[Case], str]:
    """What the query asks for, newest first, and where the next page begins."""
    query = call.query.only("state", "verdict", "text", "cursor", "most")
    states = (query.choice("state", CaseState),) if "state" in query else ()
    verdict = query.choice("verdict", Verdict) if "verdict" in query else None
    most = query.whole("most", 1, _PAGE_MOST, 25)
    find = call.services.store.cases.find
    return await call.run(find, call.tenant_id, states, verdict, query.text("text"), query.text("cursor"), most)


async def erase_case(call: Call) -> Response:
    await call.run(call.services.store.retention.erase, call.tenant_id, call.path("case_id"), call.caller.key_id)
    return nothing()
