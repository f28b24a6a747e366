"""Counts the parameters and the arithmetic of an ONNX graph, to hold the networks against their published figures."""

from __future__ import annotations

from math import prod

import onnx
from onnx import shape_inference


def parameter_count(model: onnx.ModelProto) -> int:
    """Trained numbers: float initializers, without the running statistics of BatchNormalization."""
    statistics = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    return sum(
        prod(weight.dims)
        for weight in model.graph.initializer
        if weight.data_type == onnx.TensorProto.FLOAT and weight.name not in statistics
    )


def gflops(model: onnx.ModelProto) -> float:
    """Arithmetic of convolutions and matrix products in 1e9 operations, two to a multiply-add; sizes must be fixed."""
    shapes = _shapes(model)
    return 2e-9 * sum(_multiply_adds(node, shapes) for node in model.graph.node)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return shapes


def _multiply_adds(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type == "Conv":
        return prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
    if node.op_type in ("MatMul", "Gemm"):
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0
