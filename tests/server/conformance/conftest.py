"""Both servers with the model set, each started once and only when a test asks for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks.serving.triton_peer import triton_home

from server.conformance.answers import Triton
from server.conformance.clients import CAMERA_KEY, Addresses
from server.conformance.fusee_peer import fusee_serving, fusee_with_models
from server.conformance.model_set import MODELS
from server.conformance.repositories import write_fusee


@pytest.fixture(scope="package")
def fusee_server() -> Generator[Addresses]:
    """Fusee with the model set, and all that the cases need allowed."""
    with fusee_with_models() as addresses:
        yield addresses


@pytest.fixture(scope="package")
def simple_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the model ``simple`` alone."""
    repository = tmp_path_factory.mktemp("simple")
    write_fusee(repository, [model for model in MODELS if model.name == "simple"])
    return repository


@pytest.fixture(scope="package")
def perf_server(simple_repository: Path) -> Generator[Addresses]:
    """Fusee with ``simple``, and any region allowed: perf_analyzer gives its own plain names."""
    with fusee_serving(simple_repository, shared_memory_prefix="/") as addresses:
        yield addresses


@pytest.fixture(scope="package")
def guarded_server(simple_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Addresses]:
    """Fusee with ``simple``, for callers whose key is CAMERA_KEY, and only to infer."""
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    digest = hashlib.sha256(CAMERA_KEY.encode()).hexdigest()
    keys.write_text(json.dumps({"keys": [{"name": "camera", "sha256": digest, "scopes": ["infer"]}]}))
    with fusee_serving(simple_repository, keys_file=keys) as addresses:
        yield addresses


@pytest.fixture(scope="package")
def installed_triton() -> Path:
    """The folder with the real Triton; tests that need it are skipped where there is none."""
    home = triton_home()
    if home is None:
        pytest.skip("no Triton is installed (make triton)")
    return home


@pytest.fixture(scope="package")
def triton_server(installed_triton: Path) -> Generator[Triton]:
    """The real Triton with the model set."""
    with closing(Triton(installed_triton)) as triton:
        yield triton
