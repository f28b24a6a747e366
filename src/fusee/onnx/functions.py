"""Ops that the ONNX standard itself defines by other ops: their bodies, for those without a lowering of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import onnx
from onnx import helper

from fusee.base.errors import ModelError
from fusee.ir.graph import Value
from fusee.onnx.call import OnnxCall


def has_body(call: OnnxCall) -> bool:
    """Whether the standard defines a node's op by other ops."""
    if not onnx.defs.has(call.op_type, call.version, call.domain):
        return False
    schema: Any = onnx.defs.get_schema(call.op_type, call.version, call.domain)
    return bool(schema.function_opset_versions or schema.context_dependent_function_opset_versions)


def function_body(call: OnnxCall) -> onnx.FunctionProto:
    """The body of a node's op, which must have one: other ops, with the node's attributes put in.

    Raises ModelError when the node does not suit the definition.
    """
    schema: Any = onnx.defs.get_schema(call.op_type, call.version, call.domain)
    try:
        data = _definition(call, schema)
    except (RuntimeError, ValueError) as err:
        raise ModelError(f"{call.where}: the standard's definition of this op does not take it: {err}") from None
    body = onnx.FunctionProto.FromString(data)
    given = {a.name: a for a in call.proto.attribute}
    defaults = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.name}
    for i, node in enumerate(body.node):
        node.name = f"{call.name}/{node.name or f'{node.op_type}_{i}'}"
    _put_in(body.node, {**defaults, **given})
    _leave_out(body.node, {name for i, name in enumerate(body.input) if not call.has(i)})
    return body


def _definition(call: OnnxCall, schema: Any) -> bytes:
    if schema.function_opset_versions:
        return schema.get_function_with_opset_version(_fitting(schema.function_opset_versions, call))
    version = _fitting(schema.context_dependent_function_opset_versions, call)
    types = [_type_proto(v).SerializeToString() for v in call.inputs]
    return schema.get_context_dependent_function_with_opset_version(version, call.proto.SerializeToString(), types)


def _fitting(versions: Sequence[int], call: OnnxCall) -> int:
    """The newest body that the model's opset allows."""
    return max((v for v in versions if v <= call.opsets.get("", call.version)), default=min(versions))


def _type_proto(value: Value | None) -> onnx.TypeProto:
    if value is None:
        return onnx.TypeProto()
    shape = [d if isinstance(d, int) else None for d in value.type.shape]
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.type.dtype.numpy), shape)


def _put_in(nodes: Sequence[onnx.NodeProto], given: Mapping[str, onnx.AttributeProto]) -> None:
    """Replace references to the function's attributes by their values; an absent one leaves the node without it."""
    for node in nodes:
        kept: list[onnx.AttributeProto] = []
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _put_in(attribute.g.node, given)
            if not attribute.ref_attr_name:
                kept.append(attribute)
            elif attribute.ref_attr_name in given:
                value = onnx.AttributeProto()
                value.CopyFrom(given[attribute.ref_attr_name])
                value.name = attribute.name
                kept.append(value)
        del node.attribute[:]
        node.attribute.extend(kept)


def _leave_out(nodes: Sequence[onnx.NodeProto], absent: Collection[str]) -> None:
    """Make inputs that the function was not given inputs that its nodes are not given."""
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = "" if name in absent else name
        for attribute in node.attribute:
            _leave_out(attribute.g.node, absent)
