"""A fused group seen from its one heavy op: which operands feed the op, and what is left to do with its result."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusee.base.blocks import reshaped_strides
from fusee.base.types import Array, DType, Shape
from fusee.ir.graph import Const, Graph, Input, Node, Op, Value
from fusee.kernels.cpu.space import strides_of
from fusee.kernels.kernel import KernelCall, Operand
from fusee.ops.element import Elementwise
from fusee.ops.fused import Fused
from fusee.ops.shape import Reshape, Transpose


@dataclass(frozen=True, eq=False)
class Source:
    """Where a value that enters the group comes from: an operand of the call, or a constant inside the body."""

    operand: Operand
    index: int | None  # of the call's operands; None for a constant

    @property
    def value(self) -> Array | None:
        """The tensor when the build knows it."""
        return self.operand.value


@dataclass(frozen=True, eq=False)
class Anchored:
    """A group split at its anchor.

    ``rest`` takes the anchor's result first, then what ``leaves`` give, and yields the group's results. Transposes at
    the group's ends are no work: they show in the strides of ``inputs``, ``leaves`` and ``results``.
    """

    op: Op
    inputs: tuple[Source, ...]
    shape: Shape  # of the anchor's result
    dtype: DType
    rest: Graph
    leaves: tuple[Source, ...]
    results: tuple[Operand, ...]  # with axes in the order of the anchor's result

    @property
    def steps_after(self) -> int:
        """How many ops follow the anchor."""
        return sum(1 for node in self.rest.nodes() if node.operands)


def split_at(call: KernelCall, kind: type[Op]) -> Anchored | str:
    """The call split at its op of that kind, or why it cannot be."""
    if isinstance(call.op, kind):
        return _whole(call)
    if not isinstance(call.op, Fused):
        return f"{type(call.op).__name__} is not {kind.__name__}"
    anchors = [node for node in call.op.nodes() if isinstance(node.op, kind)]
    if len(anchors) != 1:
        return f"the group holds {len(anchors)} {kind.__name__} ops; expected one"
    return _split_body(call, call.op.body, anchors[0])


def _whole(call: KernelCall) -> Anchored:
    (result,) = call.results
    taken = Input("sum", result.type)()
    sources = tuple(Source(operand, i) for i, operand in enumerate(call.operands))
    return Anchored(
        call.op, sources, result.type.shape, result.type.dtype, Graph("rest", (taken,), (taken,)), (), (result,)
    )


def _split_body(call: KernelCall, body: Graph, anchor: Node) -> Anchored | str:
    sources = _sources(call, body)
    if any(v not in sources for v in anchor.operands):
        return f"an operand of {type(anchor.op).__name__} is computed inside the group"
    ends, results = _untransposed(call, body)
    inner = replace(body, outputs=ends)
    others = [n for n in inner.nodes() if n.operands and n is not anchor and n.results[0] not in sources]
    strange = [type(n.op).__name__ for n in others if not isinstance(n.op, Elementwise)]
    if strange:
        return f"{strange[0]} beside the {type(anchor.op).__name__} is not computed element by element"
    (result,) = anchor.results
    if any(v.type.shape != result.type.shape for v in ends):
        return f"the group ends in {ends[0].type}, not in the shape of {type(anchor.op).__name__}"
    used = {v for n in others for v in n.operands} | set(ends)
    outer = [v for v in sources if v in used and not _is_scalar_constant(v)]
    taken = [Input(f"leaf{i}", v.type)() for i, v in enumerate((result, *outer))]
    rest = inner.replace(dict(zip((result, *outer), taken, strict=True)))
    return Anchored(
        anchor.op,
        tuple(sources[v] for v in anchor.operands),
        result.type.shape,
        result.type.dtype,
        replace(rest, inputs=tuple(taken)),
        tuple(sources[v] for v in outer),
        results,
    )


def _sources(call: KernelCall, body: Graph) -> dict[Value, Source]:
    """What the group reads: its inputs, constants, and transposes and reshapes of both."""
    known = {v: Source(call.operands[i], i) for i, v in enumerate(body.inputs)}
    for node in body.nodes():
        (value, *_) = node.results
        if isinstance(node.op, Const):
            known[value] = Source(Operand(value.type, value=node.op.value), None)
        elif isinstance(node.op, Transpose) and node.operands[0] in known:
            known[value] = _transposed(known[node.operands[0]], value, node.op.perm)
        elif isinstance(node.op, Reshape) and (seen := _reshaped(known.get(node.operands[0]), value)):
            known[value] = seen
    return known


def _reshaped(source: Source | None, value: Value) -> Source | None:
    """What the group reads, in another shape, where no copy is needed for it."""
    if source is None:
        return None
    old = source.operand
    strides = reshaped_strides(old.type.shape, strides_of(old), value.type.shape)
    array = None if old.value is None else old.value.reshape(value.type.static_shape())
    return None if strides is None else Source(Operand(value.type, strides, array), source.index)


def _transposed(source: Source, value: Value, perm: tuple[int, ...]) -> Source:
    strides = strides_of(source.operand)
    array = None if source.value is None else source.value.transpose(perm)
    return Source(Operand(value.type, tuple(strides[axis] for axis in perm), array), source.index)


def _untransposed(call: KernelCall, body: Graph) -> tuple[tuple[Value, ...], tuple[Operand, ...]]:
    """The group's outputs before their last transposes, and the results with their axes put back."""
    ends: list[Value] = []
    results: list[Operand] = []
    for value, result in zip(body.outputs, call.results, strict=True):
        if not isinstance(value.op, Transpose):
            ends.append(value)
            results.append(result)
            continue
        (source,), perm, strides = value.operands, value.op.perm, strides_of(result)
        ends.append(source)
        results.append(Operand(source.type, tuple(strides[perm.index(axis)] for axis in range(len(perm)))))
    return tuple(ends), tuple(results)


def _is_scalar_constant(value: Value) -> bool:
    return isinstance(value.op, Const) and value.op.value.size == 1
