"""Every operation of the protocol but inference, in one table: its name on each door, and who may call it.

The doors route by it, keys are checked against it, the OpenAPI document is written from it. Arguments and answers are
JSON objects whose fields are those of the protocol's messages (``proto/grpc_service.proto``); what HTTP spells
otherwise is said by its door.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Scope(Enum):
    """What a key may do."""

    OPEN = "open"  # needs no key: probes
    INFER = "infer"
    READ = "read"
    ADMIN = "admin"


class Group(Enum):
    """The API groups by which access is given, under the names that Triton gives them."""

    HEALTH = "health"
    METADATA = "metadata"
    INFERENCE = "inference"
    SHARED_MEMORY = "shared-memory"
    MODEL_CONFIG = "model-config"
    MODEL_REPOSITORY = "model-repository"
    STATISTICS = "statistics"
    TRACE = "trace"
    LOGGING = "logging"


SCOPES = {
    Group.HEALTH: Scope.OPEN,
    Group.METADATA: Scope.READ,
    Group.INFERENCE: Scope.INFER,
    Group.SHARED_MEMORY: Scope.INFER,  # registering also needs the server to allow it
    Group.MODEL_CONFIG: Scope.READ,
    Group.MODEL_REPOSITORY: Scope.ADMIN,
    Group.STATISTICS: Scope.READ,
    Group.TRACE: Scope.ADMIN,
    Group.LOGGING: Scope.ADMIN,
}


@dataclass(frozen=True)
class Operation:
    """One operation. ``routes`` are (method, path) with {fields} that become arguments of that name."""

    name: str
    group: Group
    rpc: str  # of inference.GRPCInferenceService
    routes: tuple[tuple[str, str], ...]

    @property
    def scope(self) -> Scope:
        return SCOPES[self.group]


def _model(path: str) -> tuple[str, str]:
    """A model's path, with the version and without."""
    return f"/v2/models/{{name}}{path}", f"/v2/models/{{name}}/versions/{{version}}{path}"


def _get(*paths: str) -> tuple[tuple[str, str], ...]:
    return tuple(("GET", path) for path in paths)


def _post(*paths: str) -> tuple[tuple[str, str], ...]:
    return tuple(("POST", path) for path in paths)


def _shared_memory(kind: str) -> tuple[Operation, ...]:
    root = f"/v2/{kind}sharedmemory"
    region = f"{root}/region/{{name}}"
    rpc = f"{kind.capitalize()}SharedMemory"
    group = Group.SHARED_MEMORY
    return (
        Operation(f"{kind}_shared_memory_status", group, f"{rpc}Status", _get(f"{root}/status", f"{region}/status")),
        Operation(f"{kind}_shared_memory_register", group, f"{rpc}Register", _post(f"{region}/register")),
        Operation(
            f"{kind}_shared_memory_unregister",
            group,
            f"{rpc}Unregister",
            _post(f"{root}/unregister", f"{region}/unregister"),
        ),
    )


INFER = Operation("infer", Group.INFERENCE, "ModelInfer", _post(*_model("/infer")))
STREAM_INFER = Operation("stream_infer", Group.INFERENCE, "ModelStreamInfer", ())

OPERATIONS = (
    Operation("server_live", Group.HEALTH, "ServerLive", _get("/v2/health/live")),
    Operation("server_ready", Group.HEALTH, "ServerReady", _get("/v2/health/ready")),
    Operation("model_ready", Group.HEALTH, "ModelReady", _get(*_model("/ready"))),
    Operation("server_metadata", Group.METADATA, "ServerMetadata", _get("/v2")),
    Operation("model_metadata", Group.METADATA, "ModelMetadata", _get(*_model(""))),
    Operation("model_config", Group.MODEL_CONFIG, "ModelConfig", _get(*_model("/config"))),
    Operation("model_statistics", Group.STATISTICS, "ModelStatistics", _get("/v2/models/stats", *_model("/stats"))),
    Operation("repository_index", Group.MODEL_REPOSITORY, "RepositoryIndex", _post("/v2/repository/index")),
    Operation(
        "repository_model_load",
        Group.MODEL_REPOSITORY,
        "RepositoryModelLoad",
        _post("/v2/repository/models/{model_name}/load"),
    ),
    Operation(
        "repository_model_unload",
        Group.MODEL_REPOSITORY,
        "RepositoryModelUnload",
        _post("/v2/repository/models/{model_name}/unload"),
    ),
    *_shared_memory("system"),
    *_shared_memory("cuda"),
    Operation(
        "trace_setting",
        Group.TRACE,
        "TraceSetting",
        (
            *_get("/v2/trace/setting", "/v2/models/{model_name}/trace/setting"),
            *_post("/v2/trace/setting", "/v2/models/{model_name}/trace/setting"),
        ),
    ),
    Operation("log_settings", Group.LOGGING, "LogSettings", (*_get("/v2/logging"), *_post("/v2/logging"))),
)
