"""Engines written by hand: a few kernels in LLVM IR, compiled once, and plans that call them."""

from __future__ import annotations

from functools import cache

import numpy as np

from fusee.base.dims import Dim, sym
from fusee.base.target import AVX2, CpuTarget
from fusee.base.types import Array, TensorType
from fusee.engine.artifact import Artifact
from fusee.engine.image import CodeImage
from fusee.engine.plan import Buffer, KernelStep, Plan, PlanInput, PlanOutput, Ref, Space, Step
from fusee.engine.weights import pack_weights
from fusee.kernels.cpu.compile import Source, compile_image
from fusee.kernels.cpu.dispatch import DECLARATIONS, DISPATCH_TEXT
from fusee.runtime.engine import Engine

N = sym("N")

# c[i] = a[i] + b[i], one element a unit; arguments a, b, c.
_ADD = """
define void @add(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
entry:
  %pb = getelementptr i8, ptr %args, i64 8
  %pc = getelementptr i8, ptr %args, i64 16
  %a = load ptr, ptr %args
  %b = load ptr, ptr %pb
  %c = load ptr, ptr %pc
  br label %head
head:
  %i = phi i64 [ %lo, %entry ], [ %i1, %body ]
  %more = icmp ult i64 %i, %hi
  br i1 %more, label %body, label %done
body:
  %ai = getelementptr float, ptr %a, i64 %i
  %bi = getelementptr float, ptr %b, i64 %i
  %ci = getelementptr float, ptr %c, i64 %i
  %x = load float, ptr %ai, align 4
  %y = load float, ptr %bi, align 4
  %z = fadd float %x, %y
  store float %z, ptr %ci, align 4
  %i1 = add i64 %i, 1
  br label %head
done:
  ret void
}
"""

# c[n, m] = sum over k of a[n, k] * w[k, m], one row n a unit; arguments a, w, c, then K, M. Sums in scratch.
_MATMUL = """
define void @matmul(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
entry:
  %pw = getelementptr i8, ptr %args, i64 8
  %pc = getelementptr i8, ptr %args, i64 16
  %pk = getelementptr i8, ptr %args, i64 24
  %pm = getelementptr i8, ptr %args, i64 32
  %a = load ptr, ptr %args
  %w = load ptr, ptr %pw
  %c = load ptr, ptr %pc
  %K = load i64, ptr %pk
  %M = load i64, ptr %pm
  br label %rows
rows:
  %n = phi i64 [ %lo, %entry ], [ %n1, %row.end ]
  %nm = icmp ult i64 %n, %hi
  br i1 %nm, label %columns, label %done
columns:
  %m = phi i64 [ 0, %rows ], [ %m1, %column.end ]
  %mm = icmp ult i64 %m, %M
  br i1 %mm, label %column, label %row.end
column:
  store float 0.0, ptr %scratch
  br label %inner
inner:
  %k = phi i64 [ 0, %column ], [ %k1, %inner.body ]
  %km = icmp ult i64 %k, %K
  br i1 %km, label %inner.body, label %column.end
inner.body:
  %ar = mul i64 %n, %K
  %ai = add i64 %ar, %k
  %ap = getelementptr float, ptr %a, i64 %ai
  %wr = mul i64 %k, %M
  %wi = add i64 %wr, %m
  %wp = getelementptr float, ptr %w, i64 %wi
  %x = load float, ptr %ap, align 4
  %y = load float, ptr %wp, align 4
  %s = load float, ptr %scratch
  %p = fmul float %x, %y
  %t = fadd float %s, %p
  store float %t, ptr %scratch
  %k1 = add i64 %k, 1
  br label %inner
column.end:
  %r = load float, ptr %scratch
  %cr = mul i64 %n, %M
  %ci = add i64 %cr, %m
  %cp = getelementptr float, ptr %c, i64 %ci
  store float %r, ptr %cp, align 4
  %m1 = add i64 %m, 1
  br label %columns
row.end:
  %n1 = add i64 %n, 1
  br label %rows
done:
  ret void
}
"""

# y[i] = x[size - 1 - i], one element a unit; arguments x, y, then size. Needs all of x: a barrier before it shows.
_REVERSE = """
define void @reverse(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
entry:
  %py = getelementptr i8, ptr %args, i64 8
  %ps = getelementptr i8, ptr %args, i64 16
  %x = load ptr, ptr %args
  %y = load ptr, ptr %py
  %size = load i64, ptr %ps
  %last = sub i64 %size, 1
  br label %head
head:
  %i = phi i64 [ %lo, %entry ], [ %i1, %body ]
  %more = icmp ult i64 %i, %hi
  br i1 %more, label %body, label %done
body:
  %j = sub i64 %last, %i
  %xj = getelementptr float, ptr %x, i64 %j
  %yi = getelementptr float, ptr %y, i64 %i
  %v = load float, ptr %xj, align 4
  store float %v, ptr %yi, align 4
  %i1 = add i64 %i, 1
  br label %head
done:
  ret void
}
"""

# Writes MXCSR as the kernel finds it to an i32; argument the i32's address.
_MXCSR = """
define void @mxcsr(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
  %p = load ptr, ptr %args
  call void @llvm.x86.sse.stmxcsr(ptr %p)
  ret void
}
"""


def target() -> CpuTarget:
    return CpuTarget(AVX2, 2)


@cache
def code() -> CodeImage:
    """The kernels above and the dispatcher."""
    kernels = Source("kernels", _ADD + _MATMUL + _REVERSE + _MXCSR, DECLARATIONS)
    return compile_image([kernels, Source("dispatch", DISPATCH_TEXT, DECLARATIONS)], target(), 1)


def engine(plan: Plan, *constants: Array) -> Engine:
    return Engine(artifact(plan, *constants))


def artifact(plan: Plan, *constants: Array) -> Artifact:
    return Artifact(plan, code(), pack_weights(constants), target().features, "a test's CPU")


def f32(*shape: Dim) -> TensorType:
    return TensorType.parse(f"f32[{','.join(map(str, shape))}]")


def at(space: Space, index: int = 0) -> Ref:
    return Ref(space, index)


def call(symbol: str, pointers: tuple[Ref, ...], units: Dim, *scalars: Dim, waits: bool = True) -> KernelStep:
    return KernelStep(symbol, pointers, scalars, units, 64, waits, (f"/{symbol}",), symbol, "by hand", flops=units)


def add_plan(size: Dim = 1000) -> Plan:
    """out = a + b."""
    step = call("add", (at(Space.INPUT, 0), at(Space.INPUT, 1), at(Space.OUTPUT)), size)
    inputs = (PlanInput("a", f32(size)), PlanInput("b", f32(size)))
    return Plan("add", inputs, (PlanOutput("out", f32(size)),), (step,), ())


def linear_plan(k: int = 5, m: int = 7) -> Plan:
    """hidden = x @ w, twice = hidden + hidden, y = twice reversed as a whole: two arena buffers of symbolic size."""
    hidden, twice = at(Space.ARENA, 0), at(Space.ARENA, 1)
    steps: tuple[Step, ...] = (
        call("matmul", (at(Space.INPUT), at(Space.WEIGHT), hidden), N, k, m),
        call("add", (hidden, hidden, twice), N * m),
        call("reverse", (twice, at(Space.OUTPUT)), N * m, N * m),
    )
    size = N * m * 4
    buffers = (Buffer(size, 0, 1), Buffer(size, 1, 2))
    return Plan("linear", (PlanInput("x", f32(N, k)),), (PlanOutput("y", f32(N, m)),), steps, buffers)


def linear_expected(x: Array, w: Array) -> Array:
    return (2 * (x @ w)).ravel()[::-1].reshape(len(x), w.shape[1])


def weights(k: int = 5, m: int = 7) -> Array:
    return np.random.default_rng(3).standard_normal((k, m)).astype(np.float32)


def chain_plan(size: int, length: int) -> Plan:
    """y = x reversed ``length`` times, each step reading what all threads wrote in the step before."""
    places = [at(Space.INPUT), *[at(Space.ARENA, i % 2) for i in range(length - 1)], at(Space.OUTPUT)]
    steps = tuple(call("reverse", (places[i], places[i + 1]), size, size) for i in range(length))
    buffers = (Buffer(size * 4, 0, length), Buffer(size * 4, 0, length))
    return Plan("chain", (PlanInput("x", f32(size)),), (PlanOutput("y", f32(size)),), steps, buffers)
