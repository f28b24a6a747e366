"""What small values are when everything they are computed from is known: scales made from shapes, for example."""

from __future__ import annotations

import numpy as np

from fusee.base.types import Array
from fusee.ir.graph import Const, Input, Value
from fusee.onnx.call import OnnxCall

MAX_DEPTH = 16  # how many ops back to look
MAX_ELEMENTS = 256  # larger tensors are data, not parameters


def known_array(call: OnnxCall, value: Value, depth: int = MAX_DEPTH) -> Array | None:
    """The value's elements, by running references on constants and known shapes; None when they are not known."""
    if isinstance(value.op, Const):
        return value.op.value
    if isinstance(value.op, Input) or depth == 0 or not value.type.is_static:
        return None
    if np.prod(value.type.static_shape()) > MAX_ELEMENTS or value.op.on_host or value.op.subgraphs():
        return None
    if value.type.dtype.is_integer and value.type.rank <= 1:
        dims = call.host.known_dims(value)
        if dims is not None and all(isinstance(d, int) for d in dims):
            return np.array(dims, value.type.dtype.numpy).reshape(value.type.static_shape())
    operands = [known_array(call, v, depth - 1) for v in value.operands]
    found = [o for o in operands if o is not None]
    if len(found) < len(operands) or value.op.symbols():
        return None
    return value.op.compute(*found)[value.index]
