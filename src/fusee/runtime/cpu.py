"""The CPU as a device: native calls become tables of step records that a team of threads walks."""

from __future__ import annotations

import time
from collections.abc import MutableSequence, Sequence
from typing import cast

import numpy as np

from fusee.base.errors import EngineError
from fusee.base.types import Array
from fusee.engine import abi
from fusee.runtime.code import LoadedCode
from fusee.runtime.device import NativeCall
from fusee.runtime.memory import Memory, address_of, allocate
from fusee.runtime.team import Team

_WORD = 0xFFFFFFFFFFFFFFFF
ALONE_US = 40.0
"""Work that one thread has done before sleeping workers would have woken; they take 100 us and more."""
_FLOPS_PER_US, _BYTES_PER_US, _CALL_US = 20_000.0, 5_000.0, 0.5  # a slow core's, so that the estimate is a long one
_CALIBRATION_S = 0.005


class CpuSegment:
    """A table of step records followed by their arguments."""

    def __init__(self, calls: Sequence[NativeCall], code: LoadedCode, team: Team) -> None:
        self._team = team
        self._count = len(calls)
        self.is_alone = _takes_us(calls) <= ALONE_US
        self._starts: list[int] = []
        words = _records(calls, code, self._starts)
        self._table = np.array(words, np.uint64)
        self._address = address_of(self._table)
        self._table[abi.STEP_ARGS // 8 : self._count * abi.STEP_WORDS : abi.STEP_WORDS] += np.uint64(self._address)
        self.words = cast(MutableSequence[int], self._table.data)

    def first_word(self, call: int) -> int:
        return self._starts[call]

    def run(self) -> None:
        self._team.run(self._address, self._count, is_alone=self.is_alone)

    def run_timed(self) -> list[float]:
        threads = 1 if self.is_alone else self._team.threads
        stamps = np.zeros((self._count, threads, 2), np.int64)
        self._team.run(self._address, self._count, address_of(stamps), self.is_alone)
        ticks = stamps[:, :, 1].max(1) - stamps[:, :, 0].min(1)
        return [float(t) for t in ticks / _ticks_per_us(self._team)]


def _takes_us(calls: Sequence[NativeCall]) -> float:
    """About how long one thread needs for all of them."""
    return sum(_CALL_US + c.flops / _FLOPS_PER_US + c.traffic_bytes / _BYTES_PER_US for c in calls)


def _records(calls: Sequence[NativeCall], code: LoadedCode, starts: list[int]) -> list[int]:
    """Records, then arguments; the arguments' addresses still count from the table's start."""
    records: list[int] = []
    arguments: list[int] = []
    for i, call in enumerate(calls):
        at = len(calls) * abi.STEP_WORDS + len(arguments)
        starts.append(at)
        flags = abi.FLAG_WAITS if call.waits and i else 0  # all threads have just met when a run starts
        records += (code.addresses[call.symbol], at * 8, call.units, flags)
        arguments += [word & _WORD for word in call.words]
    return records + arguments


_measured_ticks: list[float] = []


def _ticks_per_us(team: Team) -> float:
    """The rate of the stamps' clock, measured once per process."""
    if not _measured_ticks:
        ticks, start = team.ticks(), time.perf_counter()
        time.sleep(_CALIBRATION_S)
        ticks, elapsed_s = team.ticks() - ticks, time.perf_counter() - start
        _measured_ticks.append(ticks / elapsed_s / 1e6)
    return _measured_ticks[0]


class CpuDevice:
    """Threads, scratch and memory of one session on the CPU."""

    def __init__(self, code: LoadedCode, threads: int) -> None:
        self._code = code
        self._team = Team(code, threads)
        self.threads = threads

    def allocate(self, size_bytes: int) -> Memory:
        return allocate(size_bytes)

    def segment(self, calls: Sequence[NativeCall], scratch_bytes: int) -> CpuSegment:
        for call in calls:
            if not 0 <= call.units < 1 << 40:
                raise EngineError(f"function {call.symbol} has {call.units} units of work; the sizes given are absurd")
        self._team.reserve_scratch(scratch_bytes)
        return CpuSegment(calls, self._code, self._team)

    def report(self) -> dict[str, int]:
        return {"scratch": self._team.scratch_bytes}

    def close(self) -> None:
        self._team.close()


def aligned_weights(data: Array, used_bytes: int) -> Memory:
    """The weights where kernels can use them: as they are when aligned and padded, else in a copy."""
    if data.size >= used_bytes + abi.PADDING_BYTES and address_of(data) % abi.ALIGNMENT_BYTES == 0:
        return Memory(data, address_of(data))
    copy = allocate(used_bytes)
    copy.array[:] = data[:used_bytes]
    return copy
