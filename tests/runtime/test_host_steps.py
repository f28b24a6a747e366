"""Steps on the host between native ones, and sizes that only they can tell."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.dims import sym
from fusee.base.errors import EngineError, RequestError
from fusee.base.types import Array, TensorType
from fusee.engine.encode import attribute_values
from fusee.engine.plan import Buffer, HostStep, Plan, PlanInput, PlanOutput, Ref, Space, TensorRef
from runtime.small_engines import N, at, call, engine, f32

COUNT, ROWS = sym("count"), sym("rows")


def tensor(space: Space, index: int, kind: TensorType) -> TensorRef:
    return TensorRef(Ref(space, index), kind)


def compress_plan() -> Plan:
    """y = the elements of x + x where mask holds, reversed; both sums and the reversal are native."""
    twice, kept = tensor(Space.ARENA, 0, f32(N)), tensor(Space.ARENA, 1, f32(COUNT))
    mask = tensor(Space.INPUT, 1, TensorType.parse("bool[N]"))
    attributes = attribute_values({"axis": None, "count": COUNT})
    steps = (
        call("add", (at(Space.INPUT), at(Space.INPUT), at(Space.ARENA, 0)), N),
        HostStep("compress", attributes, (twice, mask), (kept,), ("/c",), "compress", defines=("count",)),
        call("reverse", (at(Space.ARENA, 1), at(Space.OUTPUT)), COUNT, COUNT),
    )
    return Plan(
        "compress",
        (PlanInput("x", f32(N)), PlanInput("mask", TensorType.parse("bool[N]"))),
        (PlanOutput("y", f32(COUNT)),),
        steps,
        (Buffer(N * 4, 0, 1), Buffer(COUNT * 4, 1, 2, phase=1)),
        arena_bytes=(None, None),
    )


def compressed(x: Array, mask: Array) -> Array:
    return (2 * x)[mask][::-1]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_result_whose_size_depends_on_data(threads: int):
    rng = np.random.default_rng(5)
    with engine(compress_plan()).session(threads) as session:
        for n in (10, 500, 10, 0, 31):
            x, mask = rng.standard_normal(n).astype(np.float32), rng.random(n) < 0.4
            np.testing.assert_array_equal(session.run({"x": x, "mask": mask})["y"], compressed(x, mask))


def test_a_result_of_unknown_size_into_the_callers_array():
    x, mask = np.arange(4, dtype=np.float32), np.array([True, False, True, False])
    with engine(compress_plan()).session(1) as session:
        out = np.zeros(2, np.float32)
        session.run_into({"x": x, "mask": mask}, {"y": out})
        np.testing.assert_array_equal(out, [4, 0])
        with pytest.raises(RequestError, match=r"output 'y' has shape \[2\] .*, but the array given for it has \[3\]"):
            session.run_into({"x": x, "mask": mask}, {"y": np.zeros(3, np.float32)})


def bind_plan() -> Plan:
    """y = the first ``rows`` elements of x, reversed, where rows is the only element of n + n."""
    size = TensorType.parse("i64[1]")
    x, n = PlanInput("x", f32(N)), PlanInput("n", size)
    bound = HostStep(
        "bind",
        {"names": ["rows"]},
        (tensor(Space.INPUT, 1, size),),
        (tensor(Space.ARENA, 0, size),),
        ("/b",),
        "bind",
        elements=("rows",),
    )
    last = call("reverse", (at(Space.INPUT), at(Space.OUTPUT)), ROWS, ROWS)
    return Plan("bind", (x, n), (PlanOutput("y", f32(ROWS)),), (bound, last), (Buffer(8, 0, 0, 0, 0),), (), (), (128,))


def test_sizes_from_the_elements_of_a_tensor():
    x = np.arange(10, dtype=np.float32)
    with engine(bind_plan()).session(2) as session:
        for rows in (3, 10, 0, 3):
            result = session.run({"x": x, "n": np.array([rows])})["y"]
            np.testing.assert_array_equal(result, x[:rows][::-1])
        with pytest.raises(RequestError, match="bind: the size rows came out as -1; the inputs ask for the impossible"):
            session.run({"x": x, "n": np.array([-1])})


def test_attributes_hold_sizes():
    steps = (
        HostStep(
            "random_uniform",
            attribute_values({"shape": (N, 2), "low": 1.0, "high": 2.0, "seed": 7, "dtype": "f32"}),
            (),
            (tensor(Space.OUTPUT, 0, f32(N, 2)),),
            ("/r",),
            "random_uniform",
        ),
    )
    plan = Plan("random", (PlanInput("x", f32(N)),), (PlanOutput("y", f32(N, 2)),), steps, ())
    with engine(plan).session(1) as session:
        result = session.run({"x": np.zeros(5, np.float32)})["y"]
    assert result.shape == (5, 2)
    assert 1 <= result.min() < result.max() <= 2


def test_a_function_that_is_not_there():
    step = HostStep("teleport", {}, (), (), (), "teleport")
    with engine(Plan("p", (), (), (step,), ())).session(1) as session, pytest.raises(EngineError) as caught:
        session.run({})
    assert str(caught.value).startswith("step teleport needs the host function 'teleport'; this Fusee has ")


def test_values_that_numpy_refuses():
    operands = (tensor(Space.INPUT, 0, f32(N)), tensor(Space.INPUT, 1, TensorType.parse("bool[M]")))
    step = HostStep(
        "compress", {"axis": 0}, operands, (tensor(Space.OUTPUT, 0, f32(COUNT)),), ("/c",), "compress", ("count",)
    )
    inputs = (PlanInput("x", f32(N)), PlanInput("mask", TensorType.parse("bool[M]")))
    plan = Plan("p", inputs, (PlanOutput("y", f32(COUNT)),), (step,), ())
    with engine(plan).session(1) as session, pytest.raises(RequestError) as caught:
        session.run({"x": np.zeros(2, np.float32), "mask": np.ones(3, np.bool_)})
    expected = "compress (from /c) cannot be computed on float32[2], bool[3]: index 2 is out of bounds"
    assert str(caught.value).startswith(expected)
