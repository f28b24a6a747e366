"""Every ONNX op Fusee imports, in one table."""

from __future__ import annotations

from fusee.onnx import (
    attention,
    contrib,
    contrib_attention,
    contrib_quant,
    control,
    einsum,
    fill,
    index,
    math,
    nn,
    normalization,
    pool,
    quant,
    random,
    recurrent,
    reduce,
    resize,
    signal,
    slicing,
    tensor,
    vision,
)
from fusee.onnx.call import Lowering

LOWERINGS: tuple[Lowering, ...] = (
    *math.LOWERINGS,
    *reduce.LOWERINGS,
    *normalization.LOWERINGS,
    *contrib.LOWERINGS,
    *contrib_attention.LOWERINGS,
    *contrib_quant.LOWERINGS,
    *quant.LOWERINGS,
    *nn.LOWERINGS,
    *einsum.LOWERINGS,
    *pool.LOWERINGS,
    *attention.LOWERINGS,
    *recurrent.LOWERINGS,
    *vision.LOWERINGS,
    *resize.LOWERINGS,
    *signal.LOWERINGS,
    *tensor.LOWERINGS,
    *slicing.LOWERINGS,
    *fill.LOWERINGS,
    *index.LOWERINGS,
    *control.LOWERINGS,
    *random.LOWERINGS,
)
