"""ONNX control flow: If, Loop and Scan, with what their bodies capture made into operands."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from fusee.base.dims import Dim, Expr, dim_max, symbols
from fusee.base.errors import ModelError
from fusee.base.types import BOOL, I64, TensorType
from fusee.ir.graph import Graph, Input, Value, const, const_array
from fusee.onnx.axes import normal_axis, scalar
from fusee.onnx.call import Lowering, OnnxCall
from fusee.ops.control import If, Loop, Scan
from fusee.ops.shape import Reshape


@dataclass
class _Sizes:
    """Makes the types of an op's results: sizes that only its subgraphs know become fresh names."""

    call: OnnxCall
    inner: Collection[str]
    defines: list[str] = field(default_factory=list[str])

    def fresh(self) -> Expr:
        name = self.call.fresh(f"{self.call.name}_size")
        self.defines.append(str(name))
        return name

    def outer(self, shape: Sequence[Dim]) -> tuple[Dim, ...]:
        return tuple(self.fresh() if symbols(d) & set(self.inner) else d for d in shape)


def _names_made_in(graph: Graph) -> frozenset[str]:
    return frozenset[str]().union(*[n.op.defined_symbols() for n in graph.nodes()])


def lower_if(call: OnnxCall) -> tuple[Value, ...]:
    """A branch that is known to be taken replaces the node."""
    condition = call.value(0)
    if condition.type.size != 1:
        raise ModelError(f"{call.where}: the condition is {condition.type}; expected one bool")
    known = call.host.known_dims(condition)
    if known is not None and isinstance(known[0], int):
        return _inlined(*call.subgraph(call.graph("then_branch" if known[0] else "else_branch"), ()))
    then, then_captures = call.subgraph(call.graph("then_branch"), ())
    otherwise, else_captures = call.subgraph(call.graph("else_branch"), ())
    for shaped, own, plain, others in (
        (then, then_captures, otherwise, else_captures),
        (otherwise, else_captures, then, then_captures),
    ):
        if known is not None and _is_view_of(shaped, own, plain, others):
            return _inlined(shaped, own)
    captures = tuple(dict.fromkeys((*then_captures, *else_captures)))
    then, otherwise = _taking(then, then_captures, captures), _taking(otherwise, else_captures, captures)
    types, defines = _branch_types(call, then, otherwise)
    return If(then, otherwise, types, defines).apply(scalar(condition, call.loc), *captures, loc=call.loc)


def _inlined(graph: Graph, captures: Sequence[Value]) -> tuple[Value, ...]:
    return graph.replace(dict(zip(graph.inputs, captures, strict=True))).outputs


def _is_view_of(shaped: Graph, own: Sequence[Value], plain: Graph, others: Sequence[Value]) -> bool:
    """Whether one branch gives an outer value with fewer axes, and the other branch that value as it is.

    So exporters write a squeeze of an axis whose size they do not know. The rank must be known, so the axis is taken
    to be squeezed: if its size is not 1, the reshape does not fit and the run stops.
    """
    if len(shaped.outputs) != 1 or len(plain.outputs) != 1:
        return False
    view, whole = shaped.outputs[0], plain.outputs[0]
    if not isinstance(view.op, Reshape) or view.type.rank >= whole.type.rank:
        return False
    outer = {**dict(zip(shaped.inputs, own, strict=True)), **dict(zip(plain.inputs, others, strict=True))}
    return whole in outer and outer.get(view.operands[0]) == outer[whole]


def _taking(graph: Graph, own: Sequence[Value], all_captures: Sequence[Value]) -> Graph:
    """The graph with one input for each capture, used or not."""
    places = dict(zip(own, graph.inputs, strict=True))
    inputs = tuple(places.get(v) or Input(f"unused{i}", v.type)() for i, v in enumerate(all_captures))
    return replace(graph, inputs=inputs)


def _branch_types(call: OnnxCall, then: Graph, otherwise: Graph) -> tuple[tuple[TensorType, ...], tuple[str, ...]]:
    sizes = _Sizes(call, _names_made_in(then) | _names_made_in(otherwise))
    if len(then.outputs) != len(otherwise.outputs):
        raise ModelError(f"{call.where}: its branches have {len(then.outputs)} and {len(otherwise.outputs)} outputs")
    types: list[TensorType] = []
    for i, (a, b) in enumerate(zip(then.outputs, otherwise.outputs, strict=True)):
        if a.type.dtype is not b.type.dtype or a.type.rank != b.type.rank:
            call.refuse(f"output {i} is {a.type} or {b.type}; both branches must give one element type and rank")
        same = [x if x == y else sizes.fresh() for x, y in zip(a.type.shape, b.type.shape, strict=True)]
        types.append(a.type.with_shape(sizes.outer(same)))
    return tuple(types), tuple(sizes.defines)


def lower_loop(call: OnnxCall) -> tuple[Value, ...]:
    """Body inputs: iteration, condition, carried values; outputs: condition, carried values, collected values."""
    trips = scalar(call.value(0), call.loc) if call.has(0) else const(np.array(np.iinfo(np.int64).max))
    condition = scalar(call.value(1), call.loc) if call.has(1) else const(np.array(True))
    initial = tuple(call.value(i) for i in range(2, len(call.inputs)))
    body, captures, opened = _loop_body(call, [v.type for v in initial])
    sizes = _Sizes(call, opened | _names_made_in(body))
    types = [before.with_shape(sizes.outer(before.shape)) for before in _types(body.inputs[2 : 2 + len(initial)])]
    collected = _types(body.outputs[1 + len(initial) :])
    if collected:
        steps = _known_steps(call, body, condition) or sizes.fresh()
        types += [t.with_shape((steps, *sizes.outer(t.shape))) for t in collected]
    op = Loop(body, len(initial), tuple(types), tuple(sizes.defines))
    return op.apply(trips, condition, *initial, *captures, loc=call.loc)


def _types(values: Sequence[Value]) -> list[TensorType]:
    return [v.type for v in values]


def _loop_body(call: OnnxCall, types: list[TensorType]) -> tuple[Graph, tuple[Value, ...], set[str]]:
    """The body, its captures, and the names of sizes that change from one iteration to the next.

    Sizes are first taken to stay as they are; those that the body then changes get names, until nothing changes.
    """
    proto = call.graph("body")
    if len(proto.input) != 2 + len(types) or len(proto.output) < 1 + len(types):
        raise ModelError(
            f"{call.where}: its body has {len(proto.input)} inputs and {len(proto.output)} outputs "
            f"for {len(types)} carried values; expected {2 + len(types)} and at least {1 + len(types)}"
        )
    head = [TensorType(dtype, _declared_shape(proto.input[i])) for i, dtype in enumerate((I64, BOOL))]
    opened: set[str] = set()
    while True:
        body, captures = call.subgraph(proto, (*head, *types))
        after = _types(body.outputs[1 : 1 + len(types)])
        kept = [_opened(call, i, *pair, opened) for i, pair in enumerate(zip(types, after, strict=True))]
        if kept == types:
            return _with_scalars(body, call.loc), captures, opened
        types = kept


def _declared_shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Exporters declare the iteration number and the condition as scalars or as tensors of one element."""
    return (1,) * len(info.type.tensor_type.shape.dim)


def _opened(call: OnnxCall, i: int, before: TensorType, after: TensorType, opened: set[str]) -> TensorType:
    if before.dtype is not after.dtype or before.rank != after.rank:
        call.refuse(f"carried value {i} is {before} before and {after} after an iteration; only sizes may change")
    shape: list[Dim] = []
    for a, b in zip(before.shape, after.shape, strict=True):
        stays = a == b or symbols(a) & opened
        shape.append(a if stays else call.fresh(f"{call.name}_carried"))
        opened |= frozenset() if stays else symbols(shape[-1])
    return before.with_shape(tuple(shape))


def _with_scalars(body: Graph, loc: tuple[str, ...]) -> Graph:
    """The body with iteration, condition and its answer as scalars."""
    heads = list(body.inputs[:2])
    for i, old in enumerate(heads):
        if old.type.rank:
            heads[i] = Input(f"scalar{i}", old.type.with_shape(()))()
            body = body.replace({old: Reshape(old.type.shape)(heads[i], loc=loc)})
    outputs = (scalar(body.outputs[0], loc), *body.outputs[1:])
    return replace(body, inputs=(*heads, *body.inputs[2:]), outputs=outputs)


def _known_steps(call: OnnxCall, body: Graph, condition: Value) -> Dim | None:
    """The number of iterations, when it is the trip count for certain and that is known in terms of sizes."""
    go_on = body.outputs[0]
    goes_on = go_on == body.inputs[1] or const_array(go_on) == np.array(True)
    if not goes_on or const_array(condition) != np.array(True) or not call.has(0):
        return None
    known = call.host.known_dims(call.value(0))
    return None if known is None else dim_max(0, known[0])


@dataclass(frozen=True)
class _ScanForm:
    """What of a Scan node does not depend on its opset version."""

    axes: tuple[int, ...]
    reverse: tuple[bool, ...]
    output_axes: tuple[int, ...]
    output_reverse: tuple[bool, ...]


def lower_scan(call: OnnxCall) -> tuple[Value, ...]:
    count = call.int("num_scan_inputs")
    states, sequences = call.values()[:-count], call.values()[-count:]
    outputs = len(call.graph("body").output) - len(states)
    given = zip(call.ints("scan_input_axes", (0,) * count), sequences, strict=True)
    form = _ScanForm(
        tuple(normal_axis(call, a, v.type.rank) for a, v in given),
        _flags(call, "scan_input_directions", count),
        call.ints("scan_output_axes", (0,) * outputs),
        _flags(call, "scan_output_directions", outputs),
    )
    op, captures = _scan_op(call, form, _types(states), _types(sequences))
    return op.apply(*states, *sequences, *captures, loc=call.loc)


def _flags(call: OnnxCall, name: str, count: int) -> tuple[bool, ...]:
    return tuple(bool(x) for x in call.ints(name, (0,) * count))


def _scan_op(
    call: OnnxCall, form: _ScanForm, states: list[TensorType], sequences: list[TensorType]
) -> tuple[Scan, tuple[Value, ...]]:
    pairs = list(zip(sequences, form.axes, strict=True))
    slices = [t.with_shape(t.shape[:a] + t.shape[a + 1 :]) for t, a in pairs]
    body, captures = call.subgraph(call.graph("body"), (*states, *slices))
    lengths = [t.shape[a] for t, a in pairs]
    steps = next((n for n in lengths if isinstance(n, int)), lengths[0])
    sizes = _Sizes(call, _names_made_in(body))
    collected = _types(body.outputs[len(states) :])
    axes = tuple(normal_axis(call, a, t.rank + 1) for a, t in zip(form.output_axes, collected, strict=True))
    rows = [(t, sizes.outer(t.shape), a) for t, a in zip(collected, axes, strict=True)]
    types = (*states, *[t.with_shape((*shape[:a], steps, *shape[a:])) for t, shape, a in rows])
    defines = tuple(sizes.defines)
    return Scan(body, len(states), form.axes, form.reverse, axes, form.output_reverse, types, defines), captures


def lower_scan_8(call: OnnxCall) -> tuple[Value, ...]:
    """Opset 8 has a batch in front of everything: an outer Scan walks it."""
    if call.has(0):
        call.refuse("sequences of different lengths (sequence_lens) in Scan-8; export with opset 9 or newer")
    count = call.int("num_scan_inputs")
    values = tuple(call.value(i) for i in range(1, len(call.inputs)))
    inner = [v.type.with_shape(v.type.shape[1:]) for v in values]
    states, sequences = inner[:-count], inner[-count:]
    outputs = len(call.graph("body").output) - len(states)
    form = _ScanForm((0,) * count, _flags(call, "directions", count), (0,) * outputs, (False,) * outputs)
    op, captures = _scan_op(call, form, states, sequences)
    inputs = [Input(f"entry{i}", t)() for i, t in enumerate((*inner, *_types(captures)))]
    results = op.apply(*inputs, loc=call.loc)
    body = Graph("entry", tuple(inputs), results, tuple(f"result{i}" for i in range(len(results))))
    sizes = _Sizes(call, op.defined_symbols())
    types = tuple(t.with_shape((values[0].type.shape[0], *sizes.outer(t.shape))) for t in op.types)
    ahead, zeros = (False,) * len(values), (0,) * len(values)
    walk = Scan(body, 0, zeros, ahead, (0,) * len(types), (False,) * len(types), types, tuple(sizes.defines))
    return walk.apply(*values, *captures, loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("If", 1, lower_if),
    Lowering("Loop", 1, lower_loop),
    Lowering("Scan", 8, lower_scan_8),
    Lowering("Scan", 9, lower_scan),
)
