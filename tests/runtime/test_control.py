"""If, Loop and Scan over sub-plans, with sizes that change from one iteration to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusee.base.dims import Dim, sym
from fusee.base.errors import EngineError, RequestError
from fusee.base.types import TensorType
from fusee.engine.plan import CallStep, HostStep, KernelStep, Plan, PlanInput, PlanOutput, Ref, Space, TensorRef
from runtime.small_engines import N, at, call, engine, f32

BOOL, I64 = TensorType.parse("bool[]"), TensorType.parse("i64[]")
M, R, T = sym("M"), sym("R"), sym("T")
BIG = np.iinfo(np.int64).max


def put(space: Space, index: int, kind: TensorType) -> TensorRef:
    return TensorRef(Ref(space, index), kind)


def copy(source: int, target: int, kind: TensorType) -> HostStep:
    """The identity on the host, from an input to an output."""
    return HostStep("bind", {}, (put(Space.INPUT, source, kind),), (put(Space.OUTPUT, target, kind),), (), "copy")


def control(
    kind: str,
    plans: tuple[Plan, ...],
    inputs: tuple[TensorType, ...],
    results: tuple[TensorType, ...],
    **attributes: Any,
) -> Plan:
    """A plan of one control step: its operands are the inputs, its results the outputs."""
    attributes, defines = {k: v for k, v in attributes.items() if k != "defines"}, attributes.get("defines", ())
    operands = tuple(put(Space.INPUT, i, t) for i, t in enumerate(inputs))
    step = CallStep(
        kind,
        plans,
        attributes,
        operands,
        tuple(put(Space.OUTPUT, i, t) for i, t in enumerate(results)),
        ("/c",),
        kind,
        defines,
    )
    return Plan(
        kind,
        tuple(PlanInput(f"i{i}", t) for i, t in enumerate(inputs)),
        tuple(PlanOutput(f"o{i}", t) for i, t in enumerate(results)),
        (step,),
        (),
    )


def body(inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...], *steps: KernelStep | HostStep) -> Plan:
    return Plan(
        "body",
        tuple(PlanInput(f"x{i}", t) for i, t in enumerate(inputs)),
        tuple(PlanOutput(f"y{i}", t) for i, t in enumerate(outputs)),
        steps,
        (),
    )


def arguments(*values: Any) -> dict[str, Any]:
    return {f"i{i}": np.asarray(v) for i, v in enumerate(values)}


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_if_runs_the_branch_of_its_condition(threads: int):
    reverse = body((f32(N),), (f32(N),), call("reverse", (at(Space.INPUT), at(Space.OUTPUT)), N, N))
    # The name N is the outer plan's: its value comes from there, not from the branch's inputs.
    rows: Dim = 2 * N
    repeat = body((f32(N),), (f32(rows),), *_twice())
    plan = control("if", (reverse, repeat), (BOOL, f32(N)), (f32(R),), defines=("R",))
    with engine(plan).session(threads) as session:
        for _ in range(3):
            result = session.run(arguments(True, floats(1, 2, 3)))["o0"]
            np.testing.assert_array_equal(result, [3, 2, 1])
            result = session.run(arguments(False, floats(1, 2, 3)))["o0"]
            np.testing.assert_array_equal(result, [1, 2, 3, 3, 2, 1])


def _twice() -> tuple[KernelStep, ...]:
    """y = x, then x reversed: two reversals, the first of the reversed into the second half."""
    first, second = Ref(Space.OUTPUT, 0, N * 4), Ref(Space.OUTPUT, 0)
    return (
        call("reverse", (at(Space.INPUT), first), N, N),
        call("reverse", (first, second), N, N),
    )


def growing_loop() -> Plan:
    """carried = carried reversed and once more before it; collects a captured row; goes on while the input says so."""
    inputs = (I64, BOOL, f32(M), f32(N))
    grow = (
        call("reverse", (at(Space.INPUT, 2), Ref(Space.OUTPUT, 1, M * 4)), M, M),
        call("reverse", (Ref(Space.OUTPUT, 1, M * 4), Ref(Space.OUTPUT, 1)), M, M),
        call("add", (at(Space.INPUT, 3), at(Space.INPUT, 3), at(Space.OUTPUT, 2)), N),
        copy(1, 0, BOOL),
    )
    inner = body(inputs, (BOOL, f32(2 * M), f32(N)), *grow)
    types = (f32(R), f32(T, N))
    return control("loop", (inner,), (I64, BOOL, f32(sym("L")), f32(N)), types, carried=1, defines=("R", "T"))


@pytest.mark.parametrize("trips", [0, 1, 3])
def test_loop_carries_growing_values_and_collects(trips: int):
    row = floats(5, 6)
    expected = floats(1, 2)
    for _ in range(trips):
        expected = np.concatenate([expected, expected[::-1]])
    with engine(growing_loop()).session(2) as session:
        result = session.run(arguments(np.int64(trips), True, floats(1, 2), row))
    np.testing.assert_array_equal(result["o0"], expected)
    np.testing.assert_array_equal(result["o1"], np.tile(2 * row, (trips, 1)))


def test_loop_that_must_not_begin():
    with engine(growing_loop()).session(1) as session:
        result = session.run(arguments(np.int64(BIG), False, floats(1, 2), floats(5)))
    np.testing.assert_array_equal(result["o0"], [1, 2])
    assert result["o1"].shape == (0, 1)


def scan_plan(input_reversed: bool, output_axis: int) -> Plan:
    """state = state + slice; collects the state; slices along axis 1 of [3, T]."""
    add = call("add", (at(Space.INPUT, 0), at(Space.INPUT, 1), at(Space.OUTPUT, 0)), 3)
    again = call("add", (at(Space.INPUT, 0), at(Space.INPUT, 1), at(Space.OUTPUT, 1)), 3)
    inner = body((f32(3), f32(3)), (f32(3), f32(3)), add, again)
    rows = f32(3, T) if output_axis else f32(T, 3)
    return control(
        "scan",
        (inner,),
        (f32(3), f32(3, T)),
        (f32(3), rows),
        states=1,
        input_axes=[1],
        input_reverse=[input_reversed],
        output_axes=[output_axis],
        output_reverse=[False],
    )


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_scan_sums_up(backwards: bool, axis: int):
    start, sequence = floats(1, 2, 3), np.arange(12, dtype=np.float32).reshape(3, 4)
    cut = sequence[:, ::-1] if backwards else sequence
    sums = start[:, None] + np.cumsum(cut, axis=1)
    with engine(scan_plan(backwards, axis)).session(1) as session:
        result = session.run(arguments(start, sequence))
    np.testing.assert_array_equal(result["o0"], sums[:, -1])
    np.testing.assert_array_equal(result["o1"], sums if axis else sums.T)


def test_scan_over_nothing():
    with engine(scan_plan(False, 0)).session(1) as session:
        result = session.run(arguments(floats(1, 2, 3), np.zeros((3, 0), np.float32)))
    np.testing.assert_array_equal(result["o0"], [1, 2, 3])
    assert result["o1"].shape == (0, 3)


def test_collected_values_of_different_shapes_are_refused():
    inputs = (I64, BOOL, f32(M))
    steps = (
        *(call("reverse", (at(Space.INPUT, 2), Ref(Space.OUTPUT, o, M * 4)), M, M) for o in (1, 2)),
        *(call("reverse", (at(Space.INPUT, 2), Ref(Space.OUTPUT, o)), M, M) for o in (1, 2)),
        copy(1, 0, BOOL),
    )
    inner = body(inputs, (BOOL, f32(2 * M), f32(2 * M)), *steps)
    plan = control(
        "loop", (inner,), (I64, BOOL, f32(N)), (f32(R), f32(T, sym("W"))), carried=1, defines=("R", "T", "W")
    )
    with engine(plan).session(1) as session, pytest.raises(RequestError) as caught:
        session.run(arguments(np.int64(2), True, floats(1)))
    expected = "loop: iterations gave shapes [(2,), (4,)]; collected values must have one shape"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("while", "step while is control flow of kind 'while'; this Fusee has if, loop, scan"),
        ("loop", "step loop: loop takes 1 plans and attributes carried"),
    ],
)
def test_control_flow_that_this_fusee_does_not_know(kind: str, message: str):
    with engine(control(kind, (), (), ())).session(1) as session, pytest.raises(EngineError) as caught:
        session.run({})
    assert str(caught.value) == message
