"""Fusee, started in this process for the cases."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusee.server.app import serving
from fusee.server.settings import ModelControl, Settings
from server.conformance.clients import Addresses
from server.conformance.model_set import MODELS
from server.conformance.repositories import write_fusee
from server.conformance.tensor_cases import SHARED_MEMORY_PREFIX


@contextmanager
def fusee_serving(repository: Path, **settings: Any) -> Generator[Addresses]:
    """Fusee on that repository, on free ports."""
    ports = {"http_port": 0, "grpc_port": 0, "metrics_port": None}
    with serving(Settings(repository=(repository,), **ports, **settings)) as opened:
        yield Addresses(f"{opened.host}:{opened.http}", f"{opened.host}:{opened.grpc}")


@contextmanager
def fusee_with_models() -> Generator[Addresses]:
    """Fusee with the model set, and all that the cases need allowed."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
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
