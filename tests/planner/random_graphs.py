"""Seeded random graphs of the ops that planning treats specially, among others that it does not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fusee.base.dims import Dim, sym
from fusee.base.types import F32, Array, TensorType
from fusee.ir.graph import Const, Graph, Input, Value
from fusee.ops.activations import Sigmoid
from fusee.ops.binary import Add, Mul, Sub
from fusee.ops.elementwise import Neg, Relu, Tanh
from fusee.ops.linear import Conv
from fusee.ops.reduce import Reduce, Softmax
from fusee.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose

MAX_ELEMENTS = 4000  # per image of the batch


@dataclass
class GraphMaker:
    """Grows a graph, one random node after another. The first axis of every value is the batch, maybe twice."""

    rng: np.random.Generator
    batch: Dim
    values: list[Value] = field(default_factory=list[Value])

    def graph(self, nodes: int) -> Graph:
        shapes = [(self.batch, 6, 5, 4), (self.batch, 3, 5, 4)]
        inputs = tuple(Input(f"x{i}", TensorType(F32, s))() for i, s in enumerate(shapes))
        self.values = [*inputs, Const(self._normal(1, 6, 5, 4))()]
        steps = (
            self._unary, self._binary, self._binary, self._with_constant, self._concat, self._concat, self._slice,
            self._slice, self._pad, self._reshape, self._transpose, self._conv, self._reduce, self._expand,
        )  # fmt: skip
        while len(self.values) < nodes:
            found = steps[self.rng.integers(len(steps))]()
            if found is not None and _small(found):
                self.values.append(found)
        picked = self.rng.choice(len(self.values), self.rng.integers(1, 5))
        outputs = (self.values[-1], *[self.values[i] for i in picked])
        return Graph("random", inputs, outputs, tuple(f"y{i}" for i in range(len(outputs))))

    def _any(self) -> Value:
        """Any value; late ones more often, so that graphs grow deep."""
        recent = self.rng.random() < 0.6
        return self.values[int(self.rng.integers(max(0, len(self.values) - 4) if recent else 0, len(self.values)))]

    def _normal(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)

    def _unary(self) -> Value:
        op = (Relu(), Neg(), Tanh(), Sigmoid())[self.rng.integers(4)]
        return op(self._any())

    def _binary(self) -> Value:
        a = self._any()
        alike = [v for v in self.values if v.type == a.type]
        op = (Add(), Sub(), Mul())[self.rng.integers(3)]
        return op(a, alike[self.rng.integers(len(alike))])

    def _with_constant(self) -> Value:
        a = self._any()
        shape = [int(d) if isinstance(d, int) and self.rng.random() < 0.5 else 1 for d in a.type.shape]
        return Mul()(a, Const(self._normal(*shape))())

    def _concat(self) -> Value | None:
        a = self._any()
        axis = int(self.rng.integers(1, a.type.rank)) if a.type.rank > 1 else 0
        fitting = [v for v in self.values if _but(v, axis) == _but(a, axis)]
        others = [fitting[self.rng.integers(len(fitting))] for _ in range(int(self.rng.integers(1, 3)))]
        return Concat(axis)(a, *others)

    def _slice(self) -> Value:
        a = self._any()
        starts, sizes = [0] * a.type.rank, list(a.type.shape)
        for axis in range(1, a.type.rank):
            size = sizes[axis]
            if isinstance(size, int) and size > 1 and self.rng.random() < 0.6:
                starts[axis] = int(self.rng.integers(0, size - 1))
                sizes[axis] = int(self.rng.integers(1, size - starts[axis] + 1))
        return Slice(tuple(starts), tuple(sizes), (1,) * a.type.rank)(a)

    def _pad(self) -> Value:
        a = self._any()
        before, after = ((0, *self.rng.integers(0, 3, a.type.rank - 1).tolist()) for _ in range(2))
        return Pad(before, after)(a, Const(np.float32(0.5))())

    def _reshape(self) -> Value | None:
        a = self._any()
        if a.type.rank == 4:
            n, c, h, w = a.type.shape
            return Reshape((n, c, h * w))(a)
        if a.type.rank == 3:
            n, c, s = a.type.shape
            return Reshape((n, s, c, 1))(a)
        return None

    def _transpose(self) -> Value:
        a = self._any()
        return Transpose((0, *(1 + self.rng.permutation(a.type.rank - 1)).tolist()))(a)

    def _conv(self) -> Value | None:
        a = self._any()
        if a.type.rank != 4 or not isinstance(a.type.shape[1], int):
            return None
        k, made = int(self.rng.choice([1, 3])), int(self.rng.integers(1, 9))
        weights = Const(self._normal(made, a.type.shape[1], k, k) / np.float32(k * 2))()
        pad = k // 2
        return Conv((1, 1), (pad,) * 4, (1, 1), 1)(a, weights)

    def _reduce(self) -> Value:
        a = self._any()
        axis = a.type.rank - 1
        return Reduce("mean", (axis,), True)(a) if self.rng.random() < 0.5 else Softmax(axis)(a)

    def _expand(self) -> Value | None:
        a = self._any()
        axes = [i for i, d in enumerate(a.type.shape) if i and d == 1]
        if not axes:
            return None
        return Expand(tuple(3 if i == axes[0] else d for i, d in enumerate(a.type.shape)))(a)


def _but(value: Value, axis: int) -> tuple[Dim, ...]:
    """The shape without an axis."""
    return (*value.type.shape[:axis], -1, *value.type.shape[axis + 1 :])


def _small(value: Value) -> bool:
    size: Dim = 1
    for d in value.type.shape[1:]:
        size = size * d
    return value.type.rank > 2 and isinstance(size, int) and 0 < size <= MAX_ELEMENTS


def random_graph(seed: int) -> Graph:
    """A graph of about 20 nodes; the batch is a name in two of three."""
    rng = np.random.default_rng(seed)
    return GraphMaker(rng, 2 if seed % 3 == 0 else sym("N")).graph(int(rng.integers(10, 26)))
