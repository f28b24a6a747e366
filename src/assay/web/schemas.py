"""JSON schemas of what the API takes and gives, as the OpenAPI document holds them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from assay.cases import CaseState, Fault, Lane, Scope, Verdict
from assay.errors import Reason
from assay.views import View
from assay.web.call import Json

TEXT: Json = {"type": "string"}
TEXT_OR_NULL: Json = {"type": ["string", "null"]}
TIME_OR_NULL: Json = {"type": ["string", "null"], "format": "date-time"}
DIGEST: Json = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
NATURAL: Json = {"type": "integer", "minimum": 0}
NUMBER: Json = {"type": "number"}
BOOLEAN: Json = {"type": "boolean"}
BINARY: Json = {"type": "string", "format": "binary"}


def one_of(kind: type[Enum]) -> Json:
    return {"type": "string", "enum": [member.value for member in kind]}


def text(least: int = 0, most: int = 200) -> Json:
    """Without spaces at its ends or control characters: what the reader of fields takes."""
    return {"type": "string", "minLength": least, "maxLength": most}


def whole(least: int, most: int) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most}


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Json) -> Json:
    return {"type": "array", "items": items}


def given(**properties: Json) -> Json:
    """An object of an answer: all its fields are there."""
    return {"type": "object", "required": list(properties), "properties": properties}


def taken(required: tuple[str, ...], **properties: Json) -> Json:
    """An object of a request: no other fields are taken."""
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


_CLAIM_FIELDS: Mapping[str, Json] = {"brand": text(1, 80), "model": text(1, 80)}
_PHOTO_FILES: Mapping[str, Json] = {view.value: BINARY for view in View}
_VERDICT_OR_NULL: Json = {"enum": [*(verdict.value for verdict in Verdict), None]}
_RETENTION = whole(1, 3650)

SCHEMAS: Mapping[str, Json] = {
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "detail", "reason"],
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "reason": {
                "type": "string",
                "description": f"One of {', '.join(r.value for r in Reason)}, and HTTP's own.",
            },
            "retry_after": {"type": "integer", "minimum": 1, "description": "Seconds."},
        },
    },
    "Claim": given(brand=TEXT, model=TEXT),
    "Finding": given(fault=one_of(Fault), measured=NUMBER, limit=NUMBER, advice=TEXT, is_blocking=BOOLEAN),
    "Photo": given(
        view=one_of(View),
        sha256=DIGEST,
        size_bytes=NATURAL,
        media_type=TEXT,
        width=NATURAL,
        height=NATURAL,
        measures={"type": "object", "additionalProperties": NUMBER},
        findings=array(ref("Finding")),
        is_usable=BOOLEAN,
        received_at=TIME_OR_NULL,
    ),
    "Case": given(
        id=TEXT,
        claim=ref("Claim"),
        lane=one_of(Lane),
        state=one_of(CaseState),
        customer_reference=TEXT,
        created_at=TIME_OR_NULL,
        submitted_at=TIME_OR_NULL,
        photos=array(ref("Photo")),
        missing=array(one_of(View)),
        report_id=TEXT_OR_NULL,
        verdict=_VERDICT_OR_NULL,
        failure=TEXT_OR_NULL,
    ),
    "Cases": given(cases=array(ref("Case")), next_cursor=TEXT_OR_NULL),
    "NewCase": taken(
        ("claim",),
        claim=taken(("brand", "model"), **_CLAIM_FIELDS),
        lane=one_of(Lane),
        customer_reference=text(),
    ),
    "WholeCase": taken(
        ("brand", "model"), **_CLAIM_FIELDS, lane=one_of(Lane), customer_reference=text(), **_PHOTO_FILES
    ),
    "ViewSeen": given(view=one_of(View), probabilities={"type": "object", "additionalProperties": NUMBER}),
    "Report": {"type": "object", "description": "The signed report, format assay-report/1."},
    "Review": given(
        case_id=TEXT,
        risk=NUMBER,
        report_verdict=one_of(Verdict),
        waiting_since=TIME_OR_NULL,
        opinions=NATURAL,
        claimed_by=TEXT_OR_NULL,
        verdict=_VERDICT_OR_NULL,
        decided_at=TIME_OR_NULL,
    ),
    "Reviews": given(reviews=array(ref("Review"))),
    "NewOpinion": taken(("verdict",), verdict=one_of(Verdict), note=text(0, 4000)),
    "Opinion": given(reviewer=TEXT, ordinal=NATURAL, verdict=one_of(Verdict), note=TEXT, at=TIME_OR_NULL),
    "Opinions": given(opinions=array(ref("Opinion"))),
    "Key": given(id=TEXT, name=TEXT, scopes=array(one_of(Scope)), created_at=TIME_OR_NULL, revoked_at=TIME_OR_NULL),
    "Keys": given(keys=array(ref("Key"))),
    "NewKey": taken(
        ("name", "scopes"),
        name=text(1, 80),
        scopes={"type": "array", "items": one_of(Scope), "minItems": 1, "maxItems": len(Scope)},
    ),
    "KeySecret": given(id=TEXT, secret={"type": "string", "description": "Shown this once."}),
    "Tenant": given(id=TEXT, name=TEXT, retention_days=_RETENTION, webhook_url=TEXT, created_at=TIME_OR_NULL),
    "Tenants": given(tenants=array(ref("Tenant"))),
    "NewTenant": taken(("name",), name=text(1, 80), retention_days=_RETENTION),
    "TenantChange": taken((), retention_days=_RETENTION, webhook_url=text(0, 500)),
    "TenantSecret": given(tenant=ref("Tenant"), key=ref("KeySecret")),
    "WebhookSecret": given(secret=TEXT),
    "WebhookEvent": given(id=TEXT, event=TEXT, at=TIME_OR_NULL, case_id=TEXT),
    "AuditEntry": given(
        seq=NATURAL, at=TIME_OR_NULL, actor=TEXT, action=TEXT, subject=TEXT, details={"type": "object"}, hash=TEXT
    ),
    "AuditEntries": given(entries=array(ref("AuditEntry"))),
    "AuditVerification": given(is_intact=BOOLEAN, broken_at={"type": ["integer", "null"]}, what=TEXT),
    "References": given(models=array(ref("ReferenceModel"))),
    "ReferenceModel": given(
        claim=ref("Claim"),
        version=NATURAL,
        digest=DIGEST,
        created_at=TIME_OR_NULL,
        photos={"type": "object", "additionalProperties": NATURAL},
    ),
    "Enrolment": {
        "type": "object",
        "required": ["brand", "model"],
        "properties": dict(_CLAIM_FIELDS),
        "additionalProperties": BINARY,
        "description": "Files are named ITEM.VIEW: photographs of one object share the item.",
    },
    "DeadLetter": given(job_id=TEXT, case_id=TEXT, lane=one_of(Lane), why=TEXT, attempts=NATURAL),
    "DeadLetters": given(dead_letters=array(ref("DeadLetter"))),
    "Verification": given(
        is_valid=BOOLEAN,
        report_id=TEXT,
        issued_at=TEXT,
        verdict=TEXT,
        result_sha256=TEXT,
        key_id=TEXT,
        checks=array(given(name=TEXT, passed=BOOLEAN, detail=TEXT)),
    ),
    "PublicKeys": given(format=TEXT, keys=array(given(id=TEXT, algorithm=TEXT, public_key=TEXT))),
    "Health": given(status=TEXT),
    "Readiness": given(status=TEXT, database=TEXT, queue=TEXT, lens=TEXT),
}
