"""Every ONNX op Fusee imports, in one table."""

from __future__ import annotations

from fusee.onnx import control, index, math, nn, quant, reduce, tensor, vision
from fusee.onnx.call import Lowering

LOWERINGS: tuple[Lowering, ...] = (
    *math.LOWERINGS,
    *reduce.LOWERINGS,
    *quant.LOWERINGS,
    *nn.LOWERINGS,
    *vision.LOWERINGS,
    *tensor.LOWERINGS,
    *index.LOWERINGS,
    *control.LOWERINGS,
)
