"""The byte layout of what a session hands to compiled code: ``kernels.cpu.dispatch`` reads it, ``runtime`` writes it.

Context: one block of ``CTX_BYTES``, 64-byte aligned. Words that threads write to while others watch them have a cache
line (64 bytes) of their own. Step records lie one after the other; each names a function
``void (ptr args, i64 lo, i64 hi, ptr scratch)``. Integers are little-endian.
"""

from __future__ import annotations

ABI_VERSION = 1

CTX_GO = 0  # i32: grows by one with every run; workers watch it, and sleep on it as a futex
CTX_SLEEPERS = 64  # i32: workers asleep
CTX_STOP = 128  # i32: not 0: workers return
CTX_ARRIVED = 192  # i64: arrivals at barriers since the start, of all threads together
CTX_TARGET = 256  # i64: arrivals that the last run ended with (thread 0's own)
CTX_STEPS = 320  # ptr: step records of this run
CTX_STEP_COUNT = 328  # i64
CTX_THREADS = 336  # i64: fixed for the life of the workers
CTX_SPIN = 344  # i64: pauses that a worker spends watching before it sleeps
CTX_SCRATCH = 352  # ptr: scratch of thread t starts at CTX_SCRATCH + t * CTX_SCRATCH_STRIDE
CTX_SCRATCH_STRIDE = 360  # i64: bytes
CTX_STAMPS = 368  # ptr: not 0: thread t writes its ticks around step i to words (i * threads + t) * 2 and the next
CTX_BYTES = 384

STEP_FUNCTION = 0  # ptr
STEP_ARGS = 8  # ptr to 64-bit words
STEP_UNITS = 16  # i64
STEP_FLAGS = 24  # i64
STEP_BYTES = 32
STEP_WORDS = STEP_BYTES // 8

FLAG_WAITS = 1  # all threads meet before the step

RUN = "fusee_run"  # void (ptr ctx): thread 0, one run
WORKER = "fusee_worker"  # void (ptr ctx, i64 thread): the other threads, for life
STOP = "fusee_stop"  # void (ptr ctx): makes the workers return
TICKS = "fusee_ticks"  # i64 (): the clock of the stamps
ENTRY_POINTS = (RUN, WORKER, STOP, TICKS)

ALIGNMENT_BYTES = 64  # of arena buffers, weights and scratch
PADDING_BYTES = 64  # readable past the end of every tensor that a kernel sees
PAGE_BYTES = 4096  # code ends and read-only data begins at a multiple of it


def align(size_bytes: int, alignment_bytes: int = ALIGNMENT_BYTES) -> int:
    """The size rounded up to a multiple of the alignment."""
    return -(-size_bytes // alignment_bytes) * alignment_bytes
