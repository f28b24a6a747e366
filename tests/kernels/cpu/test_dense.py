"""Dense kernels against the reference on awkward shapes, every tactic, both instruction sets, one image per set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from fusee.base.dims import Dim, sym
from fusee.base.target import CpuTarget, detect_cpu
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Graph, Input, Op, Value, const
from fusee.kernels.cpu.compile import Compiler
from fusee.kernels.cpu.dense import DENSE_KERNELS
from fusee.kernels.kernel import Kernel, KernelCall, Operand, Tactic
from fusee.ops.attention import Attention
from fusee.ops.binary import Add, Mul, Where
from fusee.ops.elementwise import Gelu, HardSwish, Relu, Silu
from fusee.ops.fused import Fused
from fusee.ops.linear import Conv, MatMul
from fusee.ops.pool import Pool
from fusee.ops.shape import Transpose
from kernels.run_kernel import Job, Loaded, emit, load, run_job

RNG = np.random.default_rng(7)
TOLERANCE = 2e-5  # of the largest result: sums of a few thousand products in another order
HOST = detect_cpu()
N, H, W, K = sym("N"), sym("H"), sym("W"), sym("K")


@dataclass(frozen=True, eq=False)
class Case:
    """A call, its operands' values, and the kernel that must take it."""

    kernel: str
    op: Op
    operands: tuple[Operand, ...]
    arrays: tuple[Array, ...]

    def __str__(self) -> str:
        return f"{self.kernel}: {self.op!r} on {', '.join(str(o.type) for o in self.operands)}"

    def call(self, target: CpuTarget) -> KernelCall:
        return KernelCall.of(self.op, self.operands, target)

    @property
    def taker(self) -> Kernel:
        return next(k for k in DENSE_KERNELS if k.name == self.kernel)


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def case(kernel: str, op: Op, *arrays: Array, known: Sequence[int] = (), **shapes: tuple[Dim, ...]) -> Case:
    """``known`` operands have their values at build; ``x0=(N, 3)`` makes sizes of operand 0 unknown."""
    types = [TensorType.of(a).with_shape(shapes.get(f"x{i}", a.shape)) for i, a in enumerate(arrays)]
    operands = [Operand(t, value=arrays[i] if i in known else None) for i, t in enumerate(types)]
    return Case(kernel, op, tuple(operands), arrays)


def conv(kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1, group: int = 1) -> Conv:
    return Conv((stride,) * 2, (pad,) * 4, (dilation,) * 2, group, "NHWC")


def conv_case(op: Conv, image: tuple[int, ...], o: int, k: int, *unknown: Dim) -> Case:
    weights = floats(o, image[-1] // op.group, k, k)
    kernel = "TiledConv" if op.group == 1 else "DepthwiseConv" if op.group == image[-1] == o else "GroupedConv"
    return case(kernel, op, floats(*image), weights, floats(o), known=(1, 2), x0=(*unknown, *image[len(unknown) :]))


def fused(kernel: str, build: Callable[..., Value], *arrays: Array, known: Sequence[int] = ()) -> Case:
    inputs = tuple(Input(f"x{i}", TensorType.of(a))() for i, a in enumerate(arrays))
    return case(kernel, Fused(Graph("body", inputs, (build(*inputs),))), *arrays, known=known)


def pool(kind: str, k: int, stride: int = 1, pad: int = 0, dilation: int = 1, **rest: bool) -> Pool:
    return Pool(kind, (k,) * 2, (stride,) * 2, (pad,) * 4, (dilation,) * 2, layout="NHWC", **rest)


SWAP = Transpose((0, 2, 1, 3))
CONVS = (
    conv_case(conv(3, pad=1), (1, 7, 7, 17), 10, 3),
    conv_case(conv(1), (2, 13, 17, 24), 255, 1),
    conv_case(conv(3, 2, 1), (1, 13, 17, 30), 17, 3),
    conv_case(conv(1), (1, 1, 1, 3), 1, 1),
    conv_case(conv(7, 2, 3), (2, 30, 20, 3), 40, 7),
    conv_case(conv(4, 4), (1, 16, 16, 3), 48, 4),
    conv_case(conv(3, pad=2, dilation=2), (1, 13, 17, 24), 17, 3),
    conv_case(conv(3, dilation=2), (1, 9, 9, 8), 96, 3),
    conv_case(conv(1, 2), (1, 14, 14, 16), 8, 1),
    conv_case(conv(3, pad=1), (2, 13, 17, 24), 17, 3, N, H, W),
    conv_case(conv(1), (2, 13, 37, 24), 17, 1, N, H, W),
    conv_case(conv(3, 2), (1, 13, 37, 24), 17, 3, N, H, W),
    case(
        "TiledConv",
        Conv((1, 2), (0, 2, 1, 0), (2, 1), 1, "NHWC"),
        floats(1, 13, 17, 24),
        floats(17, 24, 3, 2),
        known=(1,),
    ),
    case(
        "TiledConv", Conv((1, 1), (0, 2, 0, 2), (1, 1), 1, "NHWC"), floats(1, 1, 99, 8), floats(33, 8, 1, 5), known=(1,)
    ),
    conv_case(conv(3, pad=1, group=17), (1, 7, 7, 17), 17, 3),
    conv_case(conv(5, pad=2, group=32), (2, 14, 13, 32), 32, 5),
    conv_case(conv(3, 2, 1, group=30), (1, 13, 17, 30), 30, 3),
    conv_case(conv(7, pad=3, group=24), (1, 15, 40, 24), 24, 7),
    conv_case(conv(3, pad=3, group=8), (1, 5, 6, 8), 8, 3),
    conv_case(conv(3, pad=2, dilation=2, group=24), (1, 13, 17, 24), 24, 3),
    conv_case(conv(5, pad=2, group=24), (2, 13, 17, 24), 24, 5, N, H, W),
    conv_case(conv(3, 2, 1, group=24), (2, 13, 17, 24), 24, 3, N, H),
)
PRODUCTS = (
    case("PackedMatMul", MatMul(), floats(5, 7), floats(7, 3), known=(1,)),
    case("PackedMatMul", MatMul(), floats(33, 65), floats(65, 49), known=(1,)),
    case("PackedMatMul", MatMul(), floats(1, 300), floats(300, 21), known=(1,)),
    case("PackedMatMul", MatMul(trans_b=True), floats(2, 9, 16), floats(31, 16), known=(1,)),
    case("PackedMatMul", MatMul(), floats(2, 19, 16), floats(16, 40), known=(1,), x0=(N, K, 16)),
    case("BatchedMatMul", MatMul(), floats(33, 65), floats(65, 49)),
    case("BatchedMatMul", MatMul(), floats(2, 1, 17, 19), floats(3, 19, 5)),
    case("BatchedMatMul", MatMul(trans_a=True), floats(19, 18), floats(19, 5)),
    case("BatchedMatMul", MatMul(trans_a=True, trans_b=True), floats(3, 4, 5), floats(3, 6, 4)),
    case("BatchedMatMul", MatMul(trans_b=True), floats(2, 50, 64), floats(2, 47, 64), x0=(N, H, 64), x1=(N, W, 64)),
    case("BatchedMatMul", MatMul(), floats(2, 50, 47), floats(2, 47, 64), x0=(N, H, K), x1=(N, K, 64)),
    case("BatchedMatMul", MatMul(), floats(200, 900), floats(900, 300)),
)
GROUPED = (
    conv_case(conv(3, pad=1, group=2), (1, 7, 7, 24), 34, 3),
    conv_case(conv(3, 2, 1, group=8), (2, 13, 17, 32), 32, 3),
    conv_case(conv(1, group=3), (1, 9, 13, 12), 15, 1),
    conv_case(conv(3, pad=1, group=4), (1, 9, 13, 80), 128, 3),
    conv_case(conv(5, pad=2, group=12), (1, 9, 13, 12), 24, 5),
    conv_case(conv(3, pad=2, dilation=2, group=8), (2, 13, 17, 64), 64, 3, N, H, W),
    fused(
        "FusedGroupedConv",
        lambda x, w, b, r, s: Mul()(Silu()(Add()(conv(3, pad=1, group=8)(x, w, b), r)), s),
        *(floats(1, 9, 13, 32), floats(48, 4, 3, 3), floats(48), floats(1, 9, 13, 48), floats(48)),
        known=(1, 2),
    ),
)
WINOGRAD = (
    case(
        "WinogradConv",
        conv(3, pad=1),
        *(floats(2, 22, 77, 48), floats(64, 48, 3, 3), floats(64)),
        known=(1, 2),
        x0=(N, H, W, 48),
    ),
    case("WinogradConv", conv(3, pad=1), floats(1, 9, 130, 40), floats(80, 40, 3, 3), known=(1,)),
    case(
        "WinogradConv",
        conv(3, pad=1),
        *(floats(3, 22, 14, 48), floats(64, 48, 3, 3), floats(64)),
        known=(1, 2),
        x0=(N, 22, 14, 48),
    ),
    case("WinogradConv", conv(3, pad=1), floats(1, 14, 14, 64), floats(64, 64, 3, 3), floats(64), known=(1, 2)),
    case("WinogradConv", conv(3, pad=1), floats(2, 29, 27, 40), floats(50, 40, 3, 3), known=(1,)),
    case("WinogradConv", conv(3, pad=1), floats(1, 20, 22, 128), floats(144, 128, 3, 3), known=(1,)),
    case(
        "WinogradConv",
        Conv((1, 1), (0, 2, 1, 0), (1, 1), 1, "NHWC"),
        floats(1, 30, 31, 33),
        floats(33, 33, 3, 3),
        known=(1,),
    ),
    fused(
        "FusedWinogradConv",
        lambda x, w, b, r: Silu()(Add()(conv(3, pad=1)(x, w, b), r)),
        *(floats(1, 19, 23, 40), floats(40, 40, 3, 3), floats(40), floats(1, 19, 23, 40)),
        known=(1, 2),
    ),
)
POOLS = (
    case("WindowPool", pool("max", 3, 2, 1), floats(1, 32, 32, 64)),
    case("WindowPool", pool("max", 2, 2), floats(2, 9, 7, 17)),
    case("WindowPool", pool("max", 5, 1, 2), floats(1, 7, 6, 35)),
    case("WindowPool", pool("max", 3, 2, ceil_mode=True), floats(1, 13, 17, 24)),
    case("WindowPool", pool("max", 3, 1, 2, 2), floats(1, 13, 17, 24)),
    case("WindowPool", pool("max", 3, 2, 1), floats(2, 13, 17, 24), x0=(N, H, W, 24)),
    case("WindowPool", pool("max", 3, 2, 1), RNG.integers(0, 256, (2, 13, 17, 25), np.uint8)),
    case("WindowPool", pool("max", 3, 2, 1), RNG.integers(-128, -3, (1, 12, 11, 48), np.int8)),
    case("WindowPool", pool("average", 3, 2, 1), floats(1, 13, 17, 24)),
    case("WindowPool", pool("average", 3, 2, 1, count_include_pad=True), floats(1, 13, 17, 24)),
    case("WindowPool", pool("average", 3, 2, ceil_mode=True), floats(1, 13, 17, 24)),
    case("WindowPool", pool("average", 2, 2), floats(2, 13, 17, 24), x0=(N, H, W, 24)),
)
ATTENTIONS = (
    case("TiledAttention", Attention(0.2), floats(2, 3, 5, 4), floats(2, 3, 7, 4), floats(2, 3, 7, 6)),
    case("TiledAttention", Attention(0.125), *[floats(1, 2, 97, 64) for _ in range(3)]),
    case("TiledAttention", Attention(0.3), floats(5, 9), floats(7, 9), floats(7, 3), RNG.random((5, 7)) > 0.3),
    case("TiledAttention", Attention(0.3), *[floats(2, 3, 17, 8) for _ in range(3)], floats(2, 1, 1, 17)),
    case("TiledAttention", Attention(0.2, causal=True), *[floats(1, 4, 37, 8) for _ in range(3)]),
    case("TiledAttention", Attention(0.2, causal=True, offset=3), floats(4, 2, 8), floats(4, 5, 8), floats(4, 5, 8)),
    case(
        "TiledAttention",
        Attention(0.2, causal=True),
        *[floats(2, 3, 50, 40) for _ in range(3)],
        x0=(N, H, K, 40),
        x1=(N, H, W, 40),
        x2=(N, H, W, 40),
    ),
)
LAST = Transpose((0, 2, 3, 1))
GROUPS = (
    fused(
        "FusedConv",
        lambda x, w: Relu()(conv(3, 2, 1)(LAST(x), w)),
        *(floats(2, 3, 19, 37), floats(17, 3, 3, 3)),
        known=(1,),
    ),
    fused("FusedConv", lambda x, w: conv(4, 4)(LAST(x), w), floats(1, 4, 32, 16), floats(48, 4, 4, 4), known=(1,)),
    fused("FusedConv", lambda x, w: conv(3, 1, 1)(LAST(x), w), floats(1, 1, 9, 13), floats(8, 1, 3, 3), known=(1,)),
    fused(
        "FusedConv",
        lambda x, w, b, r: Relu()(Add()(conv(3, pad=1)(x, w, b), r)),
        *(floats(1, 9, 13, 24), floats(40, 24, 3, 3), floats(40), floats(1, 9, 13, 40)),
        known=(1, 2),
    ),
    fused(
        "FusedConv",
        lambda x, w, s: Silu()(Mul()(conv(1)(x, w), s)),
        *(floats(2, 9, 13, 24), floats(40, 24, 1, 1), floats(2, 1, 1, 40)),
        known=(1,),
    ),
    fused(
        "FusedConv",
        lambda x, w, c, z: Where()(c, conv(3, 2, 1)(x, w), z),
        *(floats(1, 9, 13, 24), floats(17, 24, 3, 3), RNG.random((1, 5, 7, 17)) > 0.5, floats(1, 1, 1, 1)),
        known=(1,),
    ),
    fused(
        "FusedDepthwiseConv",
        lambda x, w, b, r: Add()(HardSwish()(conv(3, pad=1, group=24)(x, w, b)), r),
        *(floats(1, 9, 13, 24), floats(24, 1, 3, 3), floats(24), floats(1, 9, 13, 24)),
        known=(1, 2),
    ),
    fused(
        "FusedPackedMatMul",
        lambda x, w, b: Gelu()(Add()(MatMul()(x, w), b)),
        *(floats(2, 50, 24), floats(24, 40), floats(40)),
        known=(1, 2),
    ),
    fused(
        "FusedPackedMatMul",
        lambda x, w, r: Add()(MatMul()(x, w), r),
        *(floats(2, 50, 24), floats(24, 40), floats(2, 1, 40)),
        known=(1,),
    ),
    fused(
        "FusedBatchedMatMul",
        lambda q, k, m: Add()(Mul()(MatMul()(SWAP(q), Transpose((0, 2, 3, 1))(k)), const(np.float32(0.125))), m),
        *(floats(2, 50, 3, 64), floats(2, 50, 3, 64), floats(2, 1, 1, 50)),
    ),
    fused("FusedBatchedMatMul", lambda p, v: SWAP(MatMul()(p, SWAP(v))), floats(2, 3, 50, 50), floats(2, 50, 3, 64)),
    fused(
        "FusedTiledAttention",
        lambda q, k, v: SWAP(Attention(0.125)(SWAP(q), SWAP(k), SWAP(v))),
        *(floats(2, 50, 3, 64), floats(2, 47, 3, 64), floats(2, 47, 3, 64)),
    ),
    fused(
        "FusedWindowPool",
        lambda x, s: Mul()(pool("max", 2, 2)(x), s),
        *(floats(2, 9, 7, 17), floats(17)),
    ),
)
CASES = CONVS + GROUPED + WINOGRAD + PRODUCTS + POOLS + ATTENTIONS + GROUPS
ISAS = ("avx512", "avx2")


def jobs_of(one: Case, target: CpuTarget, prefix: str) -> Iterator[Job]:
    call = one.call(target)
    if one.taker.refuses(call):
        return
    tactics: Sequence[Tactic] = one.taker.tactics(call)[:4]
    for i, tactic in enumerate(tactics):
        yield emit(one.taker, call, tactic, f"{prefix}t{i}")


@pytest.fixture(scope="module", params=ISAS)
def compiled(request: pytest.FixtureRequest) -> tuple[Loaded, dict[Case, list[Job]]]:
    target = HOST.with_isa(request.param)
    if target.isa != request.param:
        pytest.skip(f"this machine has no {request.param}")
    jobs = {one: list(jobs_of(one, target, f"k{i}")) for i, one in enumerate(CASES)}
    with Compiler(target) as compiler:
        return load(compiler, [job for listed in jobs.values() for job in listed]), jobs


@pytest.mark.parametrize("one", CASES, ids=str)
def test_computes_what_the_reference_does(one: Case, compiled: tuple[Loaded, dict[Case, list[Job]]]) -> None:
    loaded, jobs = compiled
    assert jobs[one], one.taker.refuses(one.call(HOST))
    expected = one.op.compute(*one.arrays)[0]
    for job in jobs[one]:
        for threads in (1, 3):
            (found,) = run_job(loaded, job, one.arrays, threads)
            error = np.abs(found.astype(np.float32) - expected).max() / np.abs(expected.astype(np.float32)).max()
            assert error < TOLERANCE, f"{job.tactic} in {threads} parts: error {error}"
