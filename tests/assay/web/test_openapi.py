"""The OpenAPI document: valid, complete, and what the routes are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Route
from tests.assay.web.house import DOCUMENT, House

from assay.web.pages import PAGES
from assay.web.table import OPERATIONS

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
ENDLESS = {"case_events"}  # a stream
BESIDE = {"/openapi.json", "/static/{digest}/{name}"}


@pytest.fixture(scope="module")
def api(lasting_house: House) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", lasting_house.app)


@pytest.mark.parametrize("name", [operation.name for operation in OPERATIONS if operation.name not in ENDLESS])
def test_answers_are_those_of_the_document(api: schemathesis.BaseSchema, lasting_house: House, name: str) -> None:
    headers = {"authorization": f"Bearer {lasting_house.key()}"}

    @given(case=api.find_operation_by_id(name).as_strategy())
    @settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    ask()


def test_the_document_is_the_table() -> None:
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(operation.method, operation.path) for operation in OPERATIONS}


def test_every_route_comes_from_a_table(lasting_house: House) -> None:
    routed = {
        (method, route.path)
        for route in lasting_house.app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    tabled = {(o.method, o.path) for o in (*OPERATIONS, *PAGES)}
    assert {(method, path) for method, path in routed if path not in BESIDE and method != "HEAD"} == tabled


def test_names_are_unique_and_references_resolve() -> None:
    names = [entry["operationId"] for methods in DOCUMENT["paths"].values() for entry in methods.values()]
    assert len(names) == len(set(names))
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)):
        assert name in DOCUMENT["components"]["schemas"]


def test_every_schema_is_used() -> None:
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert used == set(DOCUMENT["components"]["schemas"])


def test_what_needs_a_key_says_so() -> None:
    for operation in OPERATIONS:
        entry = DOCUMENT["paths"][operation.path][operation.method.lower()]
        assert entry["security"] == ([{"key": []}] if operation.scopes else [])


def test_no_user_reads_the_word_that_no_photograph_can_prove() -> None:
    room = Path(__file__).parents[3] / "src" / "assay" / "web"
    texts = [file.read_text() for file in room.rglob("*") if file.suffix in {".py", ".html", ".js"}]
    assert len(texts) > 30
    assert not [text for text in texts if re.search(r"\bfake|counterfeit", text, re.IGNORECASE)]
