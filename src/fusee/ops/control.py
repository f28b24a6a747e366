"""Control flow, and the two ops that tie sizes to data.

A subgraph sees nothing of the graph around it but its inputs: its own, then one per captured outer value; the values
themselves are trailing operands of the op. Names of sizes, in contrast, are shared: a name that the outer graph knows
means the same inside, whether or not an input of the subgraph shows it. Names that a subgraph defines itself (a size
of one of its own inputs that is nothing but a new name, results of NonZero, ...) hold for one evaluation of it. They
do not appear in the types of the op's results: there, a fresh outer name stands for such a size, and is listed in
``defines``. It gets its value when the op has run, from the shape of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base import host
from fusee.base.dims import Dim, sym
from fusee.base.errors import ShapeError
from fusee.base.types import BOOL, F32, I64, Array, TensorType
from fusee.ir.graph import Graph, Input, Op
from fusee.ir.reference import evaluate
from fusee.ops.check import need_axis, need_equal
from fusee.ops.shape import Concat, Slice


def _need_types(found: Sequence[TensorType], declared: Sequence[TensorType], what: str) -> None:
    """Raise ShapeError when tensors certainly do not fit the places declared for them."""
    if len(found) != len(declared):
        raise ShapeError(f"{what}: {len(found)} tensors for {len(declared)} places")
    for i, (a, b) in enumerate(zip(found, declared, strict=True)):
        _need_fit(a, b, f"{what} {i}")


def _need_fit(found: TensorType, declared: TensorType, what: str) -> None:
    if found.dtype is not declared.dtype or found.rank != declared.rank:
        raise ShapeError(f"{what} is {found}; expected {declared}")
    for a, b in zip(found.shape, declared.shape, strict=True):
        need_equal(a, b, f"{what} is {found}; expected {declared}")


def _need_carried(*stages: Sequence[TensorType]) -> None:
    """Raise ShapeError when carried values change in anything but a size that their body's input leaves open.

    The stages are the initial values, the body's inputs, its outputs and the results.
    """
    for i, (first, before, after, result) in enumerate(zip(*stages, strict=True)):
        for found in (after, result):
            columns = zip(first.shape, before.shape, found.shape, strict=False)
            kept = tuple(b if a == b else f for a, b, f in columns)
            _need_fit(found, before.with_shape(kept + before.shape[len(kept) :]), f"carried value {i}")


def _input_types(graph: Graph) -> tuple[TensorType, ...]:
    return tuple(v.type for v in graph.inputs)


def _output_types(graph: Graph) -> tuple[TensorType, ...]:
    return tuple(v.type for v in graph.outputs)


def _used(names: Sequence[str], types: Sequence[TensorType]) -> frozenset[str]:
    return frozenset(names) & frozenset[str]().union(*[t.symbols() for t in types])


def stack_rows(rows: Sequence[Array], declared: TensorType, axis: int = 0) -> Array:
    """The collected results of all iterations, joined along a new axis.

    With no iteration, sizes of ``declared`` that are still names are 0.
    """
    if rows:
        return np.stack(rows, axis=axis)
    shape = [d if isinstance(d, int) else 0 for d in declared.shape]
    return np.zeros((*shape[:axis], 0, *shape[axis + 1 :]), declared.dtype.numpy)


@dataclass(frozen=True, eq=False)
class If(Op):
    """Run one of two subgraphs, by a condition.

    Operands: the condition (bool[]), then the captures. Both subgraphs have one input per capture, in that order
    (used or not), and one output per entry of ``types``, the types of the results. A size that both branches give as
    one expression of outer names is that expression; any other is a fresh name. Element types and ranks of the
    branches agree. ONNX If.
    """

    then: Graph
    otherwise: Graph
    types: tuple[TensorType, ...]
    defines: tuple[str, ...] = ()

    def infer(self, condition: TensorType, *captures: TensorType) -> tuple[TensorType, ...]:
        if condition != TensorType(BOOL, ()):
            raise ShapeError(f"the condition is {condition}; it must be bool[]")
        for name, branch in (("then", self.then), ("else", self.otherwise)):
            _need_types(captures, _input_types(branch), f"capture of the {name} branch")
            _need_types(_output_types(branch), self.types, f"result of the {name} branch")
        return self.types

    def reference(self, condition: Array, *captures: Array) -> tuple[Array, ...]:
        return evaluate(self.then if condition else self.otherwise, captures)

    def defined_symbols(self) -> frozenset[str]:
        return _used(self.defines, self.types)

    def flops(self, condition: TensorType, *captures: TensorType) -> Dim:
        return 0


@dataclass(frozen=True, eq=False)
class Loop(Op):
    """Run a subgraph again and again, carrying values from one iteration to the next.

    Operands: the most iterations (i64[]; the largest i64 means no limit), whether to begin (bool[]), ``carried``
    initial values, then the captures. The body's inputs: the number of the iteration from 0 (i64[]), the condition
    (bool[], always true inside), the carried values, the captures. Its outputs: whether to go on (bool[]), the
    carried values, then the collected values. Results, whose types are ``types``: the carried values after the last
    iteration (the initial ones when there was none), then for each collected value the tensor [iterations, ...].

    A size of a carried value that changes, or may, is in the body's input a name of that input alone, and in the
    result a fresh name; any other size is the same expression of outer names in all four places. The number of
    iterations is one fresh name for all collected results, unless it is the trip count for certain: then it may be
    that, as an expression. A size of a collected value that outer names do not give is a fresh name; it must be the
    same in all iterations, and is 0 when there was none. ONNX Loop.
    """

    body: Graph
    carried: int
    types: tuple[TensorType, ...]
    defines: tuple[str, ...] = ()

    def infer(self, trips: TensorType, condition: TensorType, *operands: TensorType) -> tuple[TensorType, ...]:
        if trips != TensorType(I64, ()) or condition != TensorType(BOOL, ()):
            raise ShapeError(f"trip count and condition are {trips} and {condition}; expected i64[] and bool[]")
        _need_types((trips, condition, *operands), _input_types(self.body), "operand")
        before, after, n = _input_types(self.body)[1:], _output_types(self.body), 1 + self.carried
        _need_types(after[:1], (condition,), "condition to go on")
        _need_carried(operands[: self.carried], before[1:n], after[1:n], self.types[: self.carried])
        rows = [t.with_shape(t.shape[1:]) for t in self.types[self.carried :]]
        _need_types(after[n:], rows, "collected value")
        return self.types

    def reference(self, trips: Array, condition: Array, *operands: Array) -> tuple[Array, ...]:
        carried, captures = operands[: self.carried], operands[self.carried :]
        rows: list[tuple[Array, ...]] = []
        go_on, limit = bool(condition), int(trips)
        while go_on and len(rows) < limit:
            step = np.array(len(rows), np.int64)
            results = evaluate(self.body, (step, np.array(True), *carried, *captures))
            go_on, carried = bool(results[0]), results[1 : 1 + self.carried]
            rows.append(results[1 + self.carried :])
        collected = enumerate(self.types[self.carried :])
        return *carried, *[stack_rows([r[i] for r in rows], t) for i, t in collected]

    def defined_symbols(self) -> frozenset[str]:
        return _used(self.defines, self.types)

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        _, _, *rest = super().sample_operands(rng, *types)
        return np.array(3, np.int64), np.array(True), *rest

    def flops(self, trips: TensorType, condition: TensorType, *operands: TensorType) -> Dim:
        return 0


@dataclass(frozen=True, eq=False)
class Scan(Op):
    """Run a subgraph on each slice of some sequences, carrying states from one slice to the next.

    Operands: ``states`` initial states, the sequences, the captures. Sequence ``i`` is cut along ``input_axes[i]``,
    from its last slice on where ``input_reverse[i]``; all have the same number of slices. The body's inputs: states,
    one slice of each sequence (without that axis), captures; its outputs: states, then collected values. Results,
    whose types are ``types``: the states after the last slice, then each collected value joined along a new axis
    ``output_axes[j]``, the first slice last where ``output_reverse[j]``.

    States keep their type. A size of a collected value that outer names do not give is a fresh name; it must be the
    same for all slices, and is 0 when there was none. ONNX Scan.
    """

    body: Graph
    states: int
    input_axes: tuple[int, ...]
    input_reverse: tuple[bool, ...]
    output_axes: tuple[int, ...]
    output_reverse: tuple[bool, ...]
    types: tuple[TensorType, ...]
    defines: tuple[str, ...] = ()

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        states, sequences = operands[: self.states], operands[self.states : self.states + len(self.input_axes)]
        captures = operands[self.states + len(self.input_axes) :]
        if len(sequences) != len(self.input_axes) or not sequences:
            raise ShapeError(f"{len(sequences)} sequences; expected {len(self.input_axes)}, at least one")
        for sequence, axis in zip(sequences, self.input_axes, strict=True):
            need_axis(axis, sequence.rank)
            need_equal(sequence.shape[axis], sequences[0].shape[self.input_axes[0]], "lengths of the sequences")
        slices = [_without_axis(t, axis) for t, axis in zip(sequences, self.input_axes, strict=True)]
        _need_types((*states, *slices, *captures), _input_types(self.body), "operand")
        after = _output_types(self.body)
        _need_types(after[: self.states], states, "state")
        _need_types(states, self.types[: self.states], "result")
        rows = [_without_axis(t, axis) for t, axis in zip(self.types[self.states :], self.output_axes, strict=True)]
        _need_types(after[self.states :], rows, "collected value")
        return self.types

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        states, sequences = operands[: self.states], operands[self.states : self.states + len(self.input_axes)]
        captures = operands[self.states + len(self.input_axes) :]
        moved = [_slices(*row) for row in zip(sequences, self.input_axes, self.input_reverse, strict=True)]
        rows: list[tuple[Array, ...]] = []
        for slices in zip(*moved, strict=True):
            results = evaluate(self.body, (*states, *[np.asarray(s) for s in slices], *captures))
            states = results[: self.states]
            rows.append(results[self.states :])
        return *states, *self._collected(rows)

    def _collected(self, rows: Sequence[tuple[Array, ...]]) -> list[Array]:
        places = zip(self.types[self.states :], self.output_axes, self.output_reverse, strict=True)
        return [
            stack_rows([r[i] for r in (rows[::-1] if backwards else rows)], t, axis)
            for i, (t, axis, backwards) in enumerate(places)
        ]

    def defined_symbols(self) -> frozenset[str]:
        return _used(self.defines, self.types)

    def flops(self, *operands: TensorType) -> Dim:
        return 0


def _without_axis(t: TensorType, axis: int) -> TensorType:
    return t.with_shape(t.shape[:axis] + t.shape[axis + 1 :])


def _slices(sequence: Array, axis: int, backwards: bool) -> Array:
    first = np.moveaxis(sequence, axis, 0)
    return first[::-1] if backwards else first


@dataclass(frozen=True)
class Bind(Op):
    """Give the elements of an integer tensor as values to names, when it has been computed.

    ``x`` i64 or i32 of rank 0 or 1, with as many elements as there are ``names`` -> the same tensor, the token that
    ``After`` waits for. Names made by ``base.dims.element_name`` may be negative. ONNX has no such op: it is made
    where a size comes from data.
    """

    names: tuple[str, ...]
    on_host: ClassVar[str] = "bind"

    def infer(self, x: TensorType) -> TensorType:
        if not x.dtype.is_integer or x.rank > 1:
            raise ShapeError(f"sizes come from {x}; it must hold integers and have rank 0 or 1")
        need_equal(x.size, len(self.names), "the number of elements and of names")
        return x

    def reference(self, x: Array) -> tuple[Array, ...]:
        return host.bind(self.attributes(), x)

    def defined_symbols(self) -> frozenset[str]:
        return frozenset(self.names)

    def element_symbols(self) -> tuple[str, ...]:
        return self.names

    def flops(self, x: TensorType) -> Dim:
        return 0


Bind.samples = ((Bind(("a", "b")), ("i64[2]",)), (Bind(("a",)), ("i32[]",)))


@dataclass(frozen=True)
class After(Op):
    """``x`` itself, not before the token is there: what uses it may use the names that the token's Bind defines."""

    def infer(self, x: TensorType, token: TensorType) -> TensorType:
        return x

    def reference(self, x: Array, token: Array) -> Array:
        return x

    def flops(self, x: TensorType, token: TensorType) -> Dim:
        return 0


After.samples = ((After(), ("f32[3,5]", "i64[2]")),)


def _sample_if() -> If:
    """The first row, or all rows twice, of a capture with 5 rows."""
    first, both = Input("first", TensorType(F32, (5, 3)))(), Input("both", TensorType(F32, (5, 3)))()
    then = Graph("then", (first,), (Slice((0, 0), (1, 3), (1, 1))(first),), ("rows",))
    otherwise = Graph("otherwise", (both,), (Concat(0)(both, both),), ("rows",))
    return If(then, otherwise, (TensorType(F32, (sym("if_rows"), 3)),), ("if_rows",))


def _sample_loop() -> Loop:
    """Append a captured row in every iteration, and collect that row."""
    step, go_on = Input("step", TensorType(I64, ()))(), Input("go_on", TensorType(BOOL, ()))()
    rows, row = Input("rows", TensorType(F32, (sym("loop_inner"), 3)))(), Input("row", TensorType(F32, (1, 3)))()
    body = Graph("body", (step, go_on, rows, row), (go_on, Concat(0)(rows, row), row), ("go_on", "rows", "row"))
    types = TensorType(F32, (sym("loop_rows"), 3)), TensorType(F32, (sym("loop_steps"), 1, 3))
    return Loop(body, 1, types, ("loop_rows", "loop_steps"))


def _sample_scan() -> Scan:
    """Keep the last column as the state, and join state and column, backwards."""
    state, column = Input("state", TensorType(F32, (4,)))(), Input("column", TensorType(F32, (4,)))()
    body = Graph("body", (state, column), (column, Concat(0)(state, column)), ("state", "joined"))
    types = TensorType(F32, (4,)), TensorType(F32, (8, 3))
    return Scan(body, 1, (1,), (True,), (1,), (True,), types)


If.samples = ((_sample_if(), ("bool[]", "f32[5,3]")),)
Loop.samples = ((_sample_loop(), ("i64[]", "bool[]", "f32[2,3]", "f32[1,3]")),)
Scan.samples = ((_sample_scan(), ("f32[4]", "f32[4,3]")),)

CONTROL_OPS: tuple[type[Op], ...] = (If, Loop, Scan, Bind, After)
