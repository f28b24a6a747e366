"""A session allocates when it meets new sizes, and not again."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from fusee.base.dims import sym
from fusee.base.errors import DeviceError, RequestError
from fusee.base.types import Array, TensorType
from fusee.engine.plan import Buffer, Dims, Plan, PlanInput, PlanOutput, Ref, Space, TensorRef
from fusee.runtime.bind import MAX_KEPT
from fusee.runtime.memory import HUGE_PAGE_BYTES, allocate
from runtime.small_engines import N, add_plan, at, call, chain_plan, engine, f32, linear_expected, linear_plan, weights


def x(n: int) -> Array:
    return np.full((n, 5), n, np.float32)


def test_the_arena_grows_to_the_largest_and_stays():
    with engine(linear_plan(), weights()).session(1) as session:
        session.run({"x": x(10)})
        small = session.memory_report()["arena"]
        session.run({"x": x(1000)})
        large = session.memory_report()["arena"]
        assert small < large
        for n in (10, 1000, 999, 3):
            np.testing.assert_allclose(session.run({"x": x(n)})["y"], linear_expected(x(n), weights()), rtol=1e-5)
        assert session.memory_report()["arena"] == large


def test_a_run_allocates_only_its_results():
    with engine(chain_plan(100_000, 4)).session(1) as session:
        given, out = {"x": np.zeros(100_000, np.float32)}, {"y": np.zeros(100_000, np.float32)}
        session.run_into(given, out)
        assert _peak_bytes(lambda: session.run_into(given, out)) < 4_000
        assert _peak_bytes(lambda: session.run(given)) < 400_000 + 8_000


def _peak_bytes(run: Any) -> int:
    tracemalloc.start()
    try:
        run()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_shapes_seen_long_ago_are_forgotten():
    with engine(linear_plan(), weights()).session(1) as session:
        for n in range(MAX_KEPT + 20, 0, -1):
            session.run({"x": x(n)})
        kept = session._runner._binder._kept  # pyright: ignore[reportPrivateUsage]
        assert len(kept) == MAX_KEPT
        np.testing.assert_allclose(session.run({"x": x(70)})["y"], linear_expected(x(70), weights()), rtol=1e-5)


def test_sizes_that_grow_step_by_step_seldom_move_the_arena():
    with engine(linear_plan(), weights()).session(1) as session:
        arenas: set[int] = set()
        for n in range(1, 200):
            session.run({"x": x(n)})
            arenas.add(session.memory_report()["arena"])
        assert len(arenas) < 30


def test_results_do_not_share_memory_with_later_results():
    with engine(linear_plan(), weights()).session(1) as session:
        first = session.run({"x": x(3)})["y"]
        copy = first.copy()
        session.run({"x": x(3) + 1})
        np.testing.assert_array_equal(first, copy)


def test_large_memory_is_aligned_to_large_pages():
    memory = allocate(HUGE_PAGE_BYTES + 1)
    assert memory.address % HUGE_PAGE_BYTES == 0
    assert memory.size_bytes == HUGE_PAGE_BYTES + 1
    memory.array[-1] = 1


def test_memory_that_is_not_there():
    with pytest.raises(DeviceError, match=r"no memory: .* bytes are needed .*; use a smaller batch or fewer sessions"):
        allocate(1 << 60)


def test_impossible_sizes_are_the_callers():
    plan = Plan(
        "huge",
        (PlanInput("x", f32(N)),),
        (PlanOutput("y", f32(N)),),
        (call("reverse", (at(Space.INPUT), at(Space.OUTPUT)), N, N),),
        (Buffer(N * N * 10**15, 0, 0),),
    )
    with engine(plan).session(1) as session, pytest.raises(RequestError) as caught:
        session.run({"x": np.zeros(10, np.float32)})
    expected = "bytes; the inputs' sizes ask for the impossible"
    assert str(caught.value).startswith("a tensor would take 1000000000000000*N*N = 100,000,000,000,000,000")
    assert str(caught.value).endswith(expected)


def test_sizes_from_the_elements_of_an_input():
    rows, columns = sym("shape__v0"), sym("shape__v1")
    plan = Plan(
        "sized",
        (PlanInput("x", f32(N)), PlanInput("shape", TensorType.parse("i64[2]"), ("shape__v0", "shape__v1"))),
        (PlanOutput("y", f32(rows, columns)), PlanOutput("size", TensorType.parse("i64[2]"))),
        (call("reverse", (at(Space.INPUT), at(Space.OUTPUT)), N, N),),
        (),
        (Dims(TensorRef(Ref(Space.OUTPUT, 1), TensorType.parse("i64[2]")), (rows * 10, columns)),),
        ((rows * columns, N),),
    )
    given = np.arange(6, dtype=np.float32)
    with engine(plan).session(2) as session:
        for shape in ((2, 3), (3, 2), (2, 3)):
            result = session.run({"x": given, "shape": np.array(shape)})
            np.testing.assert_array_equal(result["y"], given[::-1].reshape(shape))
            np.testing.assert_array_equal(result["size"], [shape[0] * 10, shape[1]])
        with pytest.raises(RequestError, match=r"the model needs shape__v0\*shape__v1 and N to be equal"):
            session.run({"x": given, "shape": np.array([2, 2])})
        with pytest.raises(RequestError, match=r"y would have shape \[-2, -3\]|ask for the impossible"):
            session.run({"x": given, "shape": np.array([-2, -3])})


def test_a_tensor_of_sizes_in_the_arena_survives_other_shapes():
    dims = TensorType.parse("f32[3]")
    plan = Plan(
        "dims",
        (PlanInput("x", f32(N)),),
        (PlanOutput("y", dims),),
        (call("reverse", (at(Space.ARENA), at(Space.OUTPUT)), 3, 3),),
        (Buffer(N * 12, 0, 0),),
        (Dims(TensorRef(Ref(Space.ARENA, 0), dims), (N, N * 2, N * N)),),
    )
    with engine(plan).session(2) as session:
        for n in (2, 30, 2, 5, 30):
            result = session.run({"x": np.zeros(n, np.float32)})["y"]
            np.testing.assert_array_equal(result, [n * n, 2 * n, n])


def test_the_report_names_what_is_held():
    with engine(add_plan()).session(2) as session:
        zeros = np.zeros(1000, np.float32)
        session.run({"a": zeros, "b": zeros})
        assert session.memory_report() == {"arena": 64, "scratch": 256, "weights": 0}
