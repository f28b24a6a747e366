"""Both servers with the model set, each started once and only when a test asks for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from benchmarks.serving.triton_peer import triton_home

from fusee.server.app import serving
from fusee.server.settings import ModelControl, Settings
from server.conformance.answers import triton_with_models
from server.conformance.clients import CAMERA_KEY, Addresses
from server.conformance.model_set import MODELS
from server.conformance.repositories import write_fusee
from server.conformance.tensor_cases import SHARED_MEMORY_PREFIX


@contextmanager
def fusee_serving(repository: Path, **settings: Any) -> Generator[Addresses]:
    """Fusee on that repository, on free ports."""
    ports = {"http_port": 0, "grpc_port": 0, "metrics_port": None}
    with serving(Settings(repository=(repository,), **ports, **settings)) as opened:
        yield Addresses(f"{opened.host}:{opened.http}", f"{opened.host}:{opened.grpc}")


@pytest.fixture(scope="package")
def fusee_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Addresses]:
    """Fusee with the model set, and all that the cases need allowed."""
    repository = tmp_path_factory.mktemp("repository")
    write_fusee(repository)
    with fusee_serving(
        repository,
        model_control=ModelControl.EXPLICIT,
        load_models=tuple(model.name for model in MODELS if model.is_loaded),
        strict_readiness=False,
        shared_memory_prefix=SHARED_MEMORY_PREFIX,
        allow_python_models=True,
        allow_load_override=True,
    ) as addresses:
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
def triton_server(installed_triton: Path) -> Generator[Addresses]:
    """The real Triton with the model set."""
    with triton_with_models(installed_triton) as addresses:
        yield addresses
