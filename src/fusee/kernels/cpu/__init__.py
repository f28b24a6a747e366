"""Kernels for x86-64 CPUs, in the order in which they are preferred: the first that does not refuse computes a call."""

from __future__ import annotations

from fusee.kernels.cpu.dense import DENSE_KERNELS
from fusee.kernels.cpu.pointwise import Pointwise
from fusee.kernels.kernel import Backend, Kernel

KERNELS: tuple[Kernel, ...] = (*DENSE_KERNELS, Pointwise())
CPU = Backend("cpu", KERNELS)
