"""Small runs are over before a sleeping worker would have woken: they leave the workers asleep."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import fusee
from fusee.runtime.cpu import CpuSegment


@pytest.fixture(scope="module")
def engine():
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("ReduceSum", ["square"], ["y"], keepdims=0)],
        "squares",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N",))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ())],
    )
    with fusee.build(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])) as built:
        yield built


def _teams(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each segment that runs from now on runs alone."""
    seen: list[bool] = []
    run = CpuSegment.run

    def watched(self: CpuSegment) -> None:
        seen.append(self.is_alone)
        run(self)

    monkeypatch.setattr(CpuSegment, "run", watched)
    return seen


@pytest.mark.runs_alone
@pytest.mark.parametrize(("size", "is_alone"), [(8, True), (4_000_000, False)])
def test_size_decides(engine: fusee.Engine, monkeypatch: pytest.MonkeyPatch, size: int, is_alone: bool):
    seen = _teams(monkeypatch)
    x = np.arange(size, dtype=np.float32) % 7
    with engine.session(threads=2) as session:
        for _ in range(3):  # both ways in turn, in one session: they share scratch and nothing else
            small = session.run({"x": x[:8]})["y"]
            found = session.run({"x": x})["y"]
            assert small == (x[:8] ** 2).sum()
            np.testing.assert_allclose(found, (x.astype(np.float64) ** 2).sum(), rtol=1e-5)
    assert set(seen[1::2]) == {is_alone}
    assert set(seen[::2]) == {True}


def test_tests_wake_the_workers(engine: fusee.Engine, monkeypatch: pytest.MonkeyPatch):
    seen = _teams(monkeypatch)
    with engine.session(threads=2) as session:
        session.run({"x": np.ones(8, np.float32)})
        assert len(session.profile({"x": np.ones(8, np.float32)}, 1)) >= 1
    assert set(seen) == {False}


@pytest.mark.runs_alone
def test_a_small_run_is_profiled(engine: fusee.Engine):
    with engine.session(threads=2) as session:
        assert all(step.time_us > 0 for step in session.profile({"x": np.ones(8, np.float32)}))
