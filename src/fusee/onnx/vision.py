"""Lowerings of ops that look things up in images: grids, regions of interest, boxes, blocks."""

from __future__ import annotations

import numpy as np

from fusee.base.dims import Dim, product
from fusee.base.types import DType
from fusee.ir.graph import Value, const
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.fill import dims_value
from fusee.ops.binary import Add, Div, Mul, Sub
from fusee.ops.cast import Cast
from fusee.ops.conv_variants import Col2Im
from fusee.ops.linear import MatMul
from fusee.ops.shape import Concat, Expand, Full, Range, Reshape
from fusee.ops.vision import GridSample, MaxRoiPool, NonMaxSuppression, RoiAlign

GRID_MODES = {"bilinear": "linear", "bicubic": "cubic"}  # names before opset 20


def lower_grid_sample(call: OnnxCall) -> Value:
    """GridSample-16..22, and that of com.microsoft."""
    mode = call.string("mode", "linear")
    padding = call.string("padding_mode", "zeros")
    op = GridSample(GRID_MODES.get(mode, mode), padding, bool(call.int("align_corners", 0)))
    return op(call.value(0), call.value(1), loc=call.loc)


def lower_roi_align(call: OnnxCall) -> Value:
    """RoiAlign-10: regions are not shifted by half an element."""
    return _roi_align(call, half_pixel=False)


def lower_roi_align_16(call: OnnxCall) -> Value:
    """RoiAlign-16..22."""
    mode = call.string("coordinate_transformation_mode", "half_pixel")
    return _roi_align(call, half_pixel=mode == "half_pixel")


def _roi_align(call: OnnxCall, half_pixel: bool) -> Value:
    op = RoiAlign(
        call.int("output_height", 1),
        call.int("output_width", 1),
        call.int("sampling_ratio", 0),
        call.float("spatial_scale", 1.0),
        call.string("mode", "avg") == "max",
        half_pixel,
    )
    return op(call.value(0), call.value(1), call.value(2), loc=call.loc)


def lower_max_roi_pool(call: OnnxCall) -> Value:
    """MaxRoiPool-1..22."""
    height, width = call.ints("pooled_shape")
    op = MaxRoiPool(height, width, call.float("spatial_scale", 1.0))
    return op(call.value(0), call.value(1), loc=call.loc)


def lower_non_max_suppression(call: OnnxCall) -> Value:
    """NonMaxSuppression-10..11: without a count per class nothing is kept."""
    most = call.optional(2) or const(np.zeros(1, np.int64))
    iou = call.optional(3) or const(np.zeros(1, np.float32))
    least = [v for v in (call.optional(4),) if v is not None]
    op = NonMaxSuppression(call.fresh("boxes"), bool(call.int("center_point_box", 0)))
    return op(call.value(0), call.value(1), most, iou, *least, loc=call.loc)


def lower_col2im(call: OnnxCall) -> Value:
    """Col2Im-18."""
    image, block = call.dims(1), call.dims(2)
    rank = len(block)
    ones = (1,) * rank
    op = Col2Im(
        image, block, call.ints("strides", ones), call.ints("pads", (0,) * 2 * rank), call.ints("dilations", ones)
    )
    return op(call.ordered(call.value(0)), loc=call.loc)


def lower_affine_grid(call: OnnxCall) -> Value:
    """AffineGrid-20: positions from -1 to 1 along every spatial axis, moved by each theta."""
    theta, loc = call.ordered(call.value(0)), call.loc
    spatial = call.dims(1)[2:]
    dtype, rank = theta.type.dtype, len(spatial)
    columns: list[Value] = []
    for axis, size in reversed(list(enumerate(spatial))):
        lift = tuple(size if i == axis else 1 for i in range(rank + 1))
        line = Reshape(lift)(_centres(call, size, dtype), loc=loc)
        columns.append(Expand((*spatial, 1))(line, loc=loc))
    columns.append(Full((*spatial, 1))(const(1, dtype), loc=loc))
    grid = Reshape((product(spatial), rank + 1))(Concat(rank)(*columns, loc=loc), loc=loc)
    y = MatMul(trans_b=True)(grid, theta, loc=loc)
    return Reshape((theta.type.shape[0], *spatial, rank))(y, loc=loc)


def _centres(call: OnnxCall, size: Dim, dtype: DType) -> Value:
    """Positions of the elements of one axis: from edge to edge, or with align_corners from centre to centre."""
    loc, align = call.loc, call.int("align_corners", 0)
    i = Cast(dtype)(Range(size)(const(0, DType.I64), const(1, DType.I64), loc=loc), loc=loc)
    span = dims_value(call, (size - 1 if align else size,), call.value(1))
    twice = Mul()(i, const(2, dtype), loc=loc)
    start = twice if align else Add()(twice, const(1, dtype), loc=loc)
    return Sub()(Div()(start, Cast(dtype)(span, loc=loc), loc=loc), const(1, dtype), loc=loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("AffineGrid", 20, lower_affine_grid),
    Lowering("GridSample", 16, lower_grid_sample),
    Lowering("GridSample", 1, lower_grid_sample, domain="com.microsoft"),
    Lowering("RoiAlign", 10, lower_roi_align),
    Lowering("RoiAlign", 16, lower_roi_align_16),
    Lowering("MaxRoiPool", 1, lower_max_roi_pool),
    Lowering("NonMaxSuppression", 10, lower_non_max_suppression),
    Lowering("Col2Im", 18, lower_col2im),
)
