"""What compiled code may rely on when the dispatcher calls it."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import pytest

from fusee.base.types import TensorType
from fusee.engine.plan import Buffer, Plan, PlanInput, PlanOutput, Space
from fusee.runtime.code import load_code
from fusee.runtime.memory import address_of
from runtime.small_engines import at, call, code, engine, f32

DEFAULT_MXCSR = 0x1F80
FLUSH_TO_ZERO = 0x8000
# stmxcsr [rdi]; ret and ldmxcsr [rdi]; ret
STORE, LOAD = bytes([0x0F, 0xAE, 0x1F, 0xC3]), bytes([0x0F, 0xAE, 0x17, 0xC3])


class FloatState:
    """The calling thread's MXCSR."""

    def __init__(self) -> None:
        self._code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._code.write(STORE + LOAD)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        kind = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))
        self._store, self._load = kind(base), kind(base + len(STORE))

    def get(self) -> int:
        value = ctypes.c_uint32()
        self._store(ctypes.byref(value))
        return value.value

    def set(self, value: int) -> None:
        self._load(ctypes.byref(ctypes.c_uint32(value)))


def test_kernels_see_the_default_float_state_and_callers_keep_theirs():
    plan = Plan(
        "mxcsr",
        (),
        (PlanOutput("state", TensorType.parse("u32[]")),),
        (call("mxcsr", (at(Space.OUTPUT),), 1),),
        (),
    )
    state = FloatState()
    before = state.get()
    with engine(plan).session(1) as session:
        state.set(DEFAULT_MXCSR | FLUSH_TO_ZERO)
        try:
            seen = int(session.run({})["state"])
            after = state.get()
        finally:
            state.set(before)
    assert seen == DEFAULT_MXCSR
    assert after & ~0x3F == DEFAULT_MXCSR | FLUSH_TO_ZERO


def test_code_is_never_writable():
    loaded = load_code(code())
    start = address_of(np.frombuffer(loaded.mapped, np.uint8))
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps]
    ranges = [(*[int(end, 16) for end in line[0].split("-")], line[1]) for line in lines]
    rights = [rights for low, high, rights in ranges if low < start + len(loaded.mapped) and high > start]
    assert rights[0] == "r-xp"
    assert all("w" not in r for r in rights)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_every_unit_of_work_is_done_once(threads: int):
    """c = a + b in place over c: a unit done twice, or left out, would show."""
    for size in (0, 1, 2, 6, 1000):
        zero, total = at(Space.INPUT), at(Space.OUTPUT)
        steps = (
            call("reverse", (zero, at(Space.ARENA)), size, size),
            call("reverse", (zero, total), size, size, waits=False),
            *(call("add", (at(Space.ARENA), total, total), size) for _ in range(5)),
        )
        plan = Plan(
            "sum",
            (PlanInput("x", f32(size)),),
            (PlanOutput("y", f32(size)),),
            steps,
            (Buffer(size * 4, 0, 9),),
        )
        with engine(plan).session(threads) as session:
            result = session.run({"x": np.ones(size, np.float32)})["y"]
        np.testing.assert_array_equal(result, np.full(size, 6, np.float32))
