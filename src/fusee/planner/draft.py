"""The walk over a graph that draws its steps: kernels chosen, code emitted, memory still named and not yet placed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from fusee.base.dims import Dim
from fusee.base.errors import InternalError, UnsupportedModel
from fusee.base.target import CpuTarget
from fusee.base.types import TensorType
from fusee.engine.plan import Space
from fusee.ir.graph import Const, Graph, Input, Node, Op, Value, const_array
from fusee.kernels.kernel import Backend, Code, KernelCall, Launch, Operand, Place
from fusee.ops.control import After, Bind, If, Loop, Scan
from fusee.ops.shape import Concat, DimsTensor, Reshape, Slice
from fusee.planner.code import CodeBook
from fusee.planner.location import Location, Storage, window
from fusee.planner.select import Banned, Choice, accepts, allow_all, choose, refusals
from fusee.planner.views import ALIASES, Part, alias_root, concat_parts, slice_source, users_of

CONTROL = (If, Loop, Scan)


@dataclass(frozen=True, eq=False)
class KernelDraft:
    """One launch: the memory it takes, in argument order, and what it reads and writes."""

    node: Node
    choice: Choice
    launch: Launch
    pointers: tuple[Location, ...]
    reads: tuple[Location, ...]
    writes: tuple[Location, ...]
    overwrites: tuple[tuple[Location, Location], ...] = ()  # (operand, the result that may take its memory)


@dataclass(frozen=True, eq=False)
class HostDraft:
    """A step outside compiled code: a host function, or control flow over sub-plans."""

    node: Node
    operands: tuple[tuple[Location, TensorType], ...]
    results: tuple[tuple[Location, TensorType], ...]

    @property
    def reads(self) -> tuple[Location, ...]:
        return tuple(x for x, _ in self.operands)

    @property
    def writes(self) -> tuple[Location, ...]:
        return tuple(x for x, _ in self.results)


Draft = KernelDraft | HostDraft


@dataclass(eq=False)
class Drawing:
    """What the walk leaves: steps, where each value lives, and tensors of sizes."""

    graph: Graph
    steps: list[Draft] = field(default_factory=list[Draft])
    where: dict[Value, Location] = field(default_factory=dict[Value, Location])
    dims: list[tuple[Location, TensorType, tuple[Dim, ...]]] = field(
        default_factory=list[tuple[Location, TensorType, tuple[Dim, ...]]]
    )


@dataclass(eq=False)
class Drawer:
    """Draws the steps of one graph for one backend and machine."""

    graph: Graph
    backend: Backend
    target: CpuTarget
    book: CodeBook
    banned: Banned = allow_all

    def __post_init__(self) -> None:
        self.drawing = Drawing(self.graph)
        self.users = users_of(self.graph)
        self.parts = concat_parts(self.graph, self._accepts_part)
        self.output_storage = self._claim_outputs()
        self.constants: dict[Node, Location] = {}

    def draw(self) -> Drawing:
        for i, value in enumerate(self.graph.inputs):
            self.drawing.where[value] = Location(Storage(Space.INPUT, value.type.size_bytes, i))
        for node in self.graph.nodes():
            if not isinstance(node.op, Input):
                self._node(node)
        for i, value in enumerate(self.graph.outputs):
            self._output(i, value)
        return self.drawing

    def _claim_outputs(self) -> dict[Value, Storage]:
        """Values computed straight into the memory of an output."""
        claimed: dict[Value, Storage] = {}
        for i, value in enumerate(self.graph.outputs):
            root = alias_root(value)
            borrowed = isinstance(root.op, (Input, Const)) or slice_source(root.node) is not None
            if not borrowed and root not in claimed:
                claimed[root] = Storage(Space.OUTPUT, value.type.size_bytes, i)
        return claimed

    def _output(self, i: int, value: Value) -> None:
        found = self._at(value)
        if found.storage.space is Space.OUTPUT and found.storage.index == i:
            return
        place = Location(Storage(Space.OUTPUT, value.type.size_bytes, i))
        self._copy(value.node, found, place, value.type)

    def _node(self, node: Node) -> None:
        match node.op:
            case Const():
                self._at(node.results[0])
            case Reshape() | After() | Bind():
                self._alias(node)
            case Slice():
                self._slice(node)
            case Concat():
                self._concat(node)
            case DimsTensor():
                self.drawing.dims.append((self._place(node.results[0]), node.types[0], node.op.elements))
            case If() | Loop() | Scan():
                self._host(node)
            case _ if node.op.on_host:
                self._host(node)
            case _:
                self._kernel(node)

    def _at(self, value: Value) -> Location:
        if value not in self.drawing.where and isinstance(value.op, Const):
            self.drawing.where[value] = _constant(value.op.value)
        return self.drawing.where[value]

    def _place(self, value: Value) -> Location:
        """Where a value is to be computed: its part of a concatenation, an output's memory, or memory of its own."""
        if value in self.drawing.where:
            return self.drawing.where[value]
        part = self.parts.get(value)
        if part is not None:
            found = self._window(part, value.type)
        else:
            storage = self.output_storage.get(value) or Storage(Space.ARENA, value.type.size_bytes)
            found = Location(storage)
        self.drawing.where[value] = found
        return found

    def _window(self, part: Part, kind: TensorType) -> Location:
        shape = part.concat.type.shape
        starts = tuple(part.start if axis == part.axis else 0 for axis in range(len(shape)))
        return window(self._place(part.concat), shape, starts, kind.shape, kind.dtype.itemsize_bytes)

    def _alias(self, node: Node) -> None:
        source = node.operands[0]
        found = self._contiguous(source)
        if isinstance(node.op, Bind):
            self.drawing.steps.append(HostDraft(node, ((found, source.type),), ()))
        self.drawing.where[node.results[0]] = found

    def _slice(self, node: Node) -> None:
        source, result = slice_source(node), node.results[0]
        if source is None or not isinstance(node.op, Slice):
            return self._kernel(node)
        itemsize_bytes = source.type.dtype.itemsize_bytes
        view = window(self._at(source), source.type.shape, node.op.starts, result.type.shape, itemsize_bytes)
        if not self._readable(result, view):
            return self._kernel(node)
        self.drawing.where[result] = view
        return None

    def _readable(self, value: Value, view: Location) -> bool:
        """Whether all users of a value can read it as this view."""
        if value in self.graph.outputs:
            return False
        if view.strides is None:
            return True
        if any(isinstance(u.op, (Concat, *ALIASES, *CONTROL)) or u.op.on_host for u in self.users[value]):
            return False
        return all(self._chooses(self._call(u, {value: view.strides})) for u in self.users[value])

    def _concat(self, node: Node) -> None:
        """Copy the operands that were not computed in place."""
        whole = node.results[0]
        self._place(whole)
        start: Dim = 0
        for value in node.operands:
            part = self.parts.get(value)
            if part is None or part.concat != whole:
                spot = self._window(Part(whole, start, _concat_axis(node.op)), value.type)
                self._copy(node, self._at(value), spot, value.type)
            start = start + value.type.shape[_concat_axis(node.op)]

    def _host(self, node: Node) -> None:
        operands = tuple((self._contiguous(v), v.type) for v in node.operands)
        results = tuple((self._place(v), v.type) for v in node.results)
        dense = tuple((x if x.strides is None else _fresh(t), t) for x, t in results)
        self.drawing.steps.append(HostDraft(node, operands, dense))
        for (written, kind), (wanted, _) in zip(dense, results, strict=True):
            if written is not wanted:
                self._copy(node, written, wanted, kind)

    def _contiguous(self, value: Value) -> Location:
        """Where a row-major version of the value lives, copied there when it is a strided view."""
        found = self._at(value)
        if found.strides is None:
            return found
        dense = _fresh(value.type)
        self._copy(value.node, found, dense, value.type)
        return dense

    def _copy(self, node: Node, source: Location, place: Location, kind: TensorType) -> None:
        op = Slice((0,) * kind.rank, kind.shape, (1,) * kind.rank)
        operands = (Operand(kind, source.strides, source.storage.array),)
        call = KernelCall(op, operands, (Operand(kind, place.strides),), self.target)
        self._emit(Node(op, (), (kind,), node.loc), call, (source,), (place,))

    def _call(self, node: Node, strides: dict[Value, tuple[Dim, ...] | None]) -> KernelCall:
        """The call of a node when the named operands have these strides."""
        operands = tuple(Operand(v.type, strides.get(v), const_array(v)) for v in node.operands)
        results = tuple(Operand(v.type, strides.get(v)) for v in node.results)
        return KernelCall(node.op, operands, results, self.target)

    def _chooses(self, call: KernelCall) -> bool:
        return accepts(self.backend, call, self.banned) is not None

    def _accepts_part(self, node: Node, value: Value, whole: Value, axis: int) -> bool:
        """Whether kernels write and read the value with the strides of a concatenation's part."""
        if isinstance(node.op, (Concat, DimsTensor)):
            return isinstance(node.op, Concat)
        if node.op.on_host or isinstance(node.op, CONTROL):
            return False
        shape = whole.type.shape
        starts = (0,) * len(shape)
        spot = window(Location(Storage(Space.ARENA, 0)), shape, starts, value.type.shape, 1)
        if spot.strides is None:
            return True
        calls = [self._call(node, {value: strides}) for strides in (None, spot.strides)]
        plain, strided = (accepts(self.backend, call, self.banned) for call in calls)
        same = plain is not None and strided is plain
        others = [u for u in self.users[value] if not isinstance(u.op, Concat)]
        hosted = any(u.op.on_host or isinstance(u.op, CONTROL) for u in others)
        return same and not hosted and all(self._chooses(self._call(u, {value: spot.strides})) for u in others)

    def _kernel(self, node: Node) -> None:
        operands = tuple(self._at(v) for v in node.operands)
        results = tuple(self._place(v) for v in node.results)
        if self._try(node, operands, results):
            return None
        operands = tuple(self._contiguous(v) for v in node.operands)
        if self._try(node, operands, results):
            return None
        dense = tuple(
            _fresh(v.type) if x.strides is not None else x for v, x in zip(node.results, results, strict=True)
        )
        if not self._try(node, operands, dense):
            if node.op.host_fallback:
                return self._host(node)
            raise self._no_kernel(node)
        for value, written, wanted in zip(node.results, dense, results, strict=True):
            if written is not wanted:
                self._copy(node, written, wanted, value.type)
        return None

    def _try(self, node: Node, operands: tuple[Location, ...], results: tuple[Location, ...]) -> bool:
        given = tuple(Operand(v.type, x.strides, const_array(v)) for v, x in zip(node.operands, operands, strict=True))
        made = tuple(Operand(v.type, x.strides) for v, x in zip(node.results, results, strict=True))
        call = KernelCall(node.op, given, made, self.target)
        if not self._chooses(call):
            return False
        self._emit(node, call, operands, results)
        return True

    def _emit(
        self, node: Node, call: KernelCall, operands: tuple[Location, ...], results: tuple[Location, ...]
    ) -> None:
        choice = choose(self.backend, call, self.banned)
        if choice is None:
            raise self._no_kernel(replace(node, op=call.op))
        code = self.book.emit(choice, call)
        places: dict[Place, tuple[Location, ...]] = {
            Place.OPERAND: operands,
            Place.RESULT: results,
            Place.CONSTANT: tuple(_constant(a) for a in code.constants),
            Place.TEMP: tuple(Location(Storage(Space.TEMP, size)) for size in code.temps),
        }
        over = tuple((operands[i], results[0]) for i in choice.kernel.overwrites(call))
        for launch in code.launches:
            self.drawing.steps.append(_launch_draft(node, choice, launch, places, code, over))

    def _no_kernel(self, node: Node) -> InternalError | UnsupportedModel:
        call = self._call(node, {})
        said = "; ".join(f"{name}: {reason}" for name, reason in refusals(self.backend, call))
        types = ", ".join(str(v.type) for v in node.operands)
        where = f" (from {', '.join(node.loc)})" if node.loc else ""
        name = type(node.op).__name__
        return UnsupportedModel(
            f"{name}({types}){where}: no kernel of backend {self.backend.name!r} computes it. "
            f"{said or 'It has no kernel for this op'}"
        )


def _launch_draft(
    node: Node,
    choice: Choice,
    launch: Launch,
    places: dict[Place, tuple[Location, ...]],
    code: Code,
    over: tuple[tuple[Location, Location], ...],
) -> KernelDraft:
    taken = [(p.place, places[p.place][p.index]) for p in launch.pointers]
    reads = tuple(x for place, x in taken if place in (Place.OPERAND, Place.CONSTANT))
    writes = tuple(x for place, x in taken if place in (Place.RESULT, Place.TEMP))
    single = over if len(code.launches) == 1 else ()
    return KernelDraft(node, choice, launch, tuple(x for _, x in taken), reads, writes, single)


def _constant(array: Any) -> Location:
    return Location(Storage(Space.WEIGHT, array.nbytes, array=array))


def _fresh(kind: TensorType) -> Location:
    return Location(Storage(Space.ARENA, kind.size_bytes))


def _concat_axis(op: Op) -> int:
    if not isinstance(op, Concat):
        raise InternalError(f"{type(op).__name__} is not a concatenation")
    return op.axis
