"""Every ONNX op Fusee imports, in one table."""

from __future__ import annotations

from fusee.onnx import control, fill, index, math, nn, quant, random, reduce, slicing, tensor, vision
from fusee.onnx.call import Lowering

LOWERINGS: tuple[Lowering, ...] = (
    *math.LOWERINGS,
    *reduce.LOWERINGS,
    *quant.LOWERINGS,
    *nn.LOWERINGS,
    *vision.LOWERINGS,
    *tensor.LOWERINGS,
    *slicing.LOWERINGS,
    *fill.LOWERINGS,
    *index.LOWERINGS,
    *control.LOWERINGS,
    *random.LOWERINGS,
)
