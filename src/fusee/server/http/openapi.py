"""The OpenAPI document of what the HTTP door serves: its paths are those it routes by, its schemas the protocol's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version as package_version

import orjson

from fusee.server.door import Content, Page
from fusee.server.http.schemas import ANSWERS, BODIES, EMPTY, SCHEMAS
from fusee.server.operations import INFER, OPERATIONS, Operation, Scope
from fusee.server.types import Json

PATH = "/openapi.json"
_STATUSES: Mapping[int, str] = {
    400: "The request is wrong.",
    401: "A key is needed.",
    403: "The key does not allow this.",
    404: "There is no such model, version or region.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    431: "The head is too large.",
    500: "The server or the model failed.",
    501: "Well-formed, but not offered here.",
    503: "Not now: loading, overloaded, or waited too long.",
}
_RETRY = {"retry-after": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}


def document() -> Json:
    """The document."""
    paths: dict[str, dict[str, Json]] = {}
    for operation in (INFER, *OPERATIONS):
        for index, (method, path) in enumerate(operation.routes):
            paths.setdefault(path, {})[method.lower()] = _entry(operation, method, path, index)
    paths[PATH] = {"get": _openapi_entry()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fusee",
            "version": package_version("fusee"),
            "description": "The Open Inference Protocol with Triton's extensions. Tensors go as JSON, or as binary "
            "data after the JSON header, whose length the header Inference-Header-Content-Length then gives.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def openapi_page() -> Page:
    """The document as a page."""
    content = Content("application/json", orjson.dumps(document()))

    async def render() -> Content:
        return content

    return Page(PATH, Scope.OPEN, render)


def _entry(operation: Operation, method: str, path: str, index: int) -> Json:
    suffix = f"_{index}" if index else ""
    entry: dict[str, Json] = {
        "operationId": f"{operation.name}{suffix}",
        "tags": [operation.group.value],
        "summary": operation.name.replace("_", " ").capitalize() + ".",
        "parameters": [_path_parameter(name) for name in re.findall(r"{(\w+)}", path)],
        "responses": _responses(operation, method),
        "security": _security(operation.scope),
    }
    if operation is INFER:
        entry["parameters"].append(_header_length())
    if method == "POST" and (body := BODIES.get(operation.name)):
        entry["requestBody"] = body
    return entry


def _openapi_entry() -> Json:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "openapi",
        "tags": ["metadata"],
        "summary": "This document.",
        "responses": {"200": {"description": "The document.", "content": content}},
        "security": _security(Scope.OPEN),
    }


def _responses(operation: Operation, method: str) -> Json:
    errors = {str(s): _error(s, text) for s, text in _STATUSES.items()}
    if operation.scope is Scope.OPEN:
        return {"200": {"description": "Ready."}, **errors, "400": _error(400, "Not ready.")}
    return {"200": ANSWERS.get(operation.name, EMPTY), **errors}


def _error(status: int, text: str) -> Json:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    answer: dict[str, Json] = {"description": text, "content": content}
    if status == 503:
        answer["headers"] = _RETRY
    return answer


def _security(scope: Scope) -> list[Json]:
    return [] if scope is Scope.OPEN else [{}, {"bearer": []}, {"key": []}]


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _header_length() -> Json:
    return {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "required": False,
        "description": "Bytes of the JSON header when binary data follows it; 0 when the body is one input's data.",
        "schema": {"type": "integer", "minimum": 0},
    }
