"""The kernels of dense f32 arithmetic, in the order in which they are preferred."""

from __future__ import annotations

from fusee.kernels.cpu.attention import FusedTiledAttention, TiledAttention
from fusee.kernels.cpu.batched import BatchedMatMul, FusedBatchedMatMul
from fusee.kernels.cpu.conv import FusedConv, TiledConv
from fusee.kernels.cpu.depthwise import DepthwiseConv, FusedDepthwiseConv
from fusee.kernels.cpu.gemm import FusedPackedMatMul, PackedMatMul
from fusee.kernels.cpu.grouped import FusedGroupedConv, GroupedConv
from fusee.kernels.cpu.pool import FusedWindowPool, WindowPool
from fusee.kernels.cpu.winograd import FusedWinogradConv, WinogradConv
from fusee.kernels.kernel import Kernel

DENSE_KERNELS: tuple[Kernel, ...] = (
    WinogradConv(),
    FusedWinogradConv(),
    TiledConv(),
    FusedConv(),
    DepthwiseConv(),
    FusedDepthwiseConv(),
    GroupedConv(),
    FusedGroupedConv(),
    PackedMatMul(),
    FusedPackedMatMul(),
    BatchedMatMul(),
    FusedBatchedMatMul(),
    TiledAttention(),
    FusedTiledAttention(),
    WindowPool(),
    FusedWindowPool(),
)
