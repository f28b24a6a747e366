"""Read a plan back from JSON values, trusting nothing: every field has its type, every index its range.

Raises EngineError that says where in the plan, what was found and what was expected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fusee.base.dims import Dim, parse_dim
from fusee.base.errors import EngineError, ParseError
from fusee.base.types import TensorType
from fusee.engine.encode import SPACE_CODES
from fusee.engine.plan import (
    Buffer,
    CallStep,
    Dims,
    HostStep,
    KernelStep,
    Plan,
    PlanInput,
    PlanOutput,
    Ref,
    Space,
    Step,
    TensorRef,
    Weight,
)

T = TypeVar("T")
OnHost = tuple[dict[str, Any], tuple[TensorRef, ...], tuple[TensorRef, ...], tuple[str, ...], str, tuple[str, ...]]
MAX_TEXT = 10_000  # characters of one size or type
MAX_NESTING = 50  # plans within plans
_SPACES = {code: space for space, code in SPACE_CODES.items()}
_DAMAGED = "the engine was written by another tool or is damaged; build it again"


def _wrong(where: str, found: Any, expected: str) -> EngineError:
    return EngineError(f"plan: {where} is {str(found)[:80]!r}, expected {expected}; {_DAMAGED}")


class PlanReader:
    """Reads one engine's plans; texts of sizes and types are parsed once each.

    ``weights`` is the number of constants that plans may point to.
    """

    def __init__(self, weights: int) -> None:
        self._weights = weights
        self._dims: dict[str, Dim] = {}
        self._types: dict[str, TensorType] = {}
        self._refs: dict[tuple[Any, ...], Ref] = {}

    def plan(self, value: Any, where: str = "plan", depth: int = 0) -> Plan:
        """A plan of any depth of nesting up to ``MAX_NESTING``."""
        if depth > MAX_NESTING:
            raise _wrong(where, f"nested {depth} deep", f"at most {MAX_NESTING} plans within plans")
        fields = _object(value, where)
        counts = {
            Space.INPUT: len(_list(fields.get("inputs"), f"{where}.inputs")),
            Space.OUTPUT: len(_list(fields.get("outputs"), f"{where}.outputs")),
            Space.ARENA: len(_list(fields.get("buffers"), f"{where}.buffers")),
            Space.TEMP: len(_list(fields.get("buffers"), f"{where}.buffers")),
            Space.WEIGHT: self._weights,
        }
        body = _PlanBody(self, where, counts, depth)
        plan = body.read(fields)
        _check_phases(plan, where)
        return plan

    def dim(self, value: Any, where: str) -> Dim:
        if type(value) is int:
            return value
        if type(value) is not str:
            raise _wrong(where, value, "a size")
        if value not in self._dims:
            self._dims[value] = _parsed(parse_dim, value, where)
        return self._dims[value]

    def type(self, value: Any, where: str) -> TensorType:
        if type(value) is not str:
            raise _wrong(where, value, "a tensor type")
        if value not in self._types:
            self._types[value] = _parsed(TensorType.parse, value, where)
        return self._types[value]

    def ref(self, value: list[Any], counts: dict[Space, int], where: str) -> Ref:
        """``[space, index, offset]``."""
        try:
            code, index, offset = key = tuple(value)
            found = self._refs.get(key)
        except (TypeError, ValueError):
            raise _wrong(where, value, "[space, index, offset]") from None
        if found is None:
            if code not in _SPACES or type(index) is not int:
                raise _wrong(where, value, f"a space out of {''.join(_SPACES)}, an index and an offset")
            found = self._refs[key] = Ref(_SPACES[code], index, self.dim(offset, where))
        if not 0 <= found.index < counts[found.space]:
            limit = counts[found.space]
            raise _wrong(where, f"{found.space.value} {found.index}", f"an index below {limit}")
        return found


class _PlanBody:
    """The parts of one plan: they share the plan's name for errors and its numbers of inputs, outputs and buffers."""

    def __init__(self, reader: PlanReader, where: str, counts: dict[Space, int], depth: int) -> None:
        self._reader, self._where, self._counts, self._depth = reader, where, counts, depth

    def read(self, fields: dict[str, Any]) -> Plan:
        return Plan(
            name=_text(fields.get("name"), f"{self._where}.name"),
            inputs=self._each(fields, "inputs", self._input),
            outputs=self._each(fields, "outputs", self._output),
            steps=self._each(fields, "steps", self._step),
            buffers=self._each(fields, "buffers", self._buffer),
            dims=self._each(fields, "dims", self._element_dims),
            equal=self._each(fields, "equal", self._pair),
            arena_bytes=self._each(fields, "arena_bytes", _optional_count),
        )

    def _each(self, fields: dict[str, Any], key: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        where = f"{self._where}.{key}"
        return tuple(read(item, f"{where}[{i}]") for i, item in enumerate(_list(fields.get(key), where)))

    def _input(self, value: Any, where: str) -> PlanInput:
        fields = _object(value, where)
        name, tensor_type = _text(fields.get("name"), where), self._reader.type(fields.get("type"), where)
        return PlanInput(name, tensor_type, _texts(fields.get("elements"), where))

    def _output(self, value: Any, where: str) -> PlanOutput:
        fields = _object(value, where)
        return PlanOutput(_text(fields.get("name"), where), self._reader.type(fields.get("type"), where))

    def _buffer(self, value: Any, where: str) -> Buffer:
        parts = _list(value, where)
        if len(parts) != 5:
            raise _wrong(where, value, "[size, first, last, phase, offset]")
        first, last, phase = (_count(p, where) for p in parts[1:4])
        return Buffer(self._reader.dim(parts[0], where), first, last, phase, _optional_count(parts[4], where))

    def _element_dims(self, value: Any, where: str) -> Dims:
        fields = _object(value, where)
        elements = tuple(self._reader.dim(e, where) for e in _list(fields.get("elements"), where))
        return Dims(self._tensor(fields.get("tensor"), where), elements, _count(fields.get("phase"), where))

    def _pair(self, value: Any, where: str) -> tuple[Dim, Dim]:
        pair = _list(value, where)
        if len(pair) != 2:
            raise _wrong(where, value, "two sizes")
        return self._reader.dim(pair[0], where), self._reader.dim(pair[1], where)

    def _ref(self, value: Any, where: str) -> Ref:
        return self._reader.ref(value, self._counts, where)

    def _tensor(self, value: Any, where: str) -> TensorRef:
        parts = _list(value, where)
        if len(parts) != 4:
            raise _wrong(where, value, "[space, index, offset, type]")
        return TensorRef(self._ref(parts[:3], where), self._reader.type(parts[3], where))

    def _tensors(self, value: Any, where: str) -> tuple[TensorRef, ...]:
        return tuple(self._tensor(item, where) for item in _list(value, where))

    def _step(self, value: Any, where: str) -> Step:
        fields = _object(value, where)
        kind = fields.get("step")
        if kind == "kernel":
            return self._kernel_step(fields, where)
        if kind == "host":
            return self._host_step(fields, where)
        if kind == "call":
            return self._call_step(fields, where)
        raise _wrong(f"{where}.step", kind, "kernel, host or call")

    def _kernel_step(self, fields: dict[str, Any], where: str) -> KernelStep:
        dim, ref = self._reader.dim, self._ref
        return KernelStep(
            _text(fields.get("symbol"), where),
            tuple([ref(p, where) for p in _list(fields.get("pointers"), where)]),
            tuple([dim(s, where) for s in _list(fields.get("scalars"), where)]),
            dim(fields.get("units"), where),
            dim(fields.get("scratch_bytes"), where),
            _flag(fields.get("waits"), where),
            _texts(fields.get("loc"), where),
            _text(fields.get("op"), where),
            _text(fields.get("kernel"), where),
            dim(fields.get("flops"), where),
            dim(fields.get("traffic_bytes"), where),
        )

    def _on_host(self, fields: dict[str, Any], where: str) -> OnHost:
        return (
            _object(fields.get("attributes"), where),
            self._tensors(fields.get("operands"), where),
            self._tensors(fields.get("results"), where),
            _texts(fields.get("loc"), where),
            _text(fields.get("op"), where),
            _texts(fields.get("defines"), where),
        )

    def _host_step(self, fields: dict[str, Any], where: str) -> HostStep:
        return HostStep(
            _text(fields.get("function"), where),
            *self._on_host(fields, where),
            _texts(fields.get("elements"), where),
        )

    def _call_step(self, fields: dict[str, Any], where: str) -> CallStep:
        plans = _list(fields.get("plans"), where)
        return CallStep(
            _text(fields.get("kind"), where),
            tuple(self._reader.plan(p, f"{where}.plans[{i}]", self._depth + 1) for i, p in enumerate(plans)),
            *self._on_host(fields, where),
        )


def decode_plan(value: Any, weights: int) -> Plan:
    """The plan that ``encode_plan`` wrote, which may point to that many constants. Raises EngineError."""
    return PlanReader(weights).plan(value)


def decode_weights(value: Any, section_bytes: int) -> tuple[Weight, ...]:
    """The table of constants, each within the weights section. Raises EngineError."""
    return tuple(_weight(item, section_bytes, f"weights[{i}]") for i, item in enumerate(_list(value, "weights")))


def _weight(value: Any, section_bytes: int, where: str) -> Weight:
    parts = _list(value, where)
    if len(parts) != 3:
        raise _wrong(where, value, "[offset, size, digest]")
    weight = Weight(_count(parts[0], where), _count(parts[1], where), _text(parts[2], where))
    if weight.offset_bytes + weight.size_bytes > section_bytes:
        raise _wrong(where, value, f"bytes within the section's {section_bytes}")
    return weight


def _check_phases(plan: Plan, where: str) -> None:
    """Buffers and dims name phases that the steps bring about, and known places lie within the known arena."""
    phases = 1 + sum(ends_phase(step) for step in plan.steps)
    for what, items in (("buffers", plan.buffers), ("dims", plan.dims)):
        for i, item in enumerate(items):
            if item.phase >= phases:
                raise _wrong(f"{where}.{what}[{i}].phase", item.phase, f"one of the {phases} phases of the steps")
    for i, buffer in enumerate(plan.buffers):
        if buffer.offset_bytes is not None and not _fits(plan, buffer):
            raise _wrong(f"{where}.buffers[{i}].offset_bytes", buffer.offset_bytes, "a place within its phase's arena")


def _fits(plan: Plan, buffer: Buffer) -> bool:
    arena_bytes = plan.arena_bytes[buffer.phase] if buffer.phase < len(plan.arena_bytes) else None
    if arena_bytes is None or not isinstance(buffer.size_bytes, int) or buffer.offset_bytes is None:
        return False
    return buffer.offset_bytes + buffer.size_bytes <= arena_bytes


def ends_phase(step: Step) -> bool:
    """Whether a step gives values to names, so that memory of later steps can only be laid out after it."""
    return not isinstance(step, KernelStep) and bool(step.defines or (isinstance(step, HostStep) and step.elements))


def _parsed(parse: Callable[[str], T], text: str, where: str) -> T:
    if len(text) > MAX_TEXT:
        raise _wrong(where, f"{len(text)} characters", f"at most {MAX_TEXT}")
    try:
        return parse(text)
    except (ParseError, ValueError, RecursionError, MemoryError) as err:
        raise _wrong(where, text, f"a size or tensor type ({err})") from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise _wrong(where, value, "an object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if type(value) is not list:
        raise _wrong(where, value, "a list")
    return value


def _text(value: Any, where: str) -> str:
    if type(value) is not str:
        raise _wrong(where, value, "a text")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    return tuple([_text(item, where) for item in _list(value, where)])


def _flag(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise _wrong(where, value, "true or false")
    return value


def _count(value: Any, where: str) -> int:
    if type(value) is not int or value < 0:
        raise _wrong(where, value, "a whole number of at least 0")
    return value


def _optional_count(value: Any, where: str) -> int | None:
    return None if value is None else _count(value, where)
