"""The pages for people. They show; what they change goes through the API."""

from __future__ import annotations

from starlette.responses import Response

from assay.cases import OF_OPERATORS, Case, CaseState, Scope, Verdict
from assay.report.wording import GUIDANCE
from assay.views import VIEWS
from assay.web import verification
from assay.web.call import Call
from assay.web.cases import cases_found
from assay.web.operations import MULTIPART, REPORT_LIMIT_BYTES, Answer, Body, Operation
from assay.web.rendering import page
from assay.web.reviewing import review_case_page, review_queue_page
from assay.web.signing_in import sign_in, sign_in_page, sign_out

_READ = (Scope.SUBMIT, Scope.REVIEW)
_FILTERS = ("text", "state", "verdict")


async def cases_page(call: Call) -> Response:
    chosen = {name: call.request.query_params.get(name, "") for name in _FILTERS}
    cases, cursor = await cases_found(call)
    following = call.request.url.include_query_params(cursor=cursor)
    return page(
        call,
        "cases.html",
        cases=cases,
        chosen=chosen,
        next_page=f"/cases?{following.query}" if cursor else "",
        all_verdicts=tuple(Verdict),
        may_submit=call.allows(Scope.SUBMIT),
    )


async def new_case_page(call: Call) -> Response:
    return await _case_form(call, None)


async def case_page(call: Call) -> Response:
    """As the case's state is: the form of a draft, the progress, the report."""
    case = await call.run(call.services.store.cases.get, call.tenant_id, call.path("case_id"))
    if case.state is CaseState.DRAFT:
        return await _case_form(call, case)
    notice = "" if case.state is CaseState.REPORTED else call.services.settings.notice  # the report has its own
    return page(call, "case.html", case=case, may_erase=call.allows(Scope.ADMIN), notice=notice)


async def _case_form(call: Call, case: Case | None) -> Response:
    enrolled: dict[str, list[str]] = {}
    for claim in await call.run(call.services.references.models):
        enrolled.setdefault(claim.brand, []).append(claim.model)
    return page(call, "case_form.html", case=case, views=VIEWS, guidance=GUIDANCE, enrolled=enrolled)


async def settings_page(call: Call) -> Response:
    tenants = call.services.store.tenants
    scopes = [scope for scope in Scope if scope not in OF_OPERATORS or call.allows(Scope.OPERATE)]
    tenant = await call.run(tenants.get, call.tenant_id)
    keys = await call.run(tenants.keys, call.tenant_id)
    return page(call, "settings.html", tenant=tenant, keys=keys, scopes=scopes)


_PAGE = (Answer(200, "The page.", {"text/html": {}}),)
_FORM = Body({"application/x-www-form-urlencoded": {}}, 4096)
_UPLOAD = Body({MULTIPART: {}}, REPORT_LIMIT_BYTES)

PAGES = (
    Operation("sign_in_page", "GET", "/", (), "Sign in.", sign_in_page, _PAGE),
    Operation("sign_in", "POST", "/sign-in", (), "Sign in with a key.", sign_in, _PAGE, _FORM),
    Operation("sign_out", "POST", "/sign-out", (), "End the session.", sign_out, _PAGE, _FORM),
    Operation("cases_page", "GET", "/cases", _READ, "The cases.", cases_page, _PAGE),
    Operation("new_case_page", "GET", "/cases/new", (Scope.SUBMIT,), "A new case.", new_case_page, _PAGE),
    Operation("case_page", "GET", "/cases/{case_id}", _READ, "One case.", case_page, _PAGE),
    Operation("review_page", "GET", "/review", (Scope.REVIEW,), "The review queue.", review_queue_page, _PAGE),
    Operation("review_case", "GET", "/review/{case_id}", (Scope.REVIEW,), "One review.", review_case_page, _PAGE),
    Operation("settings_page", "GET", "/settings", (Scope.ADMIN,), "The tenant's settings.", settings_page, _PAGE),
    Operation("verify_page", "GET", "/verify", (), "Verify a file.", verification.verification_form, _PAGE),
    Operation("verify_upload", "POST", "/verify", (), "Verify a file.", verification.verify_upload, _PAGE, _UPLOAD),
    Operation("verify_id", "GET", "/verify/{report_id}", (), "Verify a report.", verification.verification_of, _PAGE),
)
"""Routed and checked as operations are; not part of the API's document."""
