"""The data plane of one process: models, shared memory and settings behind the two methods that doors call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version as package_version
from typing import Protocol

from fusee.server.classification import classify
from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.observe.logs import LogSettings
from fusee.server.observe.tracing import Tracer
from fusee.server.plane import Servable
from fusee.server.repository.config import config_json
from fusee.server.shared_memory import SharedMemory
from fusee.server.types import (
    ANSWERED,
    Done,
    InferRequest,
    InferResponse,
    Json,
    Tensor,
    TensorSpec,
    Ticket,
    WantedOutput,
)
from fusee.server.wire import decode, encode

EXTENSIONS = (
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)
"""What works here, under the protocol's names; sequence and cuda_shared_memory are not offered."""


class Models(Protocol):
    """The models that there are: what the plane needs of the repository."""

    def find(self, name: str, version: str) -> Servable: ...

    def index(self, ready_only: bool) -> list[Json]: ...

    async def load(self, name: str, parameters: Mapping[str, Json]) -> None: ...

    async def unload(self, name: str, dependents: bool) -> None: ...

    def is_ready(self) -> bool: ...

    def is_model_ready(self, name: str, version: str) -> bool: ...

    def versions(self, name: str) -> Sequence[str]: ...

    def servables(self) -> Sequence[Servable]: ...


Operate = Callable[[Mapping[str, Json]], Awaitable[Json]]


class LocalPlane:
    """Answers from the models in this process."""

    def __init__(self, models: Models, regions: SharedMemory, tracer: Tracer, logs: LogSettings) -> None:
        self._models = models
        self._regions = regions
        self._tracer = tracer
        self._logs = logs
        self._operations: dict[str, Operate] = {
            "server_live": self._server_live,
            "server_ready": self._server_ready,
            "model_ready": self._model_ready,
            "server_metadata": self._server_metadata,
            "model_metadata": self._model_metadata,
            "model_config": self._model_config,
            "model_statistics": self._model_statistics,
            "repository_index": self._repository_index,
            "repository_model_load": self._repository_load,
            "repository_model_unload": self._repository_unload,
            "system_shared_memory_status": self._system_status,
            "system_shared_memory_register": self._system_register,
            "system_shared_memory_unregister": self._system_unregister,
            "cuda_shared_memory_status": self._cuda_status,
            "cuda_shared_memory_register": self._cuda_register,
            "cuda_shared_memory_unregister": self._cuda_unregister,
            "trace_setting": self._trace_setting,
            "log_settings": self._log_settings,
        }

    def infer(self, request: InferRequest, done: Done) -> Ticket:
        """Start one inference: what is wrong with it goes to ``done``."""
        if self._tracer.is_on:
            done = self._tracer.watching(request, done)
        try:
            servable = self._models.find(request.model, request.version)
            if not request.is_streaming and servable.config.model_transaction_policy.decoupled:
                raise ServingError(
                    Reason.UNSUPPORTED,
                    f"model {request.model!r} gives several responses to a request; ask it by gRPC's ModelStreamInfer",
                )
            for tensor in request.inputs:
                if tensor.region is not None:
                    request.inputs = tuple(self._fetched(t) for t in request.inputs)
                    break
        except ServingError as err:
            done(err)
            return ANSWERED
        for wanted in request.outputs:
            if wanted.classification or wanted.region is not None:
                done = self._finishing(request, servable, done)
                break
        return servable.submit(request, done)

    def _fetched(self, tensor: Tensor) -> Tensor:
        """An input with its array, which lies in shared memory when it has a region."""
        if tensor.region is None:
            return tensor
        return decode(tensor.name, tensor.datatype, tensor.shape, self._regions.read(tensor.region))

    def _finishing(self, request: InferRequest, servable: Servable, done: Done) -> Done:
        """``done``, with classification and shared memory applied to the outputs that ask for them."""
        wanted = {w.name: w for w in request.outputs}

        def finish(answer: InferResponse | ServingError) -> None:
            if isinstance(answer, InferResponse):
                try:
                    answer.outputs = tuple(self._finished(t, wanted[t.name], servable) for t in answer.outputs)
                except ServingError as err:
                    answer = err
            done(answer)

        return finish

    def _finished(self, tensor: Tensor, wanted: WantedOutput, servable: Servable) -> Tensor:
        if wanted.classification:
            labels = servable.labels.get(tensor.name, ())
            tensor = classify(tensor, wanted.classification, labels, is_batched=servable.config.max_batch_size > 0)
        if wanted.region is None:
            return tensor
        content = encode(tensor)
        size_bytes = len(content)
        if size_bytes > wanted.region.size_bytes:
            raise invalid(
                f"output {tensor.name!r} takes {size_bytes} bytes, but its place in shared memory region "
                f"{wanted.region.name!r} has {wanted.region.size_bytes}"
            )
        self._regions.write(wanted.region, content)
        return tensor._replace(region=wanted.region)

    async def call(self, operation: str, arguments: Mapping[str, Json]) -> Json:
        """One operation by name. Raises ServingError."""
        return await self._operations[operation](arguments)

    async def _server_live(self, _: Mapping[str, Json]) -> Json:
        return {"live": True}

    async def _server_ready(self, _: Mapping[str, Json]) -> Json:
        return {"ready": self._models.is_ready()}

    async def _model_ready(self, arguments: Mapping[str, Json]) -> Json:
        return {"ready": self._models.is_model_ready(_text(arguments, "name"), _text(arguments, "version"))}

    async def _server_metadata(self, _: Mapping[str, Json]) -> Json:
        return {"name": "fusee", "version": package_version("fusee"), "extensions": list(EXTENSIONS)}

    async def _model_metadata(self, arguments: Mapping[str, Json]) -> Json:
        asked = _text(arguments, "version")
        servable = self._models.find(_text(arguments, "name"), asked)
        return {
            "name": servable.name,
            "versions": [asked] if asked else list(self._models.versions(servable.name)),
            "platform": servable.config.platform,
            "inputs": [_tensor_document(s) for s in servable.inputs],
            "outputs": [_tensor_document(s) for s in servable.outputs],
        }

    async def _model_config(self, arguments: Mapping[str, Json]) -> Json:
        return config_json(self._models.find(_text(arguments, "name"), _text(arguments, "version")).config)

    async def _model_statistics(self, arguments: Mapping[str, Json]) -> Json:
        name, asked = _text(arguments, "name"), _text(arguments, "version")
        found = [s for s in self._models.servables() if name in ("", s.name) and asked in ("", s.version)]
        if name and not found:
            self._models.find(name, asked)
        return {"model_stats": [{"name": s.name, "version": s.version, **s.statistics.document()} for s in found]}

    async def _repository_index(self, arguments: Mapping[str, Json]) -> Json:
        return {"models": self._models.index(bool(arguments.get("ready", False)))}

    async def _repository_load(self, arguments: Mapping[str, Json]) -> Json:
        await self._models.load(_text(arguments, "model_name"), arguments.get("parameters") or {})
        return {}

    async def _repository_unload(self, arguments: Mapping[str, Json]) -> Json:
        parameters = arguments.get("parameters") or {}
        await self._models.unload(_text(arguments, "model_name"), bool(parameters.get("unload_dependents", False)))
        return {}

    async def _system_status(self, arguments: Mapping[str, Json]) -> Json:
        return self._regions.status(_text(arguments, "name"))

    async def _system_register(self, arguments: Mapping[str, Json]) -> Json:
        name, key = _text(arguments, "name"), _text(arguments, "key")
        self._regions.register(name, key, _size(arguments, "offset"), _size(arguments, "byte_size"))
        return {}

    async def _system_unregister(self, arguments: Mapping[str, Json]) -> Json:
        self._regions.unregister(_text(arguments, "name"))
        return {}

    async def _cuda_status(self, _: Mapping[str, Json]) -> Json:
        return {"regions": {}}

    async def _cuda_register(self, arguments: Mapping[str, Json]) -> Json:
        name = _text(arguments, "name")
        raise ServingError(
            Reason.UNSUPPORTED, f"CUDA region {name!r}: this server runs on the CPU; use system shared memory"
        )

    async def _cuda_unregister(self, _: Mapping[str, Json]) -> Json:
        return {}

    async def _trace_setting(self, arguments: Mapping[str, Json]) -> Json:
        model, settings = _text(arguments, "model_name"), arguments.get("settings")
        if model:
            self._models.find(model, "")
        if settings:
            self._tracer.settings.update(model, settings)
        return self._tracer.settings.document(model)

    async def _log_settings(self, arguments: Mapping[str, Json]) -> Json:
        settings = arguments.get("settings")
        if settings:
            self._logs.update(settings)
        return self._logs.document()


def _tensor_document(spec: TensorSpec) -> Json:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _text(arguments: Mapping[str, Json], name: str) -> str:
    value = arguments.get(name, "")
    if not isinstance(value, str):
        raise invalid(f"{name!r} is {value!r}, expected a string")
    return value


def _size(arguments: Mapping[str, Json], name: str) -> int:
    value = arguments.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise invalid(f"{name!r} is {value!r}, expected a whole number, 0 or above")
    return value
