"""Kernels for x86-64 CPUs, in the order in which they are preferred: the first that does not refuse computes a call."""

from __future__ import annotations

from fusee.kernels.cpu.conv_transpose import PhasedConvTranspose
from fusee.kernels.cpu.dense import DENSE_KERNELS
from fusee.kernels.cpu.indexed import Indexed, PlacedResize
from fusee.kernels.cpu.nest_deform import DEFORM_KERNELS
from fusee.kernels.cpu.nest_products import NestConv, NestConvTranspose, NestMatMul
from fusee.kernels.cpu.nest_recurrent import RECURRENT_KERNELS
from fusee.kernels.cpu.nest_regions import REGION_KERNELS
from fusee.kernels.cpu.nest_resize import TableResize
from fusee.kernels.cpu.nest_resize_points import PointResize
from fusee.kernels.cpu.nest_sampling import NestGridSample
from fusee.kernels.cpu.nest_sums import SUM_KERNELS
from fusee.kernels.cpu.nest_windows import NestMaxPoolIndices, NestMaxUnpool, NestPool
from fusee.kernels.cpu.pointwise import Pointwise
from fusee.kernels.cpu.reduce import Position, Reduction, Running
from fusee.kernels.cpu.scatter import ScatterLines, ScatterSlices
from fusee.kernels.cpu.softmax import ROW_KERNELS
from fusee.kernels.cpu.topk import TopKInsertion
from fusee.kernels.cpu.transpose import Turned
from fusee.kernels.kernel import Backend, Kernel

NESTS: tuple[Kernel, ...] = (
    NestMatMul(),
    NestConv(),
    NestConvTranspose(),
    NestPool(),
    NestMaxPoolIndices(),
    NestMaxUnpool(),
    TableResize(),
    PointResize(),
    *RECURRENT_KERNELS,
    *DEFORM_KERNELS,
    *REGION_KERNELS,
    NestGridSample(),
    *SUM_KERNELS,
)
KERNELS: tuple[Kernel, ...] = (
    *DENSE_KERNELS,
    Turned(),
    Pointwise(),
    *ROW_KERNELS,
    Reduction(),
    Position(),
    Running(),
    TopKInsertion(),
    ScatterLines(),
    ScatterSlices(),
    PhasedConvTranspose(),
    PlacedResize(),
    *NESTS,
    Indexed(),
)
CPU = Backend("cpu", KERNELS)
