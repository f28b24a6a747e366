"""Requests and responses as the data plane sees them: no HTTP, no gRPC, arrays decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any, NamedTuple, Protocol

from fusee.base.types import Array
from fusee.server.errors import ServingError

Json = Any  # what json.loads gives: None, bool, int, float, str, list, dict
Parameters = Mapping[str, bool | int | float | str]


class Region(NamedTuple):
    """A place in a registered shared-memory region."""

    name: str
    offset_bytes: int
    size_bytes: int


class Tensor(NamedTuple):
    """One named array. ``datatype`` is the protocol's word ("FP32"); BYTES tensors are object arrays of ``bytes``.

    A tensor in shared memory has a ``region``. An input of that kind has no array until the data plane has looked; an
    output of that kind has been written there, and doors send its type and shape alone.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    array: Array | None
    region: Region | None = None

    def values(self) -> Array:
        """The array of a tensor whose data is here."""
        assert self.array is not None
        return self.array


class WantedOutput(NamedTuple):
    """An output that the request names. ``classification`` > 0 asks for that many "value:index:label" strings."""

    name: str
    classification: int = 0
    region: Region | None = None


@dataclass(slots=True)
class Timing:
    """When a request passed each stage, ``time.monotonic_ns``; 0 where it has not. Filled on the way, never read back
    to decide anything."""

    received_ns: int = field(default_factory=monotonic_ns)
    queued_ns: int = 0
    started_ns: int = 0  # an instance took it
    input_done_ns: int = 0  # its batch was assembled
    infer_done_ns: int = 0
    finished_ns: int = 0  # its outputs are ready
    decode_ns: int = 0  # no point of time: how long its pictures were decoded, just before it was queued


@dataclass(slots=True)
class InferRequest:
    """One inference. ``version`` '' leaves the choice to the model's policy; no ``outputs`` asks for all of them.

    ``priority`` 0 is the model's default, else 1 (first) upwards. ``timeout_us`` 0 is the queue's own.
    ``deadline_ns`` is on the monotonic clock. ``parameters`` holds those that the protocol does not reserve.
    ``is_streaming`` says that the caller takes several answers, as a decoupled model gives them. ``callers`` are the
    models that sent it on, outermost first.
    """

    model: str
    version: str
    id: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[WantedOutput, ...] = ()
    parameters: Parameters = field(default_factory=dict[str, Any])
    priority: int = 0
    timeout_us: int = 0
    deadline_ns: int | None = None
    traceparent: str = ""
    is_streaming: bool = False
    callers: tuple[str, ...] = ()
    timing: Timing = field(default_factory=Timing)


@dataclass(slots=True)
class InferResponse:
    """One answer. A decoupled model gives several to one request: all but the last have ``final`` False, and the last
    may have no outputs."""

    model: str
    version: str
    id: str
    outputs: tuple[Tensor, ...]
    parameters: Parameters = field(default_factory=dict[str, Any])
    final: bool = True


Done = Callable[[InferResponse | ServingError], None]
"""Takes the answer, on the loop's thread, exactly once (several times for a decoupled model, the last one final).
It may be called before the call that it was given to returns."""


class Ticket(Protocol):
    """A request under way."""

    def cancel(self) -> None:
        """The caller no longer wants it: dropped from queues, and ``done`` is given a CANCELLED error. What an engine
        computes already goes on and its result is dropped. Harmless when the answer was given."""


class Answered:
    """The ticket of a request that is over already."""

    def cancel(self) -> None:
        """Nothing is under way."""


ANSWERED = Answered()


class TensorSpec(NamedTuple):
    """An input or output of a model. -1 in ``shape`` is any size; with batching the first is -1."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    is_optional: bool = False
