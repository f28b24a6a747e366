"""Control flow as the run time knows it: the kind of a CallStep and the counts it needs."""

from __future__ import annotations

from typing import Any

from fusee.base.errors import InternalError
from fusee.ir.graph import Op
from fusee.ops.control import If, Loop, Scan


def call_kind(op: Op) -> tuple[str, dict[str, Any]]:
    """The kind and the attributes of the CallStep for an op (see engine.plan.CallStep)."""
    match op:
        case If():
            return "if", {}
        case Loop():
            return "loop", {"carried": op.carried}
        case Scan():
            return "scan", {
                "states": op.states,
                "input_axes": list(op.input_axes),
                "input_reverse": list(op.input_reverse),
                "output_axes": list(op.output_axes),
                "output_reverse": list(op.output_reverse),
            }
        case _:
            raise InternalError(f"{type(op).__name__} is not control flow")
