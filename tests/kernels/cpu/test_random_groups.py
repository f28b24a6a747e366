"""Random groups of elementwise ops, movements and one row op, of random types, sizes and strides, on all kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fusee.base.errors import ShapeError
from fusee.base.target import detect_cpu
from fusee.base.types import Array, DType, TensorType
from fusee.ir.graph import Graph, Input, Value
from fusee.kernels.cpu import KERNELS
from fusee.kernels.cpu.compile import Compiler
from fusee.kernels.kernel import KernelCall, Operand
from fusee.ops import binary as b
from fusee.ops import elementwise as u
from fusee.ops.fused import Fused
from fusee.ops.reduce import Normalize, Reduce, Softmax
from fusee.ops.shape import Concat, Expand, Pad, Slice, Transpose
from kernels.run_kernel import Job, emit, load, run_job
from kernels.tolerances import differences

SIZES = (1, 2, 3, 5, 7, 8, 16, 17, 33, 40)
TYPES = (DType.F32, DType.F32, DType.F16, DType.F64, DType.I32, DType.U8)
GROUPS = 30


class Draw:
    """Draws one group: each step takes the value so far to the next."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = TYPES[self.rng.integers(len(TYPES))]
        self.inputs: list[Value] = []
        self._has_row_op = False

    def group(self) -> Fused:
        value = self._new([int(self.rng.choice(SIZES)) for _ in range(self.rng.integers(1, 5))])
        moves = (self._turn, self._cut, self._grow, self._join, self._pad)
        steps = (self._binary, self._binary, self._unary, self._row, *moves)
        for _ in range(self.rng.integers(2, 7)):
            step: Callable[[Value], Value] = steps[self.rng.integers(len(steps))]
            value = step(value)
        value = b.Add()(value, self._new([]))
        return Fused(Graph("drawn", tuple(self.inputs), (value,)))

    def _new(self, shape: Sequence[int]) -> Value:
        made = Input(f"x{len(self.inputs)}", TensorType(self.dtype, tuple(shape)))()
        self.inputs.append(made)
        return made

    def _shape(self, value: Value) -> list[int]:
        return list(value.type.static_shape())

    def _axis(self, value: Value) -> int:
        return int(self.rng.integers(value.type.rank))

    def _binary(self, x: Value) -> Value:
        other = [d if self.rng.integers(3) else 1 for d in self._shape(x)]
        op = (b.Add(), b.Mul(), b.Max(), b.Sub())[self.rng.integers(4)]
        return op(x, self._new(other[int(self.rng.integers(len(other) + 1)) :]))

    def _unary(self, x: Value) -> Value:
        return (u.Relu(), u.Tanh(), u.Silu())[self.rng.integers(3)](x) if self.dtype.is_float else u.Abs()(x)

    def _turn(self, x: Value) -> Value:
        return Transpose(tuple(int(i) for i in self.rng.permutation(x.type.rank)))(x)

    def _cut(self, x: Value) -> Value:
        shape = self._shape(x)
        starts = [int(self.rng.integers(d)) for d in shape]
        steps = [int(self.rng.choice([1, 2, -1])) for _ in shape]
        sizes = [(d - s + p - 1) // p if p > 0 else s + 1 for d, s, p in zip(shape, starts, steps, strict=True)]
        return Slice(tuple(starts), tuple(sizes), tuple(steps))(x)

    def _grow(self, x: Value) -> Value:
        return Expand((int(self.rng.integers(1, 4)), *self._shape(x)))(x) if x.type.rank < 5 else x

    def _join(self, x: Value) -> Value:
        if not x.type.rank:
            return x
        axis, other = self._axis(x), self._shape(x)
        other[axis] = int(self.rng.integers(1, 20))
        return Concat(axis)(x, self._new(other))

    def _pad(self, x: Value) -> Value:
        before, after = (tuple(int(n) for n in self.rng.integers(0, 3, x.type.rank)) for _ in range(2))
        return Pad(before, after)(x, self._new([]))

    def _row(self, x: Value) -> Value:
        if self._has_row_op or not x.type.rank:
            return x
        self._has_row_op = True
        axis = self._axis(x)
        if not self.dtype.is_float:
            return Reduce("max", (axis,), True)(x)
        return (Softmax(axis), Normalize((axis,), 1e-3), Reduce("sum", (axis,), False))[self.rng.integers(3)](x)

    def arrays(self) -> list[Array]:
        made = [self.rng.normal(0, 2, v.type.static_shape()) for v in self.inputs]
        return [(np.abs(a) if self.dtype is DType.U8 else a).astype(self.dtype.numpy) for a in made]

    def operand(self, type: TensorType) -> Operand:
        """A tensor without gaps, or with some behind each row."""
        if type.rank < 2 or self.rng.integers(3):
            return Operand(type)
        row, middle = type.static_shape()[-1] + 3, type.static_shape()[1:-1]
        strides = [1, row]
        for size in reversed(middle):
            strides.append(strides[-1] * size)
        return Operand(type, tuple(reversed(strides)))


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
@pytest.mark.parametrize("start", [0, 1000])
def test_random_groups(isa: str, start: int) -> None:
    target = detect_cpu().with_isa(isa)
    jobs: list[tuple[Job, list[Array]]] = []
    for seed in range(start, start + GROUPS):
        draw = Draw(seed)
        try:
            op = draw.group()
        except ShapeError:  # what was drawn does not broadcast
            continue
        arrays = draw.arrays()
        operands = tuple(draw.operand(v.type) for v in draw.inputs)
        call = KernelCall(op, operands, (draw.operand(op.body.outputs[0].type),), target)
        takers = [k for k in KERNELS if isinstance(op, k.op) and not k.refuses(call)]
        jobs += [(emit(k, call, k.tactics(call)[0], f"s{seed}_{i}"), arrays) for i, k in enumerate(takers)]
    assert len(jobs) > GROUPS // 2
    with Compiler(target, 1) as compiler:
        loaded = load(compiler, [job for job, _ in jobs])
    for job, arrays in jobs:
        with np.errstate(all="ignore"):
            (expected,) = job.call.op.compute(*arrays)
        (found,) = run_job(loaded, job, arrays)
        assert not (wrong := differences(*_rounded(found, expected))), f"{job}: {wrong}"


def _rounded(found: Array, expected: Array) -> tuple[Array, Array]:
    """Intermediate f16 results round in the reference and not in the kernel: several roundings may add up."""
    if expected.dtype != np.float16:
        return found, expected
    gap = np.abs(found.astype(np.float32) - expected.astype(np.float32))
    near = gap <= 0.02 * max(1.0, float(np.nanmax(np.abs(expected))))
    return np.where(near, expected, found), expected
