"""The plan of an engine: which compiled function runs when, on which memory. Data only, shared by both halves.

Sizes are ``Dim``: numbers where the build knew them, else expressions over names that the session knows once shapes
are bound. Steps run in order. A session lays out memory per *phase*: phase 0 needs only the names that the caller's
inputs give; a step with ``defines`` gives values to more names, and ends its phase.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from fusee.base.dims import Dim
from fusee.base.types import TensorType


class Space(Enum):
    """Where a tensor lives."""

    INPUT = "input"  # the caller's array; index counts the plan's inputs
    OUTPUT = "output"  # the array handed to the caller; index counts the plan's outputs
    ARENA = "arena"  # index counts Plan.buffers
    WEIGHT = "weight"  # index counts the engine's weights table, which nested plans share
    TEMP = "temp"  # memory of one step alone; index counts Plan.buffers as well


@dataclass(frozen=True)
class Ref:
    """An address: a place in a space, and a distance from its start."""

    space: Space
    index: int
    offset_bytes: Dim = 0


@dataclass(frozen=True)
class TensorRef:
    """A tensor in memory: row-major, except where a kernel was compiled for other strides."""

    ref: Ref
    type: TensorType


@dataclass(frozen=True)
class Buffer:
    """Arena memory alive from step ``first`` to step ``last``, both included.

    ``offset_bytes`` is its place in its phase's arena when every size of that phase was known at build, else None:
    the session then places it with ``engine.arena.place``.
    """

    size_bytes: Dim
    first: int
    last: int
    phase: int = 0
    offset_bytes: int | None = None


@dataclass(frozen=True)
class Weight:
    """A constant, packed for its kernel or as it is: where it lies in the engine's weights section."""

    offset_bytes: int
    size_bytes: int
    digest: str  # SHA-256 of the bytes, hex


@dataclass(frozen=True)
class Dims:
    """An i64 tensor whose elements are sizes: the session writes it when it binds shapes."""

    tensor: TensorRef
    elements: tuple[Dim, ...]
    phase: int = 0


@dataclass(frozen=True)
class KernelStep:
    """One call of a compiled function ``void symbol(ptr args, i64 lo, i64 hi, ptr scratch)``.

    ``args`` points to 64-bit words: the addresses ``pointers`` in order, then the numbers ``scalars``. The dispatcher
    splits the work units ``[0, units)`` over threads. ``waits`` says that it reads or overwrites what an earlier step
    since the last barrier touched: all threads meet before it.
    """

    symbol: str
    pointers: tuple[Ref, ...]
    scalars: tuple[Dim, ...]
    units: Dim
    scratch_bytes: Dim
    waits: bool
    loc: tuple[str, ...]
    op: str  # the op as text, for profiles
    kernel: str  # kernel and tactic, for profiles
    flops: Dim = 0
    traffic_bytes: Dim = 0


@dataclass(frozen=True)
class HostStep:
    """One call of ``base.host.FUNCTIONS[function](attributes, *arrays) -> tuple of arrays``, on one thread.

    ``defines`` names sizes that the results' shapes reveal: they are found by matching each result's shape with its
    declared type. ``elements`` names sizes that are the elements of the first operand.
    """

    function: str
    attributes: dict[str, Any]  # JSON values; a dim is its text under the key's name + "$dims" (see engine.encode)
    operands: tuple[TensorRef, ...]
    results: tuple[TensorRef, ...]
    loc: tuple[str, ...]
    op: str
    defines: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallStep:
    """Control flow: runs other plans, which take and give whole tensors. The meaning is that of ``ops.control``.

    A plan that is run begins with all names this session knows so far (its inputs may show none of them), then takes
    the names of its own inputs' shapes; what it learns itself is forgotten at the end of each run of it. ``defines``
    as in HostStep: the names of the results' types that nothing else gives. ``attributes`` and operands by kind:

    - ``if``: no attributes. Operands: condition (bool[]), captures. Plans (then, else), each takes all captures and
      gives all results.
    - ``loop``: ``carried`` (count). Operands: most iterations (i64[]), whether to begin (bool[]), carried, captures.
      Body: iteration (i64[]), true (bool[]), carried, captures -> whether to go on (bool[]), carried, collected.
      Results: carried, then one tensor [iterations, ...] per collected value.
    - ``scan``: ``states`` (count), ``input_axes``, ``input_reverse``, ``output_axes``, ``output_reverse``. Operands:
      states, sequences (one per input axis), captures. Body: states, slices, captures -> states, collected. Results:
      states, then one tensor per output axis.

    Without an iteration a collected result has size 0 along its joined axis, and along each axis whose size is not
    known without running the body. Collected values must have one shape in all iterations; else the run stops.
    """

    kind: str
    plans: tuple[Plan, ...]
    attributes: dict[str, Any]
    operands: tuple[TensorRef, ...]
    results: tuple[TensorRef, ...]
    loc: tuple[str, ...]
    op: str
    defines: tuple[str, ...] = ()


Step = KernelStep | HostStep | CallStep


@dataclass(frozen=True)
class PlanInput:
    """A tensor the caller gives. ``elements`` names sizes that are its elements (integer tensors only)."""

    name: str
    type: TensorType
    elements: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanOutput:
    """A tensor the caller gets."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class Plan:
    """Everything a session needs beside code and weights."""

    name: str
    inputs: tuple[PlanInput, ...]
    outputs: tuple[PlanOutput, ...]
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    dims: tuple[Dims, ...] = ()
    equal: tuple[tuple[Dim, Dim], ...] = ()  # pairs of sizes that the graph took to be equal: bind checks them
    arena_bytes: tuple[int | None, ...] = field(default=(None,))  # per phase, when known at build
