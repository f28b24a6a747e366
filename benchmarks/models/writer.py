"""Writes one network as an ONNX graph, in the form that torch.onnx.export gives, with seeded weights."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models.calibration import PICTURES, Array, draw_pictures

OPSET = 17
IR_VERSION = 8

Attribute = int | float | str | Sequence[int] | onnx.TensorProto
Size = int | str
"""A dimension: a number, or the name of one that the model leaves open."""


@dataclass(frozen=True)
class Tensor:
    """A value of the graph under construction."""

    name: str
    shape: tuple[Size, ...]
    sample: Array | None = None
    """What the value is for the calibration pictures, [pictures,C,H,W]; None where nothing downstream is calibrated."""

    def sized(self, axis: int) -> int:
        """The dimension ``axis``, which must be a number."""
        size = self.shape[axis]
        if isinstance(size, str):
            raise ValueError(f"{self.name}: dimension {axis} is open ({size}), where the layer needs a number")
        return size


class GraphWriter:
    """Collects the nodes and weights of one graph; ``batch`` is a number, or the name of an open dimension."""

    def __init__(self, name: str, batch: Size, seed: int) -> None:
        self.batch = batch
        self.random = np.random.default_rng(seed)
        self._name = name
        self._scope: tuple[str, ...] = ()
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._uses: dict[str, int] = {}

    @contextmanager
    def scope(self, *names: str) -> Generator[None]:
        """Names of nodes and weights made inside start with these modules' names."""
        outer = self._scope
        self._scope = (*outer, *names)
        yield
        self._scope = outer

    def input(self, name: str, shape: Sequence[Size], dtype: int = TensorProto.FLOAT) -> Tensor:
        """Declares an input of the network."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return Tensor(name, tuple(shape))

    def pictures(self, name: str, edge: int, sample_edge: int = 96) -> Tensor:
        """Declares an input of normalised pictures; a few of ``sample_edge`` pixels calibrate what follows.

        Networks of depthwise convolutions and gates need larger ones: errors of their statistics multiply with depth.
        """
        x = self.input(name, (self.batch, 3, edge, edge))
        return replace(x, sample=draw_pictures(self.random, PICTURES, sample_edge).astype(np.float64))

    def weight(self, name: str, values: Array) -> str:
        """Stores a trained value as an initializer."""
        full = ".".join((*self._scope, name))
        self._weights.append(numpy_helper.from_array(values, full))
        return full

    def constant(self, values: Array | float | np.floating[Any]) -> str:
        """A value that no training changes, as a Constant node: this is what parameter counts leave out."""
        array = np.asarray(values)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        return self.node("Constant", (), value=numpy_helper.from_array(array))

    def node(self, op_type: str, inputs: Sequence[str | Tensor], **attributes: Attribute) -> str:
        """Adds a node with one result and gives the result's name."""
        return self.nodes(op_type, inputs, 1, **attributes)[0]

    def nodes(
        self, op_type: str, inputs: Sequence[str | Tensor], results: int, **attributes: Attribute
    ) -> tuple[str, ...]:
        """Adds a node with several results and gives their names."""
        name = self._unique("/" + "/".join((*self._scope, op_type)))
        outputs = tuple(f"{name}_output_{i}" for i in range(results))
        operands = [i if isinstance(i, str) else i.name for i in inputs]
        node = helper.make_node(op_type, operands, outputs, name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self._nodes.append(node)
        return outputs

    def _unique(self, name: str) -> str:
        count = self._uses.get(name, 0)
        self._uses[name] = count + 1
        return f"{name}_{count}" if count else name

    def size(self, times: int = 1) -> Size:
        """The batch dimension times a number."""
        if isinstance(self.batch, int):
            return self.batch * times
        return self.batch if times == 1 else f"{self.batch}*{times}"

    def shape_operand(self, shape: Sequence[Size]) -> str:
        """``shape`` as an i64 tensor: a constant, with -1 for an open size; an open batch is read from the input."""
        if all(isinstance(size, int) for size in shape):
            return self.constant(np.array(shape, np.int64))
        if self.batch not in shape:
            return self.constant(np.array([-1 if isinstance(size, str) else size for size in shape], np.int64))
        whole = self.node("Shape", (self._inputs[0].name,))
        batch = self.node("Gather", (whole, self.constant(np.array(0, np.int64))), axis=0)
        axes = self.constant(np.array([0], np.int64))
        parts = [
            self.node("Unsqueeze", (batch, axes)) if size == self.batch else self.constant(np.array([size], np.int64))
            for size in shape
        ]
        return self.node("Concat", parts, axis=0)

    def reshape(self, x: Tensor, shape: Sequence[Size]) -> Tensor:
        """``x`` with the same elements in row-major order in another shape."""
        name = self.node("Reshape", (x, self.shape_operand(shape)))
        return Tensor(name, tuple(shape))

    def transpose(self, x: Tensor, *perm: int) -> Tensor:
        """``x`` with its axes in the order ``perm``."""
        return Tensor(self.node("Transpose", (x,), perm=perm), tuple(x.shape[i] for i in perm))

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum; ``y`` may broadcast."""
        sample = x.sample + y.sample if x.sample is not None and y.sample is not None else None
        return replace(x, name=self.node("Add", (x, y)), sample=sample)

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors behind one another along ``axis``."""
        total = sum(part.sized(axis) for part in parts)
        shape = (*parts[0].shape[:axis], total, *parts[0].shape[axis + 1 :])
        samples = [part.sample for part in parts if part.sample is not None]
        sample = np.concatenate(samples, axis) if len(samples) == len(parts) else None
        return Tensor(self.node("Concat", parts, axis=axis), shape, sample)

    def split(self, x: Tensor, sizes: Sequence[int], axis: int) -> tuple[Tensor, ...]:
        """Pieces of ``x`` of these sizes along ``axis``."""
        names = self.nodes("Split", (x, self.constant(np.array(sizes, np.int64))), len(sizes), axis=axis)
        ends = np.cumsum(sizes)[:-1].tolist()
        samples = [None] * len(sizes) if x.sample is None else np.split(x.sample, ends, axis)
        return tuple(
            Tensor(name, (*x.shape[:axis], size, *x.shape[axis + 1 :]), sample)
            for name, size, sample in zip(names, sizes, samples, strict=True)
        )

    def slice(self, x: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
        """Elements start, start + step, ... before stop of ``x`` along ``axis``."""
        bounds = [self.constant(np.array([i], np.int64)) for i in (start, stop, axis, step)]
        size = len(range(*slice(start, stop, step).indices(x.sized(axis))))
        return Tensor(self.node("Slice", (x, *bounds)), (*x.shape[:axis], size, *x.shape[axis + 1 :]))

    def take(self, x: Tensor, axis: int, index: int) -> Tensor:
        """The slice ``index`` of ``x`` along ``axis``, without that axis."""
        name = self.node("Gather", (x, self.constant(np.array(index, np.int64))), axis=axis)
        return Tensor(name, (*x.shape[:axis], *x.shape[axis + 1 :]))

    def finish(self, outputs: Sequence[tuple[str, Tensor]]) -> onnx.ModelProto:
        """The model, with these tensors as its outputs under these names."""
        names = {tensor.name: name for name, tensor in outputs}
        for node in self._nodes:
            node.output[:] = [names.get(name, name) for name in node.output]
            node.input[:] = [names.get(name, name) for name in node.input]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, tensor.shape) for name, tensor in outputs]
        graph = helper.make_graph(self._nodes, self._name, self._inputs, results, self._weights)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="fusee-benchmarks",
        )

    def normal(self, shape: Sequence[int], deviation: float = 1.0) -> Array:
        """Seeded normal numbers of mean 0, f32."""
        values = self.random.standard_normal(tuple(shape), dtype=np.float32)
        values *= np.float32(deviation)
        return values

    def uniform(self, shape: Sequence[int], low: float, high: float) -> Array:
        """Seeded evenly spread numbers, f32."""
        return (low + (high - low) * self.random.random(tuple(shape), dtype=np.float32)).astype(np.float32)
