"""Lowerings of ops that look things up in images: grids, regions of interest, boxes, blocks."""

from __future__ import annotations

import numpy as np

from fusee.ir.graph import Value, const
from fusee.onnx.call import Lowering, OnnxCall
from fusee.ops.conv_variants import Col2Im
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


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("GridSample", 16, lower_grid_sample),
    Lowering("GridSample", 1, lower_grid_sample, domain="com.microsoft"),
    Lowering("RoiAlign", 10, lower_roi_align),
    Lowering("RoiAlign", 16, lower_roi_align_16),
    Lowering("MaxRoiPool", 1, lower_max_roi_pool),
    Lowering("NonMaxSuppression", 10, lower_non_max_suppression),
    Lowering("Col2Im", 18, lower_col2im),
)
