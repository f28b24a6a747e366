"""The OpenAPI document that the server publishes: kept by the server, and holding the Open Inference Protocol."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from server.conformance.clients import Addresses, PlainHttp
from server.conformance.records import Record

PROTOCOL = {
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
    ("get", "/v2/models/{}/versions/{}/ready"),
    ("get", "/v2"),
    ("get", "/v2/models/{}/versions/{}"),
    ("post", "/v2/models/{}/versions/{}/infer"),
}
"""The paths of open_inference_rest.yaml, github.com/kserve/open-inference-protocol, version 2.0."""

FIELDS = {  # of its schemas, ours named as here: those required, and those that may be there
    "ServerMetadata": ({"name", "version", "extensions"}, set[str]()),
    "ModelMetadata": ({"name", "platform"}, {"versions", "inputs", "outputs"}),
    "TensorMetadata": ({"name", "datatype", "shape"}, set[str]()),
    "InferenceRequest": ({"inputs"}, {"id", "parameters", "outputs"}),
    "RequestInput": ({"name", "shape", "datatype"}, {"parameters", "data"}),
    "RequestOutput": ({"name"}, {"parameters"}),
    "InferenceResponse": ({"model_name", "outputs"}, {"model_version", "id", "parameters"}),
    "ResponseOutput": ({"name", "shape", "datatype"}, {"parameters", "data"}),
    "Error": ({"error"}, set[str]()),
}
"""``data`` is required there; it is not where tensors may be binary, or lie in shared memory."""

REAL_NAMES = """[parameters]
"path.name" = "simple"
"path.model_name" = "simple"
"path.version" = "1"
"""
CHECKS = """[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501]
"""


@pytest.fixture(scope="module")
def document(fusee_server: Addresses) -> Record:
    """The document."""
    return PlainHttp(fusee_server.http).ask("GET", "/openapi.json").json()


def test_it_has_the_protocols_paths(document: Record):
    ours = {(method, re.sub(r"\{\w+\}", "{}", path)) for path, item in document["paths"].items() for method in item}
    assert ours >= PROTOCOL


@pytest.mark.parametrize("name", FIELDS)
def test_it_has_the_protocols_fields(name: str, document: Record):
    required, others = FIELDS[name]
    schema = document["components"]["schemas"][name]
    assert set(schema["required"]) >= required
    assert set(schema["properties"]) >= required | others


def test_what_it_requires_beyond_the_protocol_is_always_answered(document: Record):
    """A request may not be asked for more than the protocol does."""
    for name in ("InferenceRequest", "RequestInput", "RequestOutput"):
        assert set(document["components"]["schemas"][name]["required"]) == FIELDS[name][0]


@pytest.mark.parametrize(
    ("names", "left_out"), [(REAL_NAMES, ["repository_model_unload"]), ("", [])], ids=["a model's name", "any name"]
)
def test_schemathesis_finds_no_violation(names: str, left_out: list[str], fusee_server: Addresses, tmp_path: Path):
    """Requests made from the document, right and wrong ones. One that fits the schemas need not fit the model; 501 is
    the answer where CUDA memory would be registered."""
    (tmp_path / "schemathesis.toml").write_text(names + CHECKS)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{fusee_server.http}/openapi.json"]
    command += ["--seed=1", "--max-examples=8", "--generation-database=none", "--no-color"]
    command += ["--exclude-checks=positive_data_acceptance", *(f"--exclude-operation-id={each}" for each in left_out)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[done.stdout.find("FAILURES") :]
    assert "Tested:" in done.stdout
    assert PlainHttp(fusee_server.http).ask("GET", "/v2/health/live").status == 200
