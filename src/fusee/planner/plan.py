"""From a graph to a Plan with its code and weights: draws the steps, lays out memory, writes the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fusee.base.dims import Dim, symbols
from fusee.base.target import CpuTarget
from fusee.base.types import Array, Shape, TensorType
from fusee.engine.arena import Lifetime, place
from fusee.engine.encode import attribute_values
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
)
from fusee.ir.graph import Graph, Node, Value, input_op
from fusee.ir.text import print_op
from fusee.kernels.kernel import Backend
from fusee.ops.control import Bind
from fusee.ops.elementwise import Elementwise
from fusee.ops.shape import Concat, Expand, Reshape
from fusee.planner.code import CodeBook
from fusee.planner.control import call_kind
from fusee.planner.draft import CONTROL, Drawer, Drawing, HostDraft, KernelDraft
from fusee.planner.location import Location
from fusee.planner.memory import Layout, lay_out
from fusee.planner.select import Banned, allow_all


@dataclass
class WeightBook:
    """Constants that plans point to, each array once, in the order of their first use."""

    arrays: list[Array] = field(default_factory=list[Array])
    _index: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, array: Array) -> int:
        """The number of the weight that is this array."""
        if id(array) not in self._index:
            self._index[id(array)] = len(self.arrays)
            self.arrays.append(array)
        return self._index[id(array)]


@dataclass
class Planned:
    """A plan, the functions it calls, and the constants it points to, both shared with its sub-plans."""

    plan: Plan
    book: CodeBook
    weights: WeightBook
    drawings: list[Drawing]


@dataclass
class Planner:
    """Plans graphs for one backend and machine."""

    backend: Backend
    target: CpuTarget
    banned: Banned = allow_all
    book: CodeBook = field(default_factory=CodeBook)
    weights: WeightBook = field(default_factory=WeightBook)
    drawings: list[Drawing] = field(default_factory=list[Drawing])

    def plan(self, graph: Graph) -> Planned:
        """Plan the graph and all bodies in it. Raises UnsupportedModel for a node that nothing computes."""
        return Planned(self._plan(graph), self.book, self.weights, self.drawings)

    def _plan(self, graph: Graph) -> Plan:
        drawing = Drawer(graph, self.backend, self.target, self.book, self.banned).draw()
        self.drawings.append(drawing)
        phase_of = phases(drawing)
        early = [where.storage for where, _, _ in drawing.dims]
        layout = lay_out(drawing.steps, early, phase_of)
        buffers, arena_bytes = placed(layout.buffers)
        writer = _Writer(layout, self.weights)
        steps = tuple(self._step(d, w, writer) for d, w in zip(drawing.steps, layout.waits, strict=True))
        used = _symbols_of(drawing)
        return Plan(
            graph.name,
            tuple(_plan_input(v, used) for v in graph.inputs),
            tuple(PlanOutput(n, v.type) for n, v in zip(graph.names(), graph.outputs, strict=True)),
            steps,
            buffers,
            tuple(_dims(writer, *entry, phase_of) for entry in drawing.dims),
            tuple(assumed_equal(graph)),
            arena_bytes,
        )

    def _step(self, draft: KernelDraft | HostDraft, waits: bool, writer: _Writer) -> Step:
        if isinstance(draft, KernelDraft):
            return writer.kernel_step(draft, waits)
        operands = tuple(TensorRef(writer.ref(x), t) for x, t in draft.operands)
        results = tuple(TensorRef(writer.ref(x), t) for x, t in draft.results)
        op, loc = draft.node.op, draft.node.loc
        defines = tuple(sorted(op.defined_symbols() - set(op.element_symbols())))
        if isinstance(op, CONTROL):
            kind, attributes = call_kind(op)
            plans = tuple(self._plan(body) for body in op.subgraphs())
            return CallStep(kind, plans, attributes, operands, results, loc, type(op).text_name(), defines)
        function = "read_sizes" if isinstance(op, Bind) else op.on_host or op.host_fallback
        attributes = attribute_values(op.attributes())
        return HostStep(function, attributes, operands, results, loc, print_op(op), defines, op.element_symbols())


@dataclass
class _Writer:
    """Turns locations into addresses."""

    layout: Layout
    weights: WeightBook

    def ref(self, where: Location) -> Ref:
        storage = where.storage.root()
        if storage.array is not None:
            return Ref(Space.WEIGHT, self.weights.add(storage.array), where.offset_bytes)
        if storage.space in (Space.INPUT, Space.OUTPUT):
            return Ref(storage.space, storage.index, where.offset_bytes)
        return Ref(storage.space, self.layout.index[storage], where.offset_bytes)

    def kernel_step(self, draft: KernelDraft, waits: bool) -> KernelStep:
        node, launch = draft.node, draft.launch
        types = [v.type for v in node.operands]
        return KernelStep(
            launch.symbol,
            tuple(self.ref(x) for x in draft.pointers),
            launch.scalars,
            launch.units,
            launch.scratch_bytes,
            waits,
            node.loc,
            type(node.op).text_name(),
            str(draft.choice),
            node.op.flops(*types) if node.operands else 0,
            sum((t.size_bytes for t in (*types, *node.types)), start=0),
        )


def placed(buffers: Sequence[Buffer]) -> tuple[tuple[Buffer, ...], tuple[int | None, ...]]:
    """The buffers with offsets in their phase's arena, and each arena's size; None where sizes have names."""
    count = max((b.phase for b in buffers), default=0) + 1
    done = list(buffers)
    sizes: list[int | None] = []
    for phase in range(count):
        members = [i for i, b in enumerate(buffers) if b.phase == phase]
        lives = [life for i in members if (life := _lifetime(buffers[i])) is not None]
        if len(lives) < len(members):
            sizes.append(None)
            continue
        placement = place(lives)
        sizes.append(placement.arena_bytes)
        for i, offset in zip(members, placement.offsets, strict=True):
            done[i] = replace(buffers[i], offset_bytes=offset)
    return tuple(done), tuple(sizes)


def _lifetime(buffer: Buffer) -> Lifetime | None:
    """What to place; None when the size has names."""
    size_bytes = buffer.size_bytes
    return Lifetime(size_bytes, buffer.first, buffer.last) if isinstance(size_bytes, int) else None


def phases(drawing: Drawing) -> dict[str, int]:
    """The phase in which each name that a step defines gets its value; names of inputs are known in phase 0."""
    found: dict[str, int] = {}
    phase = 0
    for step in drawing.steps:
        names = step.node.op.defined_symbols() if isinstance(step, HostDraft) else frozenset[str]()
        if names:
            phase += 1
            found.update(dict.fromkeys(names, phase))
    return found


def _dims(
    writer: _Writer, where: Location, kind: TensorType, elements: tuple[Dim, ...], phase_of: Mapping[str, int]
) -> Dims:
    phase = max((phase_of.get(s, 0) for s in symbols(elements)), default=0)
    return Dims(TensorRef(writer.ref(where), kind), elements, phase)


def _plan_input(value: Value, used: frozenset[str]) -> PlanInput:
    op = input_op(value)
    return PlanInput(op.name, op.type, op.elements if used & set(op.elements) else ())


def _symbols_of(drawing: Drawing) -> frozenset[str]:
    found = set(drawing.graph.free_symbols())
    for _, _, elements in drawing.dims:
        found |= symbols(elements)
    return frozenset(found)


def assumed_equal(graph: Graph) -> list[tuple[Dim, Dim]]:
    """Pairs of different sizes that nodes combine as if they were equal; were they not, memory would be overrun."""
    pairs = [pair for node in _all_nodes(graph) for pair in _assumed_by(node)]
    return [(a, b) for a, b in dict.fromkeys(pairs) if not (isinstance(a, int) and isinstance(b, int))]


def _assumed_by(node: Node) -> list[tuple[Dim, Dim]]:
    result = node.types[0]
    if isinstance(node.op, Reshape):
        return [(x.type.size, result.size) for x in node.operands if x.type.size != result.size]
    if isinstance(node.op, Concat):
        pairs = [(n, m) for x in node.operands for n, m in zip(x.type.shape, node.operands[0].type.shape, strict=True)]
        return [(n, m) for i, (n, m) in enumerate(pairs) if i % result.rank != node.op.axis and n != m]
    if isinstance(node.op, (Elementwise, Expand)):
        return [pair for x in node.operands for pair in _differing(x.type.shape, result.shape)]
    return []


def _all_nodes(graph: Graph) -> list[Node]:
    """The nodes of a graph and of the fused bodies in it; control flow checks its own bodies."""
    found: list[Node] = []
    for node in graph.nodes():
        bodies = () if isinstance(node.op, CONTROL) else node.op.subgraphs()
        found += [node, *(n for body in bodies for n in _all_nodes(body))]
    return found


def _differing(shape: Shape, result: Shape) -> list[tuple[Dim, Dim]]:
    aligned = zip(reversed(shape), reversed(result), strict=False)
    return [(a, b) for a, b in aligned if a not in (1, b)]
