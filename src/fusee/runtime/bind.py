"""Fit a phase of a plan to numbers: memory for its buffers, arguments for its calls. Done once per set of sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from fusee.base.dims import Dim, evaluate
from fusee.base.errors import InternalError, RequestError
from fusee.base.types import Array
from fusee.engine.arena import Lifetime, place
from fusee.engine.plan import CallStep, Dims, HostStep, KernelStep, Plan, Ref, Space, TensorRef, Weight
from fusee.runtime.control import Body, control_flow
from fusee.runtime.device import Device, NativeCall, Segment
from fusee.runtime.frame import Frame, Locate, in_input, in_memory, in_output
from fusee.runtime.host import bound_attributes, host_function
from fusee.runtime.memory import Memory
from fusee.runtime.names import Names, check_equal
from fusee.runtime.stages import Stages, Stretch, cut

MAX_TENSOR_BYTES = 1 << 46
MAX_KEPT = 64  # bound phases; each takes about a hundred bytes per kernel argument
Results = tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Constants:
    """The engine's weights in memory, shared by its sessions."""

    memory: Memory
    table: tuple[Weight, ...]


@dataclass(eq=False)
class Region:
    """The arena of one phase: one piece of memory, made larger when sizes need it."""

    memory: Memory | None = None


@dataclass(frozen=True, eq=False)
class NativeRun:
    """A stretch of native calls, ready."""

    steps: Stretch
    segment: Segment
    names: Names


@dataclass(frozen=True, eq=False)
class HostRun:
    """A host step or control flow, ready: ``compute`` takes the operands."""

    step: HostStep | CallStep
    operands: tuple[Locate, ...]
    results: tuple[Locate, ...]  # none when the step ends its phase: the next phase receives them
    compute: Callable[..., Results]


@dataclass(frozen=True, eq=False)
class Phase:
    """One phase with all sizes known."""

    number: int
    names: Names
    places: tuple[tuple[Memory, int] | None, ...]  # by buffer: where it is, None for later phases
    runs: tuple[NativeRun | HostRun, ...]
    inputs: tuple[tuple[Segment, int, int, int], ...]  # (segment, word, input, offset) to fill in before a run
    outputs: tuple[tuple[Segment, int, int, int], ...]
    new_outputs: tuple[tuple[int, tuple[int, ...], np.dtype[np.generic]], ...]
    receives: tuple[Locate, ...]  # where the results of the step that ended the phase before go
    dims: tuple[tuple[Locate, Array], ...]  # tensors of sizes


class Sizes:
    """Numbers of dims under given names; each dim object is computed once."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[int, int] = {}

    def __call__(self, dim: Dim) -> int:
        if isinstance(dim, int):
            return dim
        if id(dim) not in self._known:
            self._known[id(dim)] = evaluate(dim, self._names)
        return self._known[id(dim)]


@dataclass(eq=False)
class Binder:
    """Binds the phases of one plan on one device, and keeps those bound last.

    ``bodies`` are the sub-plans of CallSteps, by the step's id.
    """

    plan: Plan
    device: Device
    constants: Constants
    bodies: Mapping[int, Sequence[Body]]
    stages: Stages = field(init=False)
    regions: list[Region] = field(init=False)  # by phase
    _kept: OrderedDict[tuple[Any, ...], Phase] = field(init=False, default_factory=OrderedDict[tuple[Any, ...], Phase])

    def __post_init__(self) -> None:
        self.stages = cut(self.plan)
        self.regions = [Region() for _ in self.stages.stages]

    def find(self, key: tuple[Any, ...]) -> Phase | None:
        """The phase bound under a key, if it is still there."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def bind(self, key: tuple[Any, ...], names: Names, before: Phase | None) -> Phase:
        """Bind the next phase after ``before`` under names that now have values, and keep it under the key.

        Raises RequestError when the sizes make no sense.
        """
        number = before.number + 1 if before else 0
        sizes = Sizes(names)
        check_equal(self.stages.equal[number], names)
        phase = _Fit(self, number, sizes, names, self._places(number, sizes, before)).phase(before)
        self._kept[key] = phase
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return phase

    def _places(self, number: int, sizes: Sizes, before: Phase | None) -> tuple[tuple[Memory, int] | None, ...]:
        empty: list[tuple[Memory, int] | None] = [None] * len(self.plan.buffers)
        found = list(before.places) if before else empty
        members = [i for i, b in enumerate(self.plan.buffers) if b.phase == number]
        offsets, arena_bytes = self._offsets(number, members, sizes)
        memory = self._region(number, arena_bytes)
        for i, offset in zip(members, offsets, strict=True):
            found[i] = (memory, offset)
        return tuple(found)

    def _offsets(self, number: int, members: Sequence[int], sizes: Sizes) -> tuple[Sequence[int], int]:
        buffers = [self.plan.buffers[i] for i in members]
        known = self.plan.arena_bytes[number] if number < len(self.plan.arena_bytes) else None
        offsets = [b.offset_bytes for b in buffers if b.offset_bytes is not None]
        if known is not None and len(offsets) == len(buffers):
            return offsets, known
        placement = place([Lifetime(size_bytes(b.size_bytes, sizes), b.first, b.last) for b in buffers])
        return placement.offsets, placement.arena_bytes

    def _region(self, number: int, arena_bytes: int) -> Memory:
        region = self.regions[number]
        if region.memory is None or region.memory.size_bytes < arena_bytes:
            before = region.memory.size_bytes if region.memory else 0
            self._forget_from(number)
            region.memory = None  # so that the smaller one can be freed before the larger is made
            # A quarter more than before at least: sizes that grow step by step do not move the arena every time.
            region.memory = self.device.allocate(max(arena_bytes, before + before // 4))
        return region.memory

    def _forget_from(self, number: int) -> None:
        """Forget what points into the arena of a phase: that phase and those after it."""
        for key in [key for key, phase in self._kept.items() if phase.number >= number]:
            del self._kept[key]


def size_bytes(dim: Dim, sizes: Sizes) -> int:
    size = sizes(dim)
    if not 0 <= size <= MAX_TENSOR_BYTES:
        raise RequestError(f"a tensor would take {dim} = {size:,} bytes; the inputs' sizes ask for the impossible")
    return size


class _Fit:
    """The work of binding one phase."""

    def __init__(
        self,
        binder: Binder,
        number: int,
        sizes: Sizes,
        names: Names,
        places: Sequence[tuple[Memory, int] | None],
    ) -> None:
        self._binder, self._number, self._sizes, self._names, self._places = binder, number, sizes, names, places
        self._inputs: list[tuple[Segment, int, int, int]] = []
        self._outputs: list[tuple[Segment, int, int, int]] = []

    def phase(self, before: Phase | None) -> Phase:
        binder, number = self._binder, self._number
        stage = binder.stages.stages[number]
        new_outputs = tuple(self._new_output(i) for i in binder.stages.outputs[number])
        runs = tuple(self._run(a, a is stage.last) for a in stage.actions)
        ended = binder.stages.stages[number - 1].last if before else None
        receives = tuple(self._locate(t) for t in ended.results) if ended else ()
        dims = tuple(self._dims(d) for d in binder.plan.dims if d.phase == number)
        return Phase(
            number,
            self._names,
            tuple(self._places),
            runs,
            tuple(self._inputs),
            tuple(self._outputs),
            new_outputs,
            receives,
            dims,
        )

    def _new_output(self, index: int) -> tuple[int, tuple[int, ...], np.dtype[np.generic]]:
        item = self._binder.plan.outputs[index]
        size_bytes(item.type.size_bytes, self._sizes)
        return index, self._shape(item.type.shape, f"output {item.name}"), item.type.dtype.numpy

    def _shape(self, dims: Sequence[Dim], what: str) -> tuple[int, ...]:
        shape = tuple([self._sizes(d) for d in dims])
        if any(s < 0 for s in shape):
            raise RequestError(f"{what} would have shape {list(shape)}: the inputs' sizes ask for the impossible")
        return shape

    def _run(self, action: Stretch | HostStep | CallStep, ends: bool) -> NativeRun | HostRun:
        match action:
            case HostStep():
                attributes = bound_attributes(action.attributes, self._names)
                return self._host_run(action, ends, partial(host_function(action), attributes))
            case CallStep():
                bodies = self._binder.bodies[id(action)]
                return self._host_run(action, ends, control_flow(action, bodies, self._names))
            case _:
                return self._native_run(action)

    def _host_run(self, step: HostStep | CallStep, ends: bool, compute: Callable[..., Results]) -> HostRun:
        operands = tuple(self._locate(t) for t in step.operands)
        return HostRun(step, operands, () if ends else tuple(self._locate(t) for t in step.results), compute)

    def _native_run(self, steps: Stretch) -> NativeRun:
        calls = [self._call(step) for step in steps]
        scratch_bytes = max(size_bytes(step.scratch_bytes, self._sizes) for step in steps)
        segment = self._binder.device.segment(calls, scratch_bytes)
        for i, step in enumerate(steps):
            for word, ref in enumerate(step.pointers, segment.first_word(i)):
                self._patch(segment, word, ref)
        return NativeRun(steps, segment, self._names)

    def _patch(self, segment: Segment, word: int, ref: Ref) -> None:
        if ref.space is Space.INPUT:
            self._inputs.append((segment, word, ref.index, self._sizes(ref.offset_bytes)))
        elif ref.space is Space.OUTPUT:
            self._outputs.append((segment, word, ref.index, self._sizes(ref.offset_bytes)))

    def _call(self, step: KernelStep) -> NativeCall:
        sizes = self._sizes
        pointers = [self._address(ref) for ref in step.pointers]
        words = (*pointers, *[sizes(s) for s in step.scalars])
        cost = sizes(step.flops), sizes(step.traffic_bytes)
        return NativeCall(step.symbol, words, sizes(step.units), step.waits, *cost)

    def _address(self, ref: Ref) -> int:
        """Where a tensor lies; 0 for the caller's, which each run fills in."""
        offset = self._sizes(ref.offset_bytes)
        if ref.space in (Space.INPUT, Space.OUTPUT):
            return 0
        memory, start = self._place(ref)
        return memory.address + start + offset

    def _place(self, ref: Ref) -> tuple[Memory, int]:
        if ref.space is Space.WEIGHT:
            constants = self._binder.constants
            return constants.memory, constants.table[ref.index].offset_bytes
        found = self._places[ref.index]
        if found is None:
            raise InternalError(f"phase {self._number} uses buffer {ref.index}, whose size is not known yet")
        return found

    def _locate(self, tensor: TensorRef) -> Locate:
        ref, dtype = tensor.ref, tensor.type.dtype.numpy
        shape = self._shape(tensor.type.shape, f"a {tensor.type}")
        offset = self._sizes(ref.offset_bytes)
        if ref.space is Space.INPUT:
            return in_input(ref.index, offset, shape, dtype)
        if ref.space is Space.OUTPUT:
            return in_output(ref.index, offset, shape, dtype)
        memory, start = self._place(ref)
        return in_memory(memory.array, start + offset, shape, dtype)

    def _dims(self, item: Dims) -> tuple[Locate, Array]:
        values = np.array([self._sizes(e) for e in item.elements], item.tensor.type.dtype.numpy)
        locate = self._locate(item.tensor)
        return locate, values.reshape(self._shape(item.tensor.type.shape, "a tensor of sizes"))


def fill(patches: Sequence[tuple[Segment, int, int, int]], addresses: Sequence[int]) -> None:
    """Write the addresses of the caller's tensors into the arguments of calls."""
    for segment, word, index, offset in patches:
        segment.words[word] = addresses[index] + offset


def store_results(step: HostStep | CallStep, frame: Frame, results: Results, places: Sequence[Locate]) -> None:
    """Put what a host step computed where the plan wants it. Raises InternalError for another type than declared."""
    for tensor, locate, result in zip(step.results, places, results, strict=True):
        target = locate(frame)
        if result.shape != target.shape or result.dtype != target.dtype:
            raise InternalError(f"{step.op} gave {result.dtype}{list(result.shape)}, the plan says {tensor.type}")
        np.copyto(target, result)
