"""Every operation of the API: routes, limits of bodies, scopes of keys and the OpenAPI document come from here."""

from __future__ import annotations

from assay.cases import CaseState, Scope, Verdict
from assay.views import VIEWS
from assay.web import cases, health, live, metrics, operator, photos, reports, reviews, tenant, verification
from assay.web.call import Handler, Json
from assay.web.operations import JSON, MULTIPART, PHOTO_TYPES, REPORT_LIMIT_BYTES, Answer, Body, Operation, Parameter
from assay.web.schemas import BINARY, TEXT, one_of, ref, whole

_SUBMIT = (Scope.SUBMIT,)
_READ = (Scope.SUBMIT, Scope.REVIEW)
_REVIEW = (Scope.REVIEW,)
_ADMIN = (Scope.ADMIN,)
_OPERATE = (Scope.OPERATE,)
_ANYONE: tuple[Scope, ...] = ()

_PHOTO = Body(dict.fromkeys(PHOTO_TYPES, BINARY), 0, photos=1)
_CASE_ID = "/v1/cases/{case_id}"
_ENROLMENT_BYTES = 512 * 1024 * 1024
_IDEMPOTENCY = Parameter(
    "Idempotency-Key", {"type": "string", "maxLength": 200}, "The same key gives the same case.", "header"
)
_LISTING = (
    Parameter("state", one_of(CaseState), "Cases in this state."),
    Parameter("verdict", one_of(Verdict), "Cases with this verdict."),
    Parameter("text", {"type": "string", "maxLength": 200}, "In the brand, the model or the customer reference."),
    Parameter("cursor", TEXT, "next_cursor of the page before."),
    Parameter("most", whole(1, 100), "Cases on a page."),
)
_AUDIT = (
    Parameter("after_seq", whole(0, 999_999_999), "Entries behind this one."),
    Parameter("most", whole(1, 1000), "Entries at once."),
    Parameter("subject", {"type": "string", "maxLength": 200}, "Of one case, key or tenant."),
)


def _takes(schema: str) -> Body:
    return Body({JSON: ref(schema)})


def _gives(schema: str, text: str, status: int = 200) -> Answer:
    return Answer(status, text, {JSON: ref(schema)})


def _file(media_type: str, text: str) -> Answer:
    return Answer(200, text, {media_type: BINARY})


def _get(
    name: str, path: str, scopes: tuple[Scope, ...], summary: str, handler: Handler, gives: Answer, *query: Parameter
) -> Operation:
    return Operation(name, "GET", path, scopes, summary, handler, (gives,), None, query)


def _change(
    name: str,
    route: str,
    scopes: tuple[Scope, ...],
    summary: str,
    handler: Handler,
    gives: Answer,
    body: Body | None = None,
) -> Operation:
    method, path = route.split(" ")
    return Operation(name, method, path, scopes, summary, handler, (gives,), body)


_GONE = Answer(204, "Done.", {})
_TEXT_EVENTS: Json = {"type": "string", "description": "Events `state` and `stage`, each with JSON."}

CASES = (
    Operation(
        "create_case",
        "POST",
        "/v1/cases",
        _SUBMIT,
        "Make a draft; or, as a form with six files named by view, a whole case that is submitted at once.",
        cases.create_case,
        (_gives("Case", "The draft.", 201), _gives("Case", "The case, submitted.", 202)),
        Body({JSON: ref("NewCase"), MULTIPART: ref("WholeCase")}, photos=len(VIEWS)),
        (_IDEMPOTENCY,),
    ),
    _get(
        "list_cases",
        "/v1/cases",
        _READ,
        "List cases, newest first.",
        cases.list_cases,
        _gives("Cases", "A page."),
        *_LISTING,
    ),
    _get("show_case", _CASE_ID, _READ, "Show a case.", cases.show_case, _gives("Case", "The case.")),
    _change("erase_case", f"DELETE {_CASE_ID}", _ADMIN, "Erase photographs and report.", cases.erase_case, _GONE),
    _change(
        "put_photo",
        f"PUT {_CASE_ID}/photos/{{view}}",
        _SUBMIT,
        "Give the photograph of a view; what is wrong with it is said at once.",
        photos.put_photo,
        _gives("Photo", "As received."),
        _PHOTO,
    ),
    _get(
        "show_photo",
        f"{_CASE_ID}/photos/{{view}}",
        _READ,
        "Show the picture of a view: upright, small, without metadata.",
        reports.show_photo,
        _file("image/jpeg", "The picture."),
    ),
    _change(
        "remove_photo",
        f"DELETE {_CASE_ID}/photos/{{view}}",
        _SUBMIT,
        "Take a photograph back.",
        photos.remove_photo,
        _GONE,
    ),
    _change(
        "submit_case",
        f"POST {_CASE_ID}/submit",
        _SUBMIT,
        "Submit for judging. Again: no change.",
        cases.submit_case,
        _gives("Case", "Accepted: it ends in a report.", 202),
    ),
    _get(
        "case_events",
        f"{_CASE_ID}/events",
        _READ,
        "Follow a case by server-sent events, until it ends.",
        live.case_events,
        Answer(200, "Events.", {"text/event-stream": _TEXT_EVENTS}),
    ),
    _change(
        "tell_view",
        "POST /v1/views",
        _SUBMIT,
        "Tell which view a photograph shows.",
        photos.tell_view,
        _gives("ViewSeen", "Likeliest view, and all probabilities."),
        _PHOTO,
    ),
)

REPORTS = (
    _get(
        "report_json",
        f"{_CASE_ID}/report.json",
        _READ,
        "The signed report.",
        reports.report_json,
        _gives("Report", "The document."),
    ),
    _get(
        "report_html",
        f"{_CASE_ID}/report.html",
        _READ,
        "The report as a page.",
        reports.report_html,
        _file("text/html", "The page."),
    ),
    _get(
        "report_pdf",
        f"{_CASE_ID}/report.pdf",
        _READ,
        "The report as PDF.",
        reports.report_pdf,
        _file("application/pdf", "The PDF."),
    ),
    _get(
        "show_picture",
        f"{_CASE_ID}/pictures/{{sha256}}",
        _READ,
        "A picture that the case's report names.",
        reports.show_picture,
        Answer(200, "The picture.", {"image/jpeg": BINARY, "image/png": BINARY}),
    ),
    _get(
        "show_heat_map",
        f"{_CASE_ID}/heat-maps/{{view}}",
        _READ,
        "A view's heat map over its photograph.",
        reports.show_heat_map,
        _file("image/jpeg", "The picture."),
    ),
    _get(
        "public_keys",
        "/.well-known/assay-keys.json",
        _ANYONE,
        "The keys that reports are signed with.",
        verification.public_keys,
        _gives("PublicKeys", "The keys."),
    ),
    _change(
        "verify_report",
        "POST /v1/verify",
        _ANYONE,
        "Verify a report's JSON file.",
        verification.verify_document,
        _gives("Verification", "What was checked."),
        Body({JSON: {}}, REPORT_LIMIT_BYTES),
    ),
)

REVIEWS = (
    _get(
        "list_reviews",
        "/v1/reviews",
        _REVIEW,
        "Undecided cases, the riskiest first.",
        reviews.list_reviews,
        _gives("Reviews", "The queue."),
    ),
    Operation(
        "claim_review",
        "POST",
        "/v1/reviews/claim",
        _REVIEW,
        "Take the riskiest case that is free, for half an hour.",
        reviews.claim_review,
        (_gives("Review", "Yours."), Answer(204, "Nothing waits.", {})),
    ),
    _get(
        "list_opinions",
        "/v1/reviews/{case_id}/opinions",
        _REVIEW,
        "One's own opinion; all, once the case is decided.",
        reviews.list_opinions,
        _gives("Opinions", "The opinions."),
    ),
    _change(
        "give_opinion",
        "POST /v1/reviews/{case_id}/opinions",
        _REVIEW,
        "Give an opinion.",
        reviews.give_opinion,
        _gives("Review", "The review as it is now.", 201),
        _takes("NewOpinion"),
    ),
)

TENANT = (
    _get(
        "show_tenant",
        "/v1/tenant",
        _ADMIN,
        "Show one's own tenant.",
        tenant.show_tenant,
        _gives("Tenant", "The tenant."),
    ),
    _change(
        "change_tenant",
        "PATCH /v1/tenant",
        _ADMIN,
        "Set retention or webhook.",
        tenant.change_tenant,
        _gives("Tenant", "As it is now."),
        _takes("TenantChange"),
    ),
    _get(
        "show_webhook_secret",
        "/v1/tenant/webhook-secret",
        _ADMIN,
        "What webhooks are signed with.",
        tenant.show_webhook_secret,
        _gives("WebhookSecret", "The secret."),
    ),
    _change(
        "renew_webhook_secret",
        "POST /v1/tenant/webhook-secret",
        _ADMIN,
        "Make a new secret for webhooks.",
        tenant.renew_webhook_secret,
        _gives("WebhookSecret", "The secret."),
    ),
    _get("list_keys", "/v1/keys", _ADMIN, "List the tenant's keys.", tenant.list_keys, _gives("Keys", "The keys.")),
    _change(
        "create_key",
        "POST /v1/keys",
        _ADMIN,
        "Make a key.",
        tenant.create_key,
        _gives("KeySecret", "The key's secret, shown this once.", 201),
        _takes("NewKey"),
    ),
    _change("revoke_key", "DELETE /v1/keys/{key_id}", _ADMIN, "Revoke a key.", tenant.revoke_key, _GONE),
    _get(
        "list_audit",
        "/v1/audit",
        _ADMIN,
        "The tenant's audit log.",
        tenant.list_audit,
        _gives("AuditEntries", "Oldest first."),
        *_AUDIT,
    ),
)

OPERATOR = (
    _get("list_tenants", "/v1/tenants", _OPERATE, "List tenants.", operator.list_tenants, _gives("Tenants", "All.")),
    _change(
        "create_tenant",
        "POST /v1/tenants",
        _OPERATE,
        "Make a tenant and its administrator's key.",
        operator.create_tenant,
        _gives("TenantSecret", "Both.", 201),
        _takes("NewTenant"),
    ),
    _get(
        "list_references",
        "/v1/references",
        _READ,
        "The models that are enrolled.",
        operator.list_references,
        _gives("References", "Their latest versions."),
    ),
    _change(
        "enrol_references",
        "POST /v1/references",
        _OPERATE,
        "Enrol a model by photographs of genuine items.",
        operator.enrol_references,
        _gives("ReferenceModel", "The new version.", 201),
        Body({MULTIPART: ref("Enrolment")}, _ENROLMENT_BYTES),
    ),
    _get(
        "list_dead_letters",
        "/v1/dead-letters",
        _OPERATE,
        "Jobs that were given up.",
        operator.list_dead_letters,
        _gives("DeadLetters", "The letters."),
    ),
    _change(
        "revive_dead_letter",
        "POST /v1/dead-letters/{job_id}/revive",
        _OPERATE,
        "Queue a given-up job again.",
        operator.revive_dead_letter,
        _gives("DeadLetter", "As it was.", 202),
    ),
    _get(
        "verify_audit",
        "/v1/tenants/{tenant_id}/audit-verification",
        _OPERATE,
        "Check a tenant's audit chain.",
        operator.verify_audit,
        _gives("AuditVerification", "Whether it holds."),
    ),
)

HEALTH = (
    _get(
        "metrics",
        "/metrics",
        (Scope.OPERATE, Scope.MEASURE),
        "Metrics in Prometheus's format.",
        metrics.metrics,
        Answer(200, "The page.", {"text/plain": TEXT}),
    ),
    _get("alive", "/healthz", _ANYONE, "Whether the process lives.", health.alive, _gives("Health", "It does.")),
    Operation(
        "ready",
        "GET",
        "/readyz",
        _ANYONE,
        "Whether cases can be taken, and what of database, queue and lens does not answer.",
        health.ready,
        (_gives("Readiness", "They can."), _gives("Readiness", "The database does not answer.", 503)),
    ),
)

OPERATIONS = (*CASES, *REPORTS, *REVIEWS, *TENANT, *OPERATOR, *HEALTH)
