"""What the doors may ask: one inference, or one of the operations. In this process or in the engine's, alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.statistics import ModelStatistics
from fusee.server.types import Done, InferRequest, Json, TensorSpec, Ticket

Post = Callable[[Callable[[], None]], object]
"""Runs a function on the loop's thread, soon; may be called from any thread."""


class DataPlane(Protocol):
    """Answers requests. Called on the loop's thread."""

    def infer(self, request: InferRequest, done: Done) -> Ticket:
        """Start one inference. Never raises: what is wrong goes to ``done``."""
        ...

    async def call(self, operation: str, arguments: Mapping[str, Json]) -> Json:
        """One operation of ``operations.OPERATIONS`` by name. Arguments and answer are JSON with the protocol's field
        names. Raises ServingError."""
        ...


class Servable(Protocol):
    """One version of a model, ready to answer."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def config(self) -> ModelConfig:
        """As written in config.pbtxt, completed with what the engine knows and the defaults."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """Names of classes by output, for the classification extension."""
        ...

    @property
    def statistics(self) -> ModelStatistics: ...

    def submit(self, request: InferRequest, done: Done) -> Ticket:
        """Queue a request whose inputs are here (no regions) and agree with ``inputs``; never raises. ``done`` gets
        the outputs that the request wants, all when it names none, unclassified. Keeps ``statistics``."""
        ...

    async def close(self) -> None:
        """Answer what was accepted, then give threads and memory back. Nothing is submitted after."""
        ...


Lookup = Callable[[str, str], Servable]
"""The servable of a model's name and version ('' by policy). Raises ServingError NOT_FOUND or UNAVAILABLE."""
