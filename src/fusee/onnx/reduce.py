"""Lowerings of reductions, of softmax in its two shapes, and of running totals."""

from __future__ import annotations

from fusee.base.dims import Dim, product
from fusee.base.types import I64
from fusee.ir.graph import Op, Value, const
from fusee.onnx.axes import axes_operand, normal_axes, normal_axis
from fusee.onnx.call import Lowering, LoweringFunction, OnnxCall
from fusee.ops.binary import Equal
from fusee.ops.elementwise import Cast
from fusee.ops.reduce import ArgReduce, Cumulative, LogSoftmax, Reduce, Softmax
from fusee.ops.reduce_by_data import CumulativeByData, ReduceByData
from fusee.ops.shape import Range, Reshape


def reduction(kind: str) -> LoweringFunction:
    """The lowering of Reduce* of a kind, whose axes are an attribute, and from some version on an input."""

    def lower(call: OnnxCall) -> Value:
        x, keepdims = call.value(0), bool(call.int("keepdims", 1))
        axes = _axes(call, x.type.rank)
        known = tuple(a for a in axes if isinstance(a, int))
        op = Reduce(kind, known, keepdims) if known == axes else ReduceByData(kind, axes, keepdims)
        return op(call.ordered(x), loc=call.loc)

    return lower


def _axes(call: OnnxCall, rank: int) -> tuple[Dim, ...]:
    """The axes; without any it is all, or with noop_with_empty_axes none."""
    given = normal_axes(call, call.ints("axes", ()), rank) or axes_operand(call, 1, rank) or ()
    if given or bool(call.int("noop_with_empty_axes", 0)):
        return given
    return tuple(range(rank))


def arg_reduction(kind: str) -> LoweringFunction:
    """The lowering of ArgMax or ArgMin."""

    def lower(call: OnnxCall) -> Value:
        x = call.value(0)
        axis = normal_axis(call, call.int("axis", 0), x.type.rank)
        last = bool(call.int("select_last_index", 0))
        return ArgReduce(kind, axis, bool(call.int("keepdims", 1)), last)(x, loc=call.loc)

    return lower


def hardmax(call: OnnxCall, x: Value, axis: int) -> Value:
    """1 at the first greatest element along the axis, else 0."""
    best = ArgReduce("max", axis, keepdims=True)(x, loc=call.loc)
    size = x.type.shape[axis]
    positions = Range(size)(const(0, I64), const(1, I64), loc=call.loc)
    shape = [size if i == axis else 1 for i in range(x.type.rank)]
    own = Reshape(tuple(shape))(positions, loc=call.loc)
    return Cast(x.type.dtype)(Equal()(best, own, loc=call.loc), loc=call.loc)


def apply_softmax(op: type[Softmax] | type[LogSoftmax]) -> LoweringFunction:
    """The lowering of a softmax since version 13: along one axis."""

    def lower(call: OnnxCall) -> Value:
        x = call.value(0)
        along: Op = op(normal_axis(call, call.int("axis", -1), x.type.rank))
        return along(x, loc=call.loc)

    return lower


def apply_softmax_1(op: type[Softmax] | type[LogSoftmax]) -> LoweringFunction:
    """The lowering of a softmax before version 13: along all axes from one on, taken together."""

    def lower(call: OnnxCall) -> Value:
        flat = _flattened(call)
        along: Op = op(1)
        return Reshape(call.type(0).shape)(along(flat, loc=call.loc), loc=call.loc)

    return lower


def _flattened(call: OnnxCall) -> Value:
    x = call.value(0)
    shape, axis = x.type.shape, call.int("axis", 1)
    axis = axis if axis == x.type.rank else normal_axis(call, axis, x.type.rank)
    return Reshape((product(shape[:axis]), product(shape[axis:])))(x, loc=call.loc)


def lower_hardmax(call: OnnxCall) -> Value:
    """Hardmax-13."""
    x = call.value(0)
    return hardmax(call, x, normal_axis(call, call.int("axis", -1), x.type.rank))


def lower_hardmax_1(call: OnnxCall) -> Value:
    """Hardmax-1..11: along all axes from one on, taken together."""
    return Reshape(call.type(0).shape)(hardmax(call, _flattened(call), 1), loc=call.loc)


def running(kind: str) -> LoweringFunction:
    """The lowering of CumSum or CumProd, whose axis is an input."""

    def lower(call: OnnxCall) -> Value:
        x = call.value(0)
        exclusive, reverse = bool(call.int("exclusive", 0)), bool(call.int("reverse", 0))
        axis = (axes_operand(call, 1, x.type.rank) or (0,))[0]
        if isinstance(axis, int):
            return Cumulative(kind, axis, exclusive, reverse)(x, loc=call.loc)
        return CumulativeByData(kind, axis, exclusive, reverse)(call.ordered(x), loc=call.loc)

    return lower


_KINDS = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
    "ReduceSumSquare": "sum_square",
}
LOWERINGS: tuple[Lowering, ...] = (
    *(Lowering(name, 1, reduction(kind)) for name, kind in _KINDS.items()),
    Lowering("ArgMax", 1, arg_reduction("max")),
    Lowering("ArgMin", 1, arg_reduction("min")),
    Lowering("Softmax", 1, apply_softmax_1(Softmax)),
    Lowering("Softmax", 13, apply_softmax(Softmax)),
    Lowering("LogSoftmax", 1, apply_softmax_1(LogSoftmax)),
    Lowering("LogSoftmax", 13, apply_softmax(LogSoftmax)),
    Lowering("Hardmax", 1, lower_hardmax_1),
    Lowering("Hardmax", 13, lower_hardmax),
    Lowering("CumSum", 11, running("sum")),
    Lowering("CumProd", 26, running("prod")),
)
