"""The OpenAPI document, from the table of operations by which requests are routed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version as package_version

from assay.views import View
from assay.web.call import Json
from assay.web.operations import JSON, Answer, Operation, Parameter
from assay.web.problems import PROBLEM
from assay.web.schemas import DIGEST, SCHEMAS, TEXT, one_of, ref

_PATH_SCHEMAS: dict[str, Json] = {"view": one_of(View), "sha256": DIGEST}
_PROBLEMS = {
    400: "The request is wrong.",
    401: "A key is needed.",
    403: "The key does not allow this.",
    404: "There is none, or it is not yours.",
    408: "The body did not arrive in time.",
    409: "The case is not in a state that allows this.",
    413: "The body is too large.",
    415: "Not a JPEG, PNG or WebP photograph.",
    422: "The photograph cannot be read.",
    429: "Too much at once.",
    500: "Our fault.",
    503: "Not now.",
}
WEBHOOK_HEADERS = (
    Parameter("Assay-Event", TEXT, "case.reported, case.failed or case.reviewed.", "header"),
    Parameter("Assay-Delivery", TEXT, "Of this delivery, the same when it is tried again.", "header"),
    Parameter("Assay-Timestamp", {"type": "integer"}, "Seconds since 1970.", "header"),
    Parameter(
        "Assay-Signature",
        {"type": "string", "pattern": "^v1=[0-9a-f]{64}$"},
        "v1= and the HMAC-SHA256, in hex, of the timestamp, a point and the body, under the tenant's secret.",
        "header",
    ),
)
_WAITS = (429, 503)
_RETRY_AFTER: Json = {"retry-after": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}


def openapi_document(operations: Iterable[Operation]) -> Json:
    """OpenAPI 3.1."""
    paths: dict[str, dict[str, Json]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _entry(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Assay",
            "version": package_version("fusee"),
            "description": "From six photographs of an item to a signed report with evidence.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "webhooks": {"case": {"post": _webhook()}},
        "components": {"schemas": SCHEMAS, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _entry(operation: Operation) -> Json:
    entry: dict[str, Json] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation.path), *map(_parameter, operation.parameters)],
        "responses": {
            **{str(answer.status): _answer(answer) for answer in operation.answers},
            **{str(status): _problem(status) for status in _PROBLEMS if not _is_answered(operation, status)},
        },
        "security": [{"key": []}] if operation.scopes else [],
    }
    if operation.scopes:
        entry["description"] = f"Needs scope {' or '.join(scope.value for scope in operation.scopes)}."
    if operation.body is not None:
        content = {media_type: {"schema": schema} for media_type, schema in operation.body.schemas.items()}
        entry["requestBody"] = {"required": True, "content": content}
    return entry


def _is_answered(operation: Operation, status: int) -> bool:
    return any(answer.status == status for answer in operation.answers)


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS.get(name, TEXT)}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": False,
        "description": parameter.text,
        "schema": parameter.schema,
    }


def _answer(answer: Answer) -> Json:
    described: dict[str, Json] = {"description": answer.text}
    if answer.schemas:
        described["content"] = {media_type: {"schema": schema} for media_type, schema in answer.schemas.items()}
    return described


def _problem(status: int) -> Json:
    described: dict[str, Json] = {
        "description": _PROBLEMS[status],
        "content": {PROBLEM: {"schema": ref("Problem")}},
    }
    if status in _WAITS:
        described["headers"] = _RETRY_AFTER
    return described


def _webhook() -> Json:
    """What tenants are sent, as ``webhooks.py`` sends it."""
    return {
        "operationId": "case_webhook",
        "summary": "Something became of a case. Sent until 200 to 299 is answered.",
        "description": "A receiver computes the signature anew, compares in constant time, and refuses timestamps "
        "more than five minutes away. Tried again, a delivery keeps its id and body.",
        "parameters": [_parameter(parameter) for parameter in WEBHOOK_HEADERS],
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("WebhookEvent")}}},
        "responses": {"2XX": {"description": "Taken."}},
        "security": [],
    }
