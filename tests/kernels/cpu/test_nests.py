"""Nest kernels beyond the ops' samples: sizes that only the run knows, packed weights, narrow floats, odd positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fusee.base.target import detect_cpu
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Op
from fusee.kernels.cpu.nest_deform import NestDeformConv
from fusee.kernels.cpu.nest_recurrent import NestGru, NestLstm, NestRnn
from fusee.kernels.cpu.nest_regions import NestMaxRoiPool, NestRoiAlign
from fusee.kernels.cpu.nest_resize_points import PointResize
from fusee.kernels.cpu.nest_sampling import NestGridSample
from fusee.kernels.cpu.nest_sums import NestDet, NestEinsum
from fusee.kernels.kernel import Kernel, KernelCall, Operand
from fusee.ops.conv_variants import DeformConv
from fusee.ops.linear import Det, Einsum
from fusee.ops.recurrent import Gru, Lstm, Recurrent, Rnn
from fusee.ops.resize import Resize
from fusee.ops.vision import GridSample, MaxRoiPool, RoiAlign
from kernels.run_kernel import run_call
from kernels.tolerances import differences

GATED = ("sigmoid", "tanh")
LAYERS: tuple[tuple[Kernel, Recurrent, int], ...] = (
    (NestLstm(), Lstm("bidirectional", ("sigmoid", "tanh", "tanh") * 2), 4),
    (NestGru(), Gru("bidirectional", GATED * 2, linear_before_reset=True), 3),
    (NestRnn(), Rnn("bidirectional", ("tanh", "relu")), 1),
)


def check(kernel: Kernel, op: Op, types: Sequence[str], arrays: Sequence[Array], known: Sequence[int] = ()) -> None:
    """Run a call whose ``known`` operands have their values at build; ``types`` may name sizes."""
    operands = [Operand(TensorType.parse(t), value=arrays[i] if i in known else None) for i, t in enumerate(types)]
    call = KernelCall.of(op, operands, detect_cpu())
    assert not kernel.refuses(call)
    for found, expected in zip(run_call(kernel, call, arrays), op.compute(*arrays), strict=True):
        assert not differences(found, expected)


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
@pytest.mark.parametrize(("kernel", "op", "gates"), LAYERS, ids=lambda x: x.name if isinstance(x, Kernel) else None)
def test_recurrent_layers_of_any_length_with_packed_weights(
    kernel: Kernel, op: Recurrent, gates: int, dtype: str
) -> None:
    rows, states = gates * 48, op.cell.states
    types = [f"{dtype}[t,n,7]", f"{dtype}[2,{rows},7]", f"{dtype}[2,{rows},48]", f"{dtype}[2,{2 * rows}]"]
    types += [f"{dtype}[2,n,48]"] * states + [f"{dtype}[2,144]"] * op.cell.extra + ["i32[n]"]
    bound = [TensorType.parse(t) for t in types]
    made = op.sample_operands(np.random.default_rng(3), *[t.with_shape(t.bind({"t": 6, "n": 3})) for t in bound])
    arrays = [a if a.dtype == np.int32 else (a.astype(np.float32) * 0.3).astype(a.dtype) for a in made]
    check(kernel, op, types, arrays, known=(1, 2, 3))


def test_grid_positions_far_outside_and_undefined() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 5)).astype(np.float32)
    places = np.array([1e30, -1e30, np.inf, -np.inf, np.nan, 0.25], np.float32)
    grid = np.stack(np.meshgrid(places, places), axis=-1)[None]
    for mode in ("nearest", "linear"):
        with np.errstate(invalid="ignore"):
            check(NestGridSample(), GridSample(mode), ["f32[n,2,h,w]", "f32[n,6,6,2]"], [x, grid])


def test_regions_that_lie_outside() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 6, 7)).astype(np.float32)
    rois = np.array([[-9, -9, -4, -3], [5, 4, 30, 20], [2, 2, 2, 2], [40, 40, 50, 50]], np.float32)
    batch = np.array([0, 1, 1, 0], np.int64)
    check(NestRoiAlign(), RoiAlign(2, 3), ["f32[2,3,h,w]", "f32[r,4]", "i64[r]"], [x, rois, batch])
    numbered = np.concatenate([batch[1:3, None].astype(np.float32), rois[1:3]], axis=1)
    check(NestMaxRoiPool(), MaxRoiPool(3, 3), ["f32[2,3,h,w]", "f32[r,5]"], [x, numbered])


def test_deformable_convolution_over_more_pixels_than_one_block_of_vectors() -> None:
    rng = np.random.default_rng(2)
    op = DeformConv((2, 1), (1, 0, 1, 2), (1, 2), offset_group=2)
    shapes = [(2, 4, 19, 17), (3, 4, 3, 2), (2, 24, 10, 17), (3,)]
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    check(NestDeformConv(), op, ["f32[n,4,19,17]", "f32[3,4,3,2]", "f32[n,24,10,17]", "f32[3]"], arrays)


def test_determinants_of_matrices_whose_size_the_run_knows() -> None:
    rng = np.random.default_rng(4)
    matrices = rng.standard_normal((3, 9, 9))
    matrices[1, :, 4] = 0
    matrices[2, 0, 0] = 0
    check(NestDet(), Det(), ["f64[b,n,n]"], [matrices])


def test_sums_of_three_operands_with_repeated_axes() -> None:
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((4, 1, 3), (4, 5, 3), (3, 3))]
    check(NestEinsum(), Einsum("aij,aij,jj->ij"), ["f32[a,1,j]", "f32[a,5,j]", "f32[j,j]"], arrays)


def test_filters_too_wide_to_be_written_out() -> None:
    x = np.random.default_rng(6).standard_normal((2, 31, 29)).astype(np.float32)
    op = Resize((2, 3, 4), (None,) * 3, "cubic", antialias=True)
    check(PointResize(), op, ["f32[2,31,29]"], [x])
