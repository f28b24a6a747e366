"""If, Loop and Scan: against the onnx evaluator; sizes that grow, captures, bodies that end by data, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import assert_same, check, expected, imported, model, node

from fusee.base.errors import ModelError, UnsupportedModel
from fusee.base.types import Array
from fusee.ir.graph import Graph
from fusee.ir.reference import run
from fusee.ops.control import If, Loop, Scan

X = np.arange(6, dtype=np.float32).reshape(2, 3)
TRUE, TRIPS = np.array(True), np.array(4)
STAY = node("Identity", ["go_on"], ["more"])


def body(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[str],
    outputs: Sequence[str],
    constants: dict[str, Array] | None = None,
    ranks: dict[str, tuple[int, ...]] | None = None,
) -> onnx.GraphProto:
    """A subgraph that declares as little as real exporters do."""
    kinds = {"step": TensorProto.INT64, "go_on": TensorProto.BOOL, "more": TensorProto.BOOL}
    declared = [
        helper.make_tensor_value_info(
            n, kinds.get(n, TensorProto.FLOAT), (ranks or {}).get(n, () if n in kinds else None)
        )
        for n in inputs
    ]
    weights = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    results = [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), None) for n in outputs]
    return helper.make_graph(list(nodes), "inside", declared, results, weights)


def op_names(graph: Graph) -> list[str]:
    return [type(n.op).__name__ for n in graph.nodes()]


def two_branches() -> onnx.NodeProto:
    then = body([node("Add", ["x", "a"], ["t"])], [], ["t"], {"a": np.ones(3, np.float32)})
    otherwise = body([node("Concat", ["x", "z"], ["e"], axis=0)], [], ["e"])
    return node("If", ["c"], ["y"], then_branch=then, else_branch=otherwise)


@pytest.mark.parametrize("taken", [True, False])
def test_if_at_run_time(taken: bool) -> None:
    inputs = {"c": np.array(taken), "x": X, "z": X[:1]}
    check(two_branches(), inputs, shapes={"x": ["N", 3], "z": ["M", 3]})
    check(two_branches(), {**inputs, "c": np.array([taken])}, shapes={"x": ["N", 3], "z": ["M", 3]}, opset=11)


def test_a_known_condition_leaves_one_branch() -> None:
    for taken in (True, False):
        graph = imported([two_branches()], {"x": X, "z": X}, constants={"c": np.array(taken)})
        assert If.__name__ not in op_names(graph)
        assert ("Add" in op_names(graph)) == taken


def test_a_condition_on_sizes_is_decided_when_they_are_known() -> None:
    nodes = [
        node("Shape", ["x"], ["shape"], start=0, end=1),
        node("Squeeze", ["shape", "zero"], ["n"]),
        node("Equal", ["n", "two"], ["c"]),
        two_branches(),
    ]
    constants = {"zero": np.array([0]), "two": np.array(2)}
    inputs = {"x": X, "z": X}
    assert "If" not in op_names(imported(nodes, inputs, constants=constants))
    graph = imported(nodes, inputs, constants=constants, shapes={"x": ["N", 3], "z": ["M", 3]})
    assert "If" in op_names(graph)
    np.testing.assert_array_equal(run(graph, inputs)["y"], X + 1)
    np.testing.assert_array_equal(run(graph, {"x": X[:1], "z": X})["y"], np.concatenate([X[:1], X]))


def test_if_names_the_sizes_on_which_branches_differ() -> None:
    graph = imported([two_branches()], {"c": TRUE, "x": X, "z": X}, shapes={"x": ["N", 3], "z": ["M", 3]})
    (result,) = graph.outputs
    assert result.type.shape[1] == 3
    assert result.op.defined_symbols() == result.type.symbols()


def test_a_conditional_squeeze_is_taken_to_squeeze() -> None:
    squeezed = body([node("Squeeze", ["x", "axis"], ["t"])], [], ["t"], {"axis": np.array([1])})
    kept = body([node("Identity", ["x"], ["e"])], [], ["e"])
    nodes = [
        node("Shape", ["x"], ["shape"], start=1, end=2),
        node("Equal", ["shape", "one"], ["c"]),
        node("If", ["c"], ["y"], then_branch=squeezed, else_branch=kept),
    ]
    graph = imported(nodes, {"x": X}, constants={"one": np.array([1])}, shapes={"x": ["N", "M"]})
    assert str(graph.outputs[0].type) == "f32[N]"
    np.testing.assert_array_equal(run(graph, {"x": X[:, :1]})["y"], X[:, 0])
    with pytest.raises(ValueError, match="cannot reshape"):
        run(graph, {"x": X})


def test_if_refuses_branches_of_different_rank() -> None:
    flat = body([node("Flatten", ["x"], ["t"], axis=0)], [], ["t"])
    deep = body([node("Unsqueeze", ["x", "axis"], ["e"])], [], ["e"], {"axis": np.array([0])})
    choice = node("If", ["c"], ["y"], "choice", then_branch=flat, else_branch=deep)
    with pytest.raises(UnsupportedModel, match=r"'choice'.*output 0 is f32\[1,6\] or f32\[1,2,3\]; both branches"):
        imported([choice], {"c": TRUE, "x": X})


def loop(inside: onnx.GraphProto, *carried: str, outputs: Sequence[str], trips: str = "m", go_on: str = "c") -> Any:
    return node("Loop", [trips, go_on, *carried], outputs, "again", body=inside)


def summing() -> onnx.GraphProto:
    """Adds a captured row to the carried value in every step, and collects the sums."""
    nodes = [node("Add", ["a", "row"], ["b"]), STAY]
    return body(nodes, ["step", "go_on", "a"], ["more", "b", "b"])


@pytest.mark.parametrize("opset", [8, 11, 16, 25])
@pytest.mark.parametrize("trips", [0, 1, 4])
def test_loop_sums(opset: int, trips: int) -> None:
    outputs = ("last", "all")
    inputs = {"m": np.array(trips), "c": TRUE, "x": X, "row": X[1]}
    shapes = {"x": ["N", 3], "row": [3]}
    found = run(imported([loop(summing(), "x", outputs=outputs)], inputs, outputs, opset=opset, shapes=shapes), inputs)
    np.testing.assert_array_equal(found["last"], X + trips * X[1])
    np.testing.assert_array_equal(
        found["all"], np.array([X + (i + 1) * X[1] for i in range(trips)]).reshape(trips, 2, 3)
    )


def test_a_loop_that_never_stops_early_has_its_trip_count_as_size() -> None:
    outputs = ("last", "all")
    inputs = {"x": X, "row": X[1]}
    graph = imported([loop(summing(), "x", outputs=outputs, go_on="")], inputs, outputs, constants={"m": TRIPS})
    assert [str(v.type) for v in graph.outputs] == ["f32[2,3]", "f32[4,2,3]"]
    assert graph.outputs[0].op.defined_symbols() == set()


def test_a_loop_may_end_by_data() -> None:
    """Doubles until the sum is above 100; there is no trip count."""
    nodes = [
        node("Add", ["a", "a"], ["b"]),
        node("ReduceSum", ["b"], ["sum"], keepdims=0),
        node("Less", ["sum", "limit"], ["more"]),
    ]
    inside = body(nodes, ["step", "go_on", "a"], ["more", "b", "sum"], {"limit": np.array(100, np.float32)})
    outputs = ("last", "sums")
    inputs = {"c": TRUE, "x": X}
    found = run(imported([loop(inside, "x", outputs=outputs, trips="")], inputs, outputs, opset=13), inputs)
    assert_same(found, {"last": X * 8, "sums": np.array([30, 60, 120], np.float32)})


def test_a_carried_value_may_grow() -> None:
    nodes = [
        node("Concat", ["a", "row"], ["b"], axis=0),
        node("Shape", ["b"], ["shape"]),
        node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
        STAY,
    ]
    inside = body(nodes, ["step", "go_on", "a"], ["more", "b", "sizes"])
    outputs = ("rows", "sizes")
    inputs = {"m": TRIPS, "c": TRUE, "x": X, "row": X[:1]}
    check(loop(inside, "x", outputs=outputs), inputs, outputs, shapes={"x": ["N", 3], "row": [1, 3]})
    graph = imported([loop(inside, "x", outputs=outputs)], inputs, outputs)
    (found,) = [n for n in graph.nodes() if isinstance(n.op, Loop)]
    assert found.types[0].shape[1] == 3
    assert found.types[0].symbols() | found.types[1].symbols() == found.op.defined_symbols()


def test_a_loop_uses_its_step_and_an_outer_constant() -> None:
    nodes = [
        node("Gather", ["x", "step"], ["entry"]),
        node("Mul", ["entry", "factor"], ["y"]),
        STAY,
    ]
    inside = body(nodes, ["step", "go_on"], ["more", "y"], ranks={"step": (1,), "go_on": (1,)})
    constants = {"factor": np.array(3, np.float32), "m": np.array([2])}
    graph = imported([loop(inside, outputs=["y"], go_on="")], {"x": X}, constants=constants)
    np.testing.assert_array_equal(run(graph, {"x": X})["y"], 3 * X[:, None])


def test_loops_nest() -> None:
    inner = body([node("Add", ["p", "x"], ["q"]), STAY], ["step", "go_on", "p"], ["more", "q"])
    outer = body(
        [node("Loop", ["m", "", "a"], ["b"], body=inner), STAY],
        ["step", "go_on", "a"],
        ["more", "b"],
    )
    inputs = {"m": np.array(3), "c": TRUE, "x": X}
    found = run(imported([loop(outer, "x", outputs=["y"])], inputs, shapes={"x": ["N", "M"]}), inputs)["y"]
    np.testing.assert_array_equal(found, X * 10)


def test_loop_says_what_does_not_fit() -> None:
    ranked = body([node("Flatten", ["a"], ["b"]), STAY], ["step", "go_on", "a"], ["more", "b"])
    inputs = {"m": TRIPS, "c": TRUE, "x": X[0]}
    with pytest.raises(UnsupportedModel, match=r"'again': carried value 0 is f32\[3\] before and f32\[3,1\] after"):
        imported([loop(ranked, "x", outputs=["y"])], inputs)
    with pytest.raises(ModelError, match="3 inputs and 2 outputs for 2 carried values; expected 4"):
        imported([loop(ranked, "x", "x", outputs=["y", "z"])], inputs, ("y", "z"))


def test_what_a_body_cannot_do_is_reported_with_the_rest() -> None:
    strange = body([node("Strange", ["a"], ["b"]), STAY], ["step", "go_on", "a"], ["more", "b"])
    with pytest.raises(UnsupportedModel) as caught:
        imported([node("Other", ["x"], ["z"]), loop(strange, "x", outputs=["y"])], {"m": TRIPS, "c": TRUE, "x": X})
    assert "Strange" in str(caught.value)
    assert "Other" in str(caught.value)


def running_sum() -> onnx.GraphProto:
    return body([node("Add", ["state", "entry"], ["sum"])], ["state", "entry"], ["sum", "sum"])


@pytest.mark.parametrize(("axis", "out_axis"), [(0, 0), (1, 0), (1, 1), (-1, -1)])
@pytest.mark.parametrize("direction", [0, 1])
def test_scan(axis: int, out_axis: int, direction: int) -> None:
    attributes = {
        "num_scan_inputs": 1,
        "scan_input_axes": [axis],
        "scan_output_axes": [out_axis],
        "scan_input_directions": [direction],
        "scan_output_directions": [direction],
    }
    scan = node("Scan", ["s", "x"], ["last", "all"], body=running_sum(), **attributes)
    inputs = {"s": np.ones(2 if axis else 3, np.float32), "x": X}
    for shapes in ({}, {"x": ["N", "M"], "s": ["M" if axis == 0 else "N"]}):
        found = run(imported([scan], inputs, ("last", "all"), shapes=shapes), inputs)
        rows = np.flip(X, axis) if direction else X
        sums = np.cumsum(np.moveaxis(rows, axis, 0), axis=0) + 1
        np.testing.assert_array_equal(found["last"], sums[-1])
        np.testing.assert_array_equal(np.moveaxis(found["all"], out_axis, 0), sums[::-1] if direction else sums)


def test_scan_against_the_evaluator() -> None:
    scan = node("Scan", ["s", "x"], ["last", "all"], body=running_sum(), num_scan_inputs=1)
    inputs = {"s": np.zeros(3, np.float32), "x": X}
    check(scan, inputs, ("last", "all"), opset=11, shapes={"s": [3], "x": ["T", 3]})
    proto = model([scan], inputs, ("last", "all"), opset=9)
    assert_same(run(imported([scan], inputs, ("last", "all"), opset=9), inputs), expected(proto, inputs))


def test_scan_of_opset_8_has_a_batch() -> None:
    scan = node("Scan", ["", "s", "x"], ["last", "all"], body=running_sum(), num_scan_inputs=1)
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    inputs = {"s": np.zeros((2, 3), np.float32), "x": x}
    graph = imported([scan], inputs, ("last", "all"), opset=8, shapes={"s": ["B", 3], "x": ["B", "T", 3]})
    assert [str(v.type) for v in graph.outputs] == ["f32[B,3]", "f32[B,T,3]"]
    assert sum(isinstance(n.op, Scan) for n in graph.nodes()) == 1
    found = run(graph, inputs)
    np.testing.assert_array_equal(found["all"], np.cumsum(x, axis=1))
    np.testing.assert_array_equal(found["last"], x.sum(axis=1))
    with_lengths = node("Scan", ["n", "s", "x"], ["last", "all"], body=running_sum(), num_scan_inputs=1)
    with pytest.raises(UnsupportedModel, match="sequence_lens"):
        imported([with_lengths], {"n": np.array([4, 2]), **inputs}, ("last", "all"), opset=8)
