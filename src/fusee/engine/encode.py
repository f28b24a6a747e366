"""A plan as JSON values, and back (``engine.decode``): sizes as numbers or as their text, addresses as short lists.

``[space, index, offset]`` is a Ref, with the space's first letter; a TensorRef is a Ref with its type's text after it.
Attributes of host steps hold JSON values only; ``attribute_values`` turns dims in them into text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusee.base.dims import Dim, Expr
from fusee.base.errors import InternalError
from fusee.base.types import DType
from fusee.engine.plan import (
    Buffer,
    CallStep,
    Dims,
    HostStep,
    KernelStep,
    Plan,
    PlanInput,
    PlanOutput,
    Ref,
    Space,
    Step,
    TensorRef,
    Weight,
)

Json = dict[str, Any]
SPACE_CODES = {
    Space.INPUT: "i",
    Space.OUTPUT: "o",
    Space.ARENA: "a",
    Space.WEIGHT: "w",
    Space.TEMP: "t",
}
DIMS_SUFFIX = "$dims"


def attribute_values(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as a HostStep holds them: a dim, or tuples of dims, as text under its key + ``$dims``.

    Raises InternalError for a value that JSON cannot hold.
    """
    pairs = (_attribute(key, value) for key, value in attributes.items())
    return dict(pairs)


def _attribute(key: str, value: Any) -> tuple[str, Any]:
    if _has_dim(value):
        return key + DIMS_SUFFIX, _dim_texts(value)
    return key, _json_value(key, value)


def _has_dim(value: Any) -> bool:
    return isinstance(value, Expr) or (isinstance(value, tuple | list) and any(_has_dim(v) for v in value))


def _dim_texts(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_dim_texts(v) for v in value]
    return encode_dim(value)


def _json_value(key: str, value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case DType():
            return value.value
        case tuple() | list():
            return [_json_value(key, v) for v in value]
        case dict():
            return {str(k): _json_value(key, v) for k, v in value.items()}
        case _:
            raise InternalError(f"attribute {key} is a {type(value).__name__}: a plan holds numbers, texts and lists")


def encode_dim(dim: Dim) -> int | str:
    """A number as it is, an expression as its text."""
    return str(dim) if isinstance(dim, Expr) else int(dim)


def encode_plan(plan: Plan) -> Json:
    """The plan as a JSON object; ``decode_plan`` reads it back."""
    return {
        "name": plan.name,
        "inputs": [_input(i) for i in plan.inputs],
        "outputs": [_output(o) for o in plan.outputs],
        "steps": [_step(s) for s in plan.steps],
        "buffers": [_buffer(b) for b in plan.buffers],
        "dims": [_dims(d) for d in plan.dims],
        "equal": [[encode_dim(a), encode_dim(b)] for a, b in plan.equal],
        "arena_bytes": list(plan.arena_bytes),
    }


def encode_weight(weight: Weight) -> list[Any]:
    return [weight.offset_bytes, weight.size_bytes, weight.digest]


def _input(item: PlanInput) -> Json:
    return {"name": item.name, "type": str(item.type), "elements": list(item.elements)}


def _output(item: PlanOutput) -> Json:
    return {"name": item.name, "type": str(item.type)}


def _buffer(item: Buffer) -> list[Any]:
    return [encode_dim(item.size_bytes), item.first, item.last, item.phase, item.offset_bytes]


def _dims(item: Dims) -> Json:
    return {
        "tensor": _tensor(item.tensor),
        "elements": [encode_dim(e) for e in item.elements],
        "phase": item.phase,
    }


def _ref(ref: Ref) -> list[Any]:
    return [SPACE_CODES[ref.space], ref.index, encode_dim(ref.offset_bytes)]


def _tensor(tensor: TensorRef) -> list[Any]:
    return [*_ref(tensor.ref), str(tensor.type)]


def _step(step: Step) -> Json:
    match step:
        case KernelStep():
            return _kernel_step(step)
        case HostStep():
            return _host_step(step)
        case CallStep():
            return _call_step(step)


def _kernel_step(step: KernelStep) -> Json:
    return {
        "step": "kernel",
        "symbol": step.symbol,
        "pointers": [_ref(p) for p in step.pointers],
        "scalars": [encode_dim(s) for s in step.scalars],
        "units": encode_dim(step.units),
        "scratch_bytes": encode_dim(step.scratch_bytes),
        "waits": step.waits,
        "loc": list(step.loc),
        "op": step.op,
        "kernel": step.kernel,
        "flops": encode_dim(step.flops),
        "traffic_bytes": encode_dim(step.traffic_bytes),
    }


def _on_host(step: HostStep | CallStep) -> Json:
    return {
        "attributes": step.attributes,
        "operands": [_tensor(t) for t in step.operands],
        "results": [_tensor(t) for t in step.results],
        "loc": list(step.loc),
        "op": step.op,
        "defines": list(step.defines),
    }


def _host_step(step: HostStep) -> Json:
    return {
        "step": "host",
        "function": step.function,
        **_on_host(step),
        "elements": list(step.elements),
    }


def _call_step(step: CallStep) -> Json:
    return {
        "step": "call",
        "kind": step.kind,
        "plans": [encode_plan(p) for p in step.plans],
        **_on_host(step),
    }
