"""Several ops computed as one: fusion adds no ops of its own."""

from __future__ import annotations

from dataclasses import dataclass

from fusee.base.dims import Dim
from fusee.base.errors import ShapeError
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Const, Graph, Input, Node, Op
from fusee.ir.reference import evaluate


@dataclass(frozen=True)
class Fused(Op):
    """Computes its body in one kernel, so that what flows inside never goes through memory.

    operands: one per input of the body, of the same types -> the body's outputs. Types and meaning are the body's.
    """

    body: Graph

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        expected = tuple(v.type for v in self.body.inputs)
        if operands != expected:
            found, wanted = (", ".join(map(str, types)) for types in (operands, expected))
            raise ShapeError(f"the operands are {found}; the body takes {wanted}")
        return tuple(v.type for v in self.body.outputs)

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        return evaluate(self.body, operands)

    def flops(self, *operands: TensorType) -> Dim:
        return sum((n.op.flops(*[v.type for v in n.operands]) for n in self.nodes()), start=0)

    def nodes(self) -> list[Node]:
        """What it computes: the body's nodes that are neither inputs nor constants, operands before users."""
        return [n for n in self.body.nodes() if not isinstance(n.op, Const | Input)]


FUSED_OPS = (Fused,)
