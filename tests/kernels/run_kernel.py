"""Compile calls of CPU kernels into one image and run them on numpy arrays, catching what a session would not notice:
writes outside the results, results left unwritten, and dependence on how work units are split over threads."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fusee.base.dims import evaluate, match
from fusee.base.types import Array
from fusee.engine.image import CodeImage
from fusee.kernels.cpu.compile import Compiler, Source
from fusee.kernels.kernel import Code, Kernel, KernelCall, Launch, Operand, Place, Tactic

MARGIN = 64  # bytes around every tensor: kernels may read behind the end, never write
UNWRITTEN = 0xCD
FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


@dataclass(frozen=True, eq=False)
class Job:
    """One call with the code that a kernel emitted for it."""

    kernel: Kernel
    call: KernelCall
    tactic: Tactic
    code: Code

    def __str__(self) -> str:
        operands = ", ".join(str(o.type) for o in self.call.operands)
        return f"{self.kernel.name}({self.tactic}) of {self.call.op!r} on ({operands}) for {self.call.target.isa}"


class Loaded:
    """A code image in executable memory."""

    def __init__(self, image: CodeImage) -> None:
        everything = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._memory = mmap.mmap(-1, max(1, len(image.data)), prot=everything)
        self._memory.write(image.data)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._symbols = image.symbols

    def __getitem__(self, symbol: str) -> ctypes._FuncPointer:
        return FUNCTION(self._base + self._symbols[symbol])


def emit(kernel: Kernel, call: KernelCall, tactic: Tactic, symbol: str) -> Job:
    return Job(kernel, call, tactic, kernel.emit(call, tactic, symbol))


def load(compiler: Compiler, jobs: Sequence[Job]) -> Loaded:
    """All jobs in one image."""
    return Loaded(compiler.image([Source.of(str(job), job.code) for job in jobs]))


def run_call(
    kernel: Kernel, call: KernelCall, arrays: Sequence[Array], tactic: Tactic | None = None, threads: int = 2
) -> tuple[Array, ...]:
    """Compile one call and run it: the short way, for tests of one kernel."""
    job = emit(kernel, call, tactic or kernel.tactics(call)[0], "k")
    with Compiler(call.target, 1) as compiler:
        return run_job(load(compiler, [job]), job, arrays, threads)


def run_job(loaded: Loaded, job: Job, arrays: Sequence[Array], threads: int = 2) -> tuple[Array, ...]:
    """Run a loaded job; ``threads`` is how many pieces the work units are split into."""
    values = bound_dims(job.call, arrays)
    operands = [Memory.of(a, o, values) for a, o in zip(arrays, job.call.operands, strict=True)]
    results = [Memory.empty(o, values) for o in job.call.results]
    constants = [Memory.aligned(a) for a in job.code.constants]
    temps = [Memory.aligned(np.full(evaluate(size, values), UNWRITTEN, np.uint8)) for size in job.code.temps]
    groups = zip(
        (Place.OPERAND, Place.RESULT, Place.CONSTANT, Place.TEMP), (operands, results, constants, temps), strict=True
    )
    places = {place: [m.address for m in memories] for place, memories in groups}
    for launch in job.code.launches:
        run_launch(loaded, launch, places, values, threads)
    for memory in (*operands, *results, *constants, *temps):
        memory.check(str(job))
    return tuple(m.array.copy() for m in results)


def run_launch(
    loaded: Loaded, launch: Launch, places: Mapping[Place, Sequence[int]], values: Mapping[str, int], threads: int
) -> None:
    words = [places[p.place][p.index] for p in launch.pointers] + [evaluate(d, values) for d in launch.scalars]
    args = np.array([*words, 0], np.int64)
    scratch = Memory.aligned(np.full(evaluate(launch.scratch_bytes, values), UNWRITTEN, np.uint8))
    units = evaluate(launch.units, values)
    cuts = [units * i // threads for i in range(threads + 1)]
    for lo, hi in pairwise(cuts):
        if lo < hi:
            loaded[launch.symbol](args.ctypes.data, lo, hi, scratch.address)
    scratch.check(f"scratch of {launch.symbol}")


def bound_dims(call: KernelCall, arrays: Sequence[Array]) -> dict[str, int]:
    """The values of the names in the operands' types, from the arrays' shapes."""
    values: dict[str, int] = {}
    for operand, array in zip(call.operands, arrays, strict=True):
        problem = match(operand.type.shape, array.shape, values)
        assert not problem, problem
    return values


class Memory:
    """A tensor between two margins. ``skew`` moves it off 64-byte alignment, as callers' arrays may lie."""

    def __init__(self, size: int, skew: int) -> None:
        self._bytes = np.full(size + skew + 2 * MARGIN + 64, UNWRITTEN, np.uint8)
        start = -self._bytes.ctypes.data % 64 + MARGIN + skew
        self._start, self._end = start, start + size
        self.address = self._bytes.ctypes.data + start
        self.array: Array = self._bytes[start : self._end]
        self.gaps = np.ones(size, np.uint8)  # 1 for bytes between elements, where strides leave some

    @staticmethod
    def of(array: Array, operand: Operand, values: Mapping[str, int]) -> Memory:
        memory = Memory.empty(operand, values)
        memory.array[...] = array
        return memory

    @staticmethod
    def empty(operand: Operand, values: Mapping[str, int]) -> Memory:
        shape, dtype = operand.type.bind(values), operand.type.dtype.numpy
        strides = [evaluate(s, values) for s in operand.strides or _row_major(shape)]
        extent = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if 0 not in shape else 0
        memory = Memory(extent * dtype.itemsize, dtype.itemsize)
        steps = [s * dtype.itemsize for s in strides]
        memory.array = np.ndarray(shape, dtype, memory.array, strides=steps)  # pyright: ignore[reportArgumentType]
        whole = f"V{dtype.itemsize}"
        np.ndarray(shape, whole, memory.gaps, strides=steps)[...] = np.zeros((), whole)
        return memory

    @staticmethod
    def aligned(array: Array) -> Memory:
        memory = Memory(array.nbytes, 0)
        memory.array = memory.array.view(array.dtype).reshape(array.shape)
        memory.array[...] = array
        memory.gaps[...] = 0
        return memory

    def check(self, what: str) -> None:
        between = self._bytes[self._start : self._end][self.gaps != 0]
        outside = np.concatenate([self._bytes[: self._start], between, self._bytes[self._end :]])
        assert (outside == UNWRITTEN).all(), f"{what} wrote outside its tensors"


def _row_major(shape: Sequence[int]) -> list[int]:
    strides = [1] * len(shape)
    for i in reversed(range(len(shape) - 1)):
        strides[i] = strides[i + 1] * shape[i + 1]
    return strides
