"""Every elementwise op on vector lanes: one table, used by each kernel that computes ops inside its loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fusee.base.errors import InternalError
from fusee.ir.graph import Const, Graph, Node, Op, Value
from fusee.kernels.cpu import lane_functions as f
from fusee.kernels.cpu import math_exp, math_trig
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import compute_type
from fusee.kernels.cpu.math_exp import number
from fusee.kernels.cpu.ssa import Ssa, element_of, is_float, literal, mangled, vector
from fusee.ops import binary as b
from fusee.ops import elementwise as u
from fusee.ops.quantize import Dequantize, Quantize

Lane = Callable[..., Ssa]  # (emitter, node, *operand lanes) -> result lanes, all in compute types


def emit_node(e: Emitter, node: Node, *operands: Ssa) -> Ssa:
    """One elementwise op on lanes. Operands have the compute types of their dtypes and equal lane counts."""
    return LANES[type(node.op)](e, node, *operands)


def emit_body(e: Emitter, body: Graph, *values: Ssa) -> tuple[Ssa, ...]:
    """A body of elementwise ops on lanes of its inputs; its constants must be single numbers."""
    known: dict[Value, Ssa] = dict(zip(body.inputs, values, strict=True))
    for node in body.nodes():
        if isinstance(node.op, Const):
            known[Value(node)] = constant_lanes(node.op, values[0].lanes)
        elif node.operands:
            known[Value(node)] = emit_node(e, node, *[known[v] for v in node.operands])
    return tuple(known[v] for v in body.outputs)


def constant_lanes(op: Const, lanes: int) -> Ssa:
    """A constant of one element in every lane."""
    if op.value.size != 1:
        raise InternalError(f"a constant of {op.value.size} elements stands inside a body; only single numbers may")
    dtype = op.infer().dtype
    return literal(vector(compute_type(dtype), lanes), op.value.reshape(-1)[0].astype(float if dtype.is_float else int))


def _unary(function: Callable[[Emitter, Ssa], Ssa]) -> Lane:
    return lambda e, _node, x: function(e, x)


def _intrinsic(name: str) -> Lane:
    return lambda e, _node, x: e.call(f"llvm.{name}.{mangled(x.type)}", x.type, x)


def _arithmetic(float_opcode: str, integer_opcode: str) -> Lane:
    return lambda e, _node, x, y: e.op(float_opcode if is_float(x.type) else integer_opcode, x, y)


def _bits(opcode: str) -> Lane:
    return lambda e, _node, x, y: e.op(opcode, x, y)


def _compare(float_predicate: str, integer_predicate: str) -> Lane:
    def emit(e: Emitter, node: Node, x: Ssa, y: Ssa) -> Ssa:
        if is_float(x.type):
            return e.fcmp(float_predicate, x, y)
        unsigned = not f.dtype_of(node).is_signed or element_of(x.type) == "i1"
        prefix = "" if integer_predicate == "eq" else "u" if unsigned else "s"
        return e.icmp(prefix + integer_predicate, x, y)

    return emit


def _inverted(e: Emitter, _node: Node, x: Ssa) -> Ssa:
    return e.op("xor", x, number(x, -1))


LANES: Mapping[type[Op], Lane] = {
    u.Abs: f.magnitude,
    u.Neg: f.negative,
    u.Sign: f.sign,
    u.Sqrt: _unary(math_exp.square_root),
    u.Reciprocal: lambda e, _node, x: e.fdiv(number(x, 1), x),
    u.Exp: _unary(math_exp.exp),
    u.Log: _unary(math_exp.log),
    u.Sin: _unary(math_trig.sin),
    u.Cos: _unary(math_trig.cos),
    u.Tan: _unary(math_trig.tan),
    u.Asin: _unary(math_trig.asin),
    u.Acos: _unary(math_trig.acos),
    u.Atan: _unary(math_trig.atan),
    u.Sinh: _unary(math_exp.sinh),
    u.Cosh: _unary(math_exp.cosh),
    u.Tanh: _unary(math_exp.tanh),
    u.Asinh: _unary(math_exp.asinh),
    u.Acosh: _unary(math_exp.acosh),
    u.Atanh: _unary(math_exp.atanh),
    u.Erf: _unary(math_exp.erf),
    u.Floor: _intrinsic("floor"),
    u.Ceil: _intrinsic("ceil"),
    u.Round: _intrinsic("roundeven"),
    u.Not: lambda e, _node, x: e.op("xor", x, literal(x.type, 1)),
    u.BitNot: _inverted,
    u.IsNan: lambda e, _node, x: e.fcmp("uno", x, x),
    u.IsInf: f.is_infinite,
    u.Sigmoid: _unary(math_exp.sigmoid),
    u.Relu: f.relu,
    u.Gelu: f.gelu,
    u.Silu: f.silu,
    u.HardSwish: f.hard_swish,
    u.HardSigmoid: f.hard_sigmoid,
    u.LeakyRelu: f.leaky_relu,
    u.Elu: f.elu,
    u.Selu: f.selu,
    u.Celu: f.celu,
    u.Softplus: _unary(math_exp.softplus),
    u.Softsign: f.softsign,
    u.Mish: f.mish,
    u.ThresholdedRelu: f.thresholded_relu,
    u.Shrink: f.shrink,
    u.Cast: f.convert,
    u.BitCast: f.bit_cast,
    b.Add: _arithmetic("fadd", "add"),
    b.Sub: _arithmetic("fsub", "sub"),
    b.Mul: _arithmetic("fmul", "mul"),
    b.Div: f.divide,
    b.Pow: f.raise_to,
    b.Mod: f.remainder,
    b.Min: f.minimum,
    b.Max: f.maximum,
    b.And: _bits("and"),
    b.Or: _bits("or"),
    b.Xor: _bits("xor"),
    b.BitAnd: _bits("and"),
    b.BitOr: _bits("or"),
    b.BitXor: _bits("xor"),
    b.BitShift: f.shift,
    b.Equal: _compare("oeq", "eq"),
    b.Less: _compare("olt", "lt"),
    b.LessOrEqual: _compare("ole", "le"),
    b.Greater: _compare("ogt", "gt"),
    b.GreaterOrEqual: _compare("oge", "ge"),
    b.PRelu: f.p_relu,
    b.Where: lambda e, _node, c, x, y: e.select(c, x, y),
    Quantize: f.quantize,
    Dequantize: f.dequantize,
}
