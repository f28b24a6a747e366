"""The graph: frozen nodes, identity-equal, ordered only by their data; dead code cannot exist in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fusee.base.dims import Dim, Expr, substitute, symbols
from fusee.base.errors import InternalError, ShapeError
from fusee.base.types import Array, DType, TensorType

Sample = tuple["Op", tuple[str, ...]]


class Op:
    """An operation with its attributes bound.

    A subclass is a frozen dataclass: its fields are the attributes, the parameters of ``infer`` and ``reference``
    are the operands, and its docstring is its page of the manual. ``infer`` returns one TensorType or a tuple of
    them, ``reference`` one array or a tuple. Attributes are numbers, strings, booleans, dims, DTypes, Graphs,
    numpy arrays, and tuples of these; an attribute that holds dims is given to ``reference`` with numbers in them.
    """

    samples: ClassVar[tuple[Sample, ...]] = ()  # (op, operand types) that every suite runs
    on_host: ClassVar[str] = ""  # name in base.host.FUNCTIONS of the run-time function, when no native kernel is meant
    host_fallback: ClassVar[str] = ""  # the same for an op that is meant to have kernels, where all of them refuse

    # Signatures that any parameters override: an op names its operands.
    def infer(self, *operands: Any, **_: Any) -> TensorType | tuple[TensorType, ...]:
        raise InternalError(f"{type(self).__name__} declares no type rule")

    def reference(self, *operands: Any, **_: Any) -> Array | tuple[Array, ...]:
        raise InternalError(f"{type(self).__name__} declares no reference")

    def flops(self, *operands: Any, **_: Any) -> Dim:
        """Arithmetic operations for these operands: one per result element unless the op says otherwise."""
        return sum((t.size for t in self.result_types(*operands)), start=0)

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        """Operands for a sample: normal floats, integers from -4 (or 0) to 4, booleans."""
        return tuple(_sample_array(rng, t) for t in types)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        """What ``infer`` gives, always as a tuple."""
        inferred = self.infer(*operands)
        return inferred if isinstance(inferred, tuple) else (inferred,)

    def compute(self, *operands: Array) -> tuple[Array, ...]:
        """What ``reference`` gives, always as a tuple."""
        result = self.reference(*operands)
        return result if isinstance(result, tuple) else (result,)

    def __call__(self, *operands: Value, loc: tuple[str, ...] = ()) -> Value:
        """Apply to values and take the only result."""
        results = self.apply(*operands, loc=loc)
        if len(results) != 1:
            raise InternalError(f"{type(self).__name__} has {len(results)} results: use apply()")
        return results[0]

    def apply(self, *operands: Value, loc: tuple[str, ...] = ()) -> tuple[Value, ...]:
        """Apply to values: the one way a node is made, so the one place where types are checked."""
        try:
            types = self.result_types(*[v.type for v in operands])
        except ShapeError as err:
            where = f" (from {', '.join(loc)})" if loc else ""
            raise ShapeError(f"{type(self).__name__}{where}: {err}") from None
        node = Node(self, operands, types, loc)
        return tuple(Value(node, i) for i in range(len(types)))

    @classmethod
    def text_name(cls) -> str:
        """The op's name in graph text: ``MatMul`` is ``mat_mul``."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def attributes(self) -> dict[str, Any]:
        """Field names and values, in declaration order."""
        return {f.name: getattr(self, f.name) for f in fields(self)} if is_dataclass(self) else {}

    def subgraphs(self) -> tuple[Graph, ...]:
        return tuple(v for v in self.attributes().values() if isinstance(v, Graph))

    def symbols(self) -> frozenset[str]:
        """Names that the attributes depend on."""
        return frozenset[str]().union(*[_attribute_symbols(v) for v in self.attributes().values()])

    def defined_symbols(self) -> frozenset[str]:
        """Names that get their values when this op runs, because its result's size depends on data."""
        return frozenset()

    def element_symbols(self) -> tuple[str, ...]:
        """Names that are, at run time, the elements of the first operand."""
        return ()

    def bind(self, values: Mapping[str, Dim]) -> Op:
        """The op with the names in its attributes replaced."""
        changed = {k: _bind_attribute(v, values) for k, v in self.attributes().items()}
        changed = {k: v for k, v in changed.items() if v is not self.attributes()[k]}
        return replace(self, **changed) if changed else self  # pyright: ignore[reportArgumentType, reportUnknownVariableType]


def _sample_array(rng: np.random.Generator, of: TensorType) -> Array:
    shape = of.static_shape()
    if of.dtype.is_float:
        return np.asarray(rng.standard_normal(shape)).astype(of.dtype.numpy)
    if of.dtype is DType.BOOL:
        return np.asarray(rng.random(shape) < 0.5)
    half = 2 ** (of.dtype.bits - 1)
    low, high = max(-4, -half) if of.dtype.is_signed else 0, min(4, half - 1)
    return np.asarray(rng.integers(low, high + 1, shape)).astype(of.dtype.numpy)


def _attribute_symbols(value: Any) -> frozenset[str]:
    if isinstance(value, Expr):
        return symbols(value)
    if isinstance(value, TensorType):
        return value.symbols()
    if isinstance(value, tuple):
        return frozenset[str]().union(*[_attribute_symbols(v) for v in value])  # pyright: ignore[reportUnknownVariableType]
    return value.free_symbols() if isinstance(value, Graph) else frozenset()


def _bind_attribute(value: Any, values: Mapping[str, Dim]) -> Any:
    if isinstance(value, Expr):
        return substitute(value, values)
    if isinstance(value, TensorType):
        return value.substitute(values)
    if isinstance(value, tuple) and _attribute_symbols(value):
        return tuple(_bind_attribute(v, values) for v in value)  # pyright: ignore[reportUnknownVariableType]
    return value.bind(values) if isinstance(value, Graph) else value


@dataclass(frozen=True, eq=False)
class Node:
    """One application of an op. ``loc`` names the source nodes it came from, through every rewrite."""

    op: Op
    operands: tuple[Value, ...]
    types: tuple[TensorType, ...]
    loc: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[Value, ...]:
        return tuple(Value(self, i) for i in range(len(self.types)))


@dataclass(frozen=True)
class Value:
    """One result of a node: equal when it is the same result of the same node."""

    node: Node
    index: int = 0

    @property
    def type(self) -> TensorType:
        return self.node.types[self.index]

    @property
    def op(self) -> Op:
        return self.node.op

    @property
    def operands(self) -> tuple[Value, ...]:
        return self.node.operands

    def __repr__(self) -> str:
        return f"{type(self.op).__name__}.{self.index}: {self.type}"


@dataclass(frozen=True)
class Input(Op):
    """A tensor that the caller gives.

    When ``elements`` is not empty, it names the elements of an integer tensor of that many elements: sizes
    elsewhere in the graph may then depend on the values the caller gives.
    """

    name: str
    type: TensorType
    elements: tuple[str, ...] = ()

    def infer(self, *operands: TensorType) -> TensorType:
        return self.type


@dataclass(frozen=True, eq=False)
class Const(Op):
    """A tensor known at build time. The array is never written to."""

    value: Array

    def infer(self, *operands: TensorType) -> TensorType:
        return TensorType.of(self.value)

    def reference(self, *operands: Array) -> Array:
        return self.value


def const(value: Any, dtype: DType | None = None) -> Value:
    """A constant of the given element type (the array's own when not given)."""
    array = np.asarray(value, dtype.numpy if dtype else None)
    return Const(array)()


def const_array(value: Value) -> Array | None:
    """What a value is, when that is known at build time."""
    return value.op.value if isinstance(value.op, Const) else None


@dataclass(frozen=True, eq=False)
class Graph:
    """What is computed. Dead nodes do not exist: a graph holds only what its outputs reach.

    ``output_names`` are the names the caller knows; inputs carry theirs in their ``Input`` op.
    """

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    output_names: tuple[str, ...] = ()

    def nodes(self) -> list[Node]:
        """Every node, operands before users; inputs first."""
        done: dict[Node, None] = {v.node: None for v in self.inputs}
        stack = [(v.node, False) for v in reversed(self.outputs)]
        while stack:
            node, ready = stack.pop()
            if node in done:
                continue
            if ready:
                done[node] = None
                continue
            stack.append((node, True))
            stack.extend((v.node, False) for v in reversed(node.operands) if v.node not in done)
        return list(done)

    def uses(self) -> Counter[Value]:
        """How often each value is an operand or an output."""
        return Counter([v for n in self.nodes() for v in n.operands] + list(self.outputs))

    def free_symbols(self) -> frozenset[str]:
        """Names that appear anywhere in the graph."""
        nodes = self.nodes()
        types = (t.symbols() for n in nodes for t in n.types)
        return frozenset[str]().union(*types, *[n.op.symbols() for n in nodes])

    def replace(self, new: Mapping[Value, Value]) -> Graph:
        """The graph with each key's value computed by its replacement instead; what depends on it is rebuilt.

        Raises InternalError when a replacement has another type than what it replaces.
        """
        for old, value in new.items():
            if value.type != old.type:
                raise InternalError(f"{type(old.op).__name__} is {old.type}, its replacement {value.type}")
        built: dict[Node, Node] = {}

        def at(value: Value) -> Value:
            while value in new:
                value = new[value]
            return Value(built.get(value.node, value.node), value.index)

        # The replacements come first: a user must find its replaced operand already rebuilt.
        reached = Graph(self.name, self.inputs, tuple(new.values()) + self.outputs)
        for node in reached.nodes():
            operands = tuple(at(v) for v in node.operands)
            if operands != node.operands:
                built[node] = replace(node, operands=operands)
        return replace(self, outputs=tuple(at(v) for v in self.outputs))

    def bind(self, values: Mapping[str, Dim]) -> Graph:
        """The same computation with names of sizes replaced; itself when it uses none of them."""
        if not self.free_symbols() & values.keys():
            return self
        built: dict[Node, Node] = {}
        for node in self.nodes():
            operands = tuple(Value(built[v.node], v.index) for v in node.operands)
            types = tuple(t.substitute(values) for t in node.types)
            built[node] = Node(node.op.bind(values), operands, types, node.loc)
        inputs, outputs = (tuple(Value(built[v.node], v.index) for v in vs) for vs in (self.inputs, self.outputs))
        return replace(self, inputs=inputs, outputs=outputs)

    def names(self) -> tuple[str, ...]:
        """The output names, made up where the graph has none."""
        return self.output_names or tuple(f"output{i}" for i in range(len(self.outputs)))


def input_op(value: Value) -> Input:
    """The Input op of a graph's input."""
    if not isinstance(value.op, Input):
        raise InternalError(f"a graph input must come from Input, not from {type(value.op).__name__}")
    return value.op
