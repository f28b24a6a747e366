"""Both servers with the model set, each started once and only when a test asks for it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from benchmarks.serving.triton_peer import triton_home

from fusee.server.app import serving
from fusee.server.settings import ModelControl, Settings
from server.conformance.answers import triton_with_models
from server.conformance.clients import Addresses
from server.conformance.model_set import MODELS
from server.conformance.repositories import write_fusee
from server.conformance.tensor_cases import SHARED_MEMORY_PREFIX


@pytest.fixture(scope="package")
def fusee_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Addresses]:
    """Fusee with the model set, and all that the cases need allowed."""
    repository = tmp_path_factory.mktemp("repository")
    write_fusee(repository)
    settings = Settings(
        repository=(repository,),
        http_port=0,
        grpc_port=0,
        metrics_port=None,
        model_control=ModelControl.EXPLICIT,
        load_models=tuple(model.name for model in MODELS if model.is_loaded),
        strict_readiness=False,
        shared_memory_prefix=SHARED_MEMORY_PREFIX,
        allow_python_models=True,
        allow_load_override=True,
    )
    with serving(settings) as ports:
        yield Addresses(f"{ports.host}:{ports.http}", f"{ports.host}:{ports.grpc}")


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
