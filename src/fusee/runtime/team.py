"""Threads that run native steps together: workers make one foreign call for life (``kernels.cpu.dispatch``)."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Any

from fusee.base.errors import DeviceError, RequestError
from fusee.engine import abi
from fusee.runtime.code import LoadedCode
from fusee.runtime.memory import Memory, allocate

SPIN_PAUSES = 4000  # a worker watches for its next run about 60 to 200 us, then sleeps
MAX_THREADS = 1024
_ADDRESS = ctypes.c_void_p


class _Context:
    """A context that compiled code reads, for a number of threads."""

    def __init__(self, threads: int) -> None:
        self.memory = allocate(abi.CTX_BYTES)
        self.address = _ADDRESS(self.memory.address)
        self.words: Any = self.memory.array.view("u8").data
        self.words[abi.CTX_THREADS // 8] = threads
        self.words[abi.CTX_SPIN // 8] = SPIN_PAUSES


class Team:
    """One caller's thread and ``threads - 1`` workers. One run at a time; the caller keeps order."""

    def __init__(self, code: LoadedCode, threads: int) -> None:
        self.threads = threads
        self._code = code
        self._pid = os.getpid()
        self._together = _Context(threads)
        self._alone = _Context(1)  # that of runs which leave the workers asleep
        self._run = ctypes.CFUNCTYPE(None, _ADDRESS)(code.addresses[abi.RUN])
        self.ticks = ctypes.CFUNCTYPE(ctypes.c_int64)(code.addresses[abi.TICKS])
        self._scratches: list[Memory] = []
        workers: list[threading.Thread] = []
        self._end = weakref.finalize(self, _stop, code, self._together.memory, workers, self._pid)
        self._start(workers)

    def _start(self, workers: list[threading.Thread]) -> None:
        enter = ctypes.CFUNCTYPE(None, _ADDRESS, ctypes.c_int64)(self._code.addresses[abi.WORKER])
        for i in range(1, self.threads):
            # The thread holds what it touches, and not the team: a forgotten team is collected and stops it.
            keeps = (self._code, self._together.memory)
            worker = threading.Thread(target=_work, args=(enter, i, keeps), name=f"fusee-{i}", daemon=True)
            try:
                worker.start()
            except RuntimeError as err:
                self.close()
                raise DeviceError(f"cannot start thread {i + 1} of {self.threads}: {err}; use fewer threads") from None
            workers.append(worker)

    def reserve_scratch(self, size_bytes: int) -> None:
        """Give each thread at least that much scratch. Not while a run is under way."""
        stride = abi.align(size_bytes + abi.PADDING_BYTES, 2 * abi.ALIGNMENT_BYTES)
        if self._together.words[abi.CTX_SCRATCH_STRIDE // 8] >= stride:
            return
        # The old memory goes only when nothing points to it, whatever interrupts these lines.
        self._scratches.append(allocate(stride * self.threads))
        for context in (self._together, self._alone):
            context.words[abi.CTX_SCRATCH // 8] = self._scratches[-1].address
            context.words[abi.CTX_SCRATCH_STRIDE // 8] = stride
        del self._scratches[:-1]

    @property
    def scratch_bytes(self) -> int:
        return sum(s.size_bytes for s in self._scratches)

    def run(self, table: int, steps: int, stamps: int = 0, is_alone: bool = False) -> None:
        """Run a table of step records, all threads together or the caller's alone.

        ``stamps`` is the address of memory for times, or 0.
        """
        if self._pid != os.getpid():
            raise RequestError(
                "this session was made before the process forked, and its threads did not come along; "
                "make a new session in the child process"
            )
        if not self._end.alive:
            raise RequestError("this session is closed; make a new one with engine.session()")
        context = self._alone if is_alone else self._together
        words = context.words
        words[abi.CTX_STEPS // 8] = table
        words[abi.CTX_STEP_COUNT // 8] = steps
        words[abi.CTX_STAMPS // 8] = stamps
        self._run(context.address)

    def close(self) -> None:
        """Stop the workers and wait for their end; again is harmless."""
        self._end()


def _work(enter: Any, thread: int, keeps: tuple[LoadedCode, Memory]) -> None:
    enter(keeps[1].address, thread)


def _stop(code: LoadedCode, context: Memory, workers: list[threading.Thread], pid: int) -> None:
    if pid != os.getpid():
        return
    ctypes.CFUNCTYPE(None, _ADDRESS)(code.addresses[abi.STOP])(context.address)
    for worker in workers:
        worker.join()
