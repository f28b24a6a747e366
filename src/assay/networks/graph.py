"""Writes one network as an ONNX graph; weights are arrays that are looked up by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
BATCH = "N"  # the open number of photos

Array = npt.NDArray[np.float32]
Stored = npt.NDArray[np.float32] | npt.NDArray[np.float16]
Attribute = int | float | str | Sequence[int]


class GraphWriter:
    """Collects nodes and initializers; a value is known by its name."""

    def __init__(self, name: str, weights: Mapping[str, Stored]) -> None:
        self._name = name
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def input(self, name: str, dtype: int, shape: Sequence[int | str]) -> str:
        """Declares an input of the network."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def weight(self, name: str) -> str:
        """A trained value. One that is stored in 16 bits is widened in the graph, and computed with in 32."""
        values, wide = self._weights[name], f"{name}.wide"
        is_new = name not in self._initializers
        self._initializers[name] = numpy_helper.from_array(values, name)
        if values.dtype == np.float32:
            return name
        return self.node("Cast", (name,), wide, to=TensorProto.FLOAT) if is_new else wide

    def constant(self, name: str, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """A value that no training changes."""
        self._initializers[name] = numpy_helper.from_array(np.asarray(values, dtype), name)
        return name

    def node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Attribute) -> str:
        """Adds a node with one result, which has the node's name."""
        node = helper.make_node(op_type, inputs, [output], output)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(node)
        return output

    def convolve(self, x: str, layer: str, stride: int = 1, relu: bool = False) -> str:
        """A convolution of ``<layer>.weight`` and ``<layer>.bias``, padded so that stride 1 keeps the size."""
        size = self._weights[f"{layer}.weight"].shape[-1]
        padding = [size // 2] * 4
        operands = (x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias"))
        y = self.node("Conv", operands, layer, kernel_shape=[size] * 2, strides=[stride] * 2, pads=padding)
        return self.node("Relu", (y,), f"{layer}.relu") if relu else y

    def reshape(self, x: str, output: str, shape: Sequence[int]) -> str:
        """``x`` in another shape; 0 keeps a dimension, -1 takes what is left."""
        return self.node("Reshape", (x, self.constant(f"{output}.shape", shape, np.int64)), output)

    def axes(self, *axes: int) -> str:
        """What a reduction goes over."""
        return self.constant("axes" + "".join(f"_{axis}" for axis in axes), axes, np.int64)

    def linear(self, x: str, layer: str) -> str:
        """``x`` times ``<layer>.weight`` [inputs, outputs], plus ``<layer>.bias``."""
        product = self.node("MatMul", (x, self.weight(f"{layer}.weight")), f"{layer}.product")
        return self.node("Add", (product, self.weight(f"{layer}.bias")), layer)

    def layer_norm(self, x: str, layer: str) -> str:
        """``x`` normalised along the last axis, times ``<layer>.weight``, plus ``<layer>.bias``."""
        operands = (x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias"))
        return self.node("LayerNormalization", operands, layer, axis=-1)

    def spread(self, x: str, output: str) -> str:
        """Each place of [N, C, H, W] repeated over 2 x 2."""
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", (x, "", self.constant("double", [1, 1, 2, 2])), output, **modes)

    def join(self, fine: str, coarse: str, layer: str) -> str:
        """``fine`` plus a projection of ``coarse``, each of whose places covers 2 x 2 of the fine ones."""
        wide = self.spread(self.convolve(coarse, layer), f"{layer}.spread")
        return self.node("Relu", (self.node("Add", (fine, wide), f"{layer}.sum"),), f"{layer}.joined")

    def normalise(self, x: str, output: str) -> str:
        """``x`` over its Euclidean length along the last axis."""
        squares = self.node("Mul", (x, x), f"{output}.squares")
        total = self.node("ReduceSum", (squares, self.axes(-1)), f"{output}.total")
        positive = self.node("Add", (total, self.constant("tiny", 1e-12)), f"{output}.positive")
        return self.node("Div", (x, self.node("Sqrt", (positive,), f"{output}.length")), output)

    def finish(self, outputs: Mapping[str, tuple[int, Sequence[int | str]]]) -> onnx.ModelProto:
        """The checked model, with these values (type and shape by name) as its outputs."""
        results = [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in outputs.items()]
        graph = helper.make_graph(self._nodes, self._name, self._inputs, results, list(self._initializers.values()))
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="assay")
        onnx.checker.check_model(model, full_check=True)
        return model
