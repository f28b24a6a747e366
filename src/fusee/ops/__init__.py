"""Every op a graph is made of. To add one: declare its class in the file of its family and list it there."""

from __future__ import annotations

from fusee.ir.graph import Op
from fusee.ops.attention import ATTENTION_OPS
from fusee.ops.binary import BINARY_OPS
from fusee.ops.control import CONTROL_OPS
from fusee.ops.conv_variants import CONV_VARIANT_OPS
from fusee.ops.elementwise import ELEMENTWISE_OPS
from fusee.ops.fused import FUSED_OPS
from fusee.ops.index import INDEX_OPS
from fusee.ops.linear import LINEAR_OPS
from fusee.ops.pool import POOL_OPS
from fusee.ops.quantize import QUANTIZE_OPS
from fusee.ops.random import RANDOM_OPS
from fusee.ops.recurrent import RECURRENT_OPS
from fusee.ops.reduce import REDUCE_OPS
from fusee.ops.reduce_by_data import REDUCE_BY_DATA_OPS
from fusee.ops.resize import RESIZE_OPS
from fusee.ops.selection import SELECTION_OPS
from fusee.ops.shape import SHAPE_OPS
from fusee.ops.signal import SIGNAL_OPS
from fusee.ops.vision import VISION_OPS

OPS: tuple[type[Op], ...] = (
    *ELEMENTWISE_OPS,
    *BINARY_OPS,
    *QUANTIZE_OPS,
    *REDUCE_OPS,
    *REDUCE_BY_DATA_OPS,
    *LINEAR_OPS,
    *CONV_VARIANT_OPS,
    *POOL_OPS,
    *ATTENTION_OPS,
    *RECURRENT_OPS,
    *RESIZE_OPS,
    *VISION_OPS,
    *SHAPE_OPS,
    *INDEX_OPS,
    *SELECTION_OPS,
    *RANDOM_OPS,
    *SIGNAL_OPS,
    *CONTROL_OPS,
    *FUSED_OPS,
)
