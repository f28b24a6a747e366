"""Groups on the generic kernels: sizes that only the run knows, views with strides, fused bodies, odd sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fusee.base.dims import sym
from fusee.base.target import detect_cpu
from fusee.base.types import F32, I64, Array, TensorType
from fusee.ir.graph import Graph, Input, Op, Value, const
from fusee.kernels.cpu import KERNELS
from fusee.kernels.cpu.compile import Compiler
from fusee.kernels.kernel import KernelCall, Operand
from fusee.ops import binary as b
from fusee.ops import elementwise as u
from fusee.ops.fused import Fused
from fusee.ops.index import Gather, ScatterElements, TopK
from fusee.ops.pool import Pool
from fusee.ops.reduce import ArgReduce, Cumulative, LogSoftmax, Normalize, Reduce, Softmax
from fusee.ops.resize import Resize
from fusee.ops.shape import Concat, Expand, Pad, Slice, Transpose
from kernels.run_kernel import emit, load, run_job
from kernels.tolerances import differences

RNG = np.random.default_rng(0)
N, H = sym("N"), sym("H")


@pytest.fixture(scope="module", params=["avx512", "avx2"])
def compiler(request: pytest.FixtureRequest) -> Iterator[Compiler]:
    with Compiler(detect_cpu().with_isa(request.param), 1) as opened:
        yield opened


def check(compiler: Compiler, op: Op, types: tuple[TensorType, ...], arrays: tuple[Array, ...], **sizes: int) -> None:
    """The call on every kernel that takes it, its operands' types holding names."""
    call = KernelCall.of(op, [Operand(t) for t in types], compiler.target)
    expected = op.bind(sizes).compute(*arrays)
    check_call(compiler, call, arrays, expected)


def check_call(compiler: Compiler, call: KernelCall, arrays: tuple[Array, ...], expected: tuple[Array, ...]) -> None:
    takers = [k for k in KERNELS if isinstance(call.op, k.op) and not k.refuses(call)]
    assert takers
    jobs = [emit(k, call, t, f"k{i}_{j}") for i, k in enumerate(takers) for j, t in enumerate(k.tactics(call))]
    loaded = load(compiler, jobs)
    for job in jobs:
        for found, wanted in zip(run_job(loaded, job, arrays, threads=3), expected, strict=True):
            assert not differences(found, wanted), f"{job}: {differences(found, wanted)}"


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def f32(*shape: object) -> TensorType:
    return TensorType(F32, shape)  # pyright: ignore[reportArgumentType]


def group(body: Callable[..., Value], *types: TensorType) -> Fused:
    inputs = tuple(Input(f"x{i}", t)() for i, t in enumerate(types))
    return Fused(Graph("group", inputs, (body(*inputs),)))


@pytest.mark.parametrize("n", [1, 3, 33])
@pytest.mark.parametrize("h", [1, 5, 16, 70])
@pytest.mark.parametrize(
    ("op", "types"),
    [
        (b.Add(), (f32(N, H), f32(N, H))),
        (b.Mul(), (f32(N, 3, H), f32(3, 1))),
        (Transpose((1, 0)), (f32(N, H),)),
        (Transpose((0, 2, 1)), (f32(N, H, 3),)),
        (Transpose((0, 2, 1)), (f32(N, 3, H),)),
        (Softmax(1), (f32(N, H),)),
        (Softmax(0), (f32(N, H),)),
        (LogSoftmax(1), (f32(N, H, 2),)),
        (Normalize((1, 2), 1e-5), (f32(N, 5, H),)),
        (Reduce("mean", (0,), False), (f32(N, H),)),
        (Reduce("sum", (1,), True), (f32(N, H, 17),)),
        (Reduce("log_sum_exp", (0, 2), False), (f32(N, 3, H),)),
        (ArgReduce("max", 1, False), (f32(N, H),)),
        (ArgReduce("min", 0, True, select_last=True), (f32(N, H),)),
        (Cumulative("sum", 1), (f32(N, H),)),
        (Expand((N, 4, H)), (f32(N, 1, H),)),
        (Slice((0, 0), (N, H), (1, 1)), (f32(N, H),)),
        (Pad((0, 2), (1, 3)), (f32(N, H), f32())),
        (Pad((0, 1), (1, 1), "edge"), (f32(N, H),)),
        (Concat(1), (f32(N, H), f32(N, 3), f32(N, H))),
        (TopK(1, 1), (f32(N, H),)),
    ],
    ids=str,
)
def test_sizes_known_at_run_time(compiler: Compiler, op: Op, types: tuple[TensorType, ...], n: int, h: int) -> None:
    arrays = tuple(floats(*t.bind({"N": n, "H": h})) for t in types)
    check(compiler, op, types, arrays, N=n, H=h)


def test_a_transposed_view_and_a_strided_result(compiler: Compiler) -> None:
    """Part of a wider buffer on both sides, as slices and concatenations lie."""
    x, y = floats(4, 6, 20), floats(20)
    result = Operand(f32(4, 6, 20), strides=(6 * 32, 32, 1))
    for strides in ((6 * 40, 40, 1), (1, 4, 24)):
        given = (Operand(f32(4, 6, 20), strides=strides), Operand(f32(20)))
        check_call(compiler, KernelCall(b.Add(), given, (result,), compiler.target), (x, y), (x + y,))


def test_a_strided_result_of_a_softmax(compiler: Compiler) -> None:
    x = floats(3, 5, 21)
    call = KernelCall(
        Softmax(2), (Operand(f32(3, 5, 21)),), (Operand(f32(3, 5, 21), strides=(200, 40, 1)),), compiler.target
    )
    check_call(compiler, call, (x,), Softmax(2).compute(x))


def test_before_and_after_a_softmax(compiler: Compiler) -> None:
    """Scores are scaled and masked before, weighted after."""

    def body(x: Value, mask: Value, weight: Value) -> Value:
        return b.Mul()(Softmax(2)(b.Add()(b.Mul()(x, const(0.5, F32)), mask)), weight)

    types = (f32(2, 9, 35), f32(9, 35), f32(35))
    op = group(body, *types)
    check(compiler, op, types, tuple(floats(*t.static_shape()) for t in types))


def test_a_normalisation_with_residual_scale_and_activation(compiler: Compiler) -> None:
    def body(x: Value, residual: Value, scale: Value, bias: Value) -> Value:
        normal = Normalize((2,), 1e-5)(b.Add()(x, residual))
        return u.Gelu()(b.Add()(b.Mul()(normal, scale), bias))

    types = (f32(2, 7, 50), f32(2, 7, 50), f32(50), f32(50))
    check(compiler, group(body, *types), types, tuple(floats(*t.static_shape()) for t in types))


@pytest.mark.parametrize("keepdims", [True, False])
def test_a_reduction_between_elementwise_ops(compiler: Compiler, keepdims: bool) -> None:
    def body(x: Value, bias: Value) -> Value:
        return u.Relu()(b.Add()(Reduce("mean", (2, 3), keepdims)(u.Silu()(x)), bias))

    types = (f32(2, 3, 7, 9), f32(3, 1, 1) if keepdims else f32(3))
    check(compiler, group(body, *types), types, tuple(floats(*t.static_shape()) for t in types))


def test_movements_inside_a_group(compiler: Compiler) -> None:
    def body(x: Value, y: Value) -> Value:
        turned = Transpose((0, 2, 1))(x)
        part = Slice((0, 1, 0), (2, 6, 5), (1, 1, 1))(turned)
        return b.Sub()(u.Tanh()(part), Expand((2, 6, 5))(y))

    types = (f32(2, 5, 8), f32(2, 1, 5))
    check(compiler, group(body, *types), types, tuple(floats(*t.static_shape()) for t in types))


def test_a_lookup_inside_a_group(compiler: Compiler) -> None:
    def body(table: Value, ids: Value, position: Value) -> Value:
        return b.Add()(Gather(0)(table, ids), position)

    types = (f32(11, 24), TensorType(I64, (2, 5)), f32(5, 24))
    ids = RNG.integers(-11, 11, (2, 5))
    check(compiler, group(body, *types), types, (floats(11, 24), ids, floats(5, 24)))


def test_updates_of_a_size_known_at_run_time(compiler: Compiler) -> None:
    types = (f32(N, H), TensorType(I64, (N, 2)), f32(N, 2))
    arrays = (floats(6, 9), np.tile(np.array([3, -1]), (6, 1)), floats(6, 2))
    check(compiler, ScatterElements(1), types, arrays, N=6, H=9)


def test_large_tensors_are_split_into_units_that_do_not_overlap(compiler: Compiler) -> None:
    check(compiler, b.Add(), (f32(3, 70001), f32(70001)), (floats(3, 70001), floats(70001)))
    check(compiler, Transpose((0, 2, 1)), (f32(2, 300, 130),), (floats(2, 300, 130),))
    check(compiler, Transpose((0, 2, 3, 1)), (f32(1, 3, 130, 130),), (floats(1, 3, 130, 130),))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", ["max", "min"])
@pytest.mark.parametrize("axis", [0, 1])
def test_positions_among_equals_and_nans(compiler: Compiler, kind: str, axis: int, last: bool) -> None:
    rows = [
        [1.0, 2.0, 2.0, 0.0, -1.0, -1.0],
        [np.nan, 1.0, np.nan, 9.0, 0.0, 0.0],
        [-np.inf] * 6,
        [np.inf] * 6,
        [np.nan] * 6,
        [0.0, -0.0, 5.0, -5.0, np.nan, 7.0],
    ]
    x = np.tile(np.array(rows, np.float32), (9, 8))
    check(compiler, ArgReduce(kind, axis, False, last), (TensorType.of(x),), (x,))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_resize_between_strided_tensors(compiler: Compiler, mode: str) -> None:
    """As it lies when its operand and its result are parts of concatenations."""
    op = Resize((1, 6, 10, 21), (1.0, 2.0, 2.0, 1.0), mode)
    x = floats(1, 3, 5, 21)
    given = Operand(f32(1, 3, 5, 21), strides=(900, 300, 50, 1))
    result = Operand(f32(1, 6, 10, 21), strides=(9000, 600, 40, 1))
    check_call(compiler, KernelCall(op, (given,), (result,), compiler.target), (x,), op.compute(x))


def test_a_pool_of_bytes_cast_to_floats(compiler: Compiler) -> None:
    def body(x: Value) -> Value:
        return u.Cast(F32)(Pool("max", (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), layout="NHWC")(x))

    x = RNG.integers(0, 256, (1, 12, 12, 24)).astype(np.uint8)
    check(compiler, group(body, TensorType.of(x)), (TensorType.of(x),), (x,))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64])
def test_a_mean_of_more_integers_than_their_type_can_count(compiler: Compiler, kind: type) -> None:
    x = RNG.integers(0, 100, (3, 512)).astype(kind)
    check(compiler, Reduce("mean", (1,), False), (TensorType.of(x),), (x,))
