from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from fusee.build import build
from fusee.runtime.profile import StepTime
from fusee.verification.watch import show_sources, show_steps, step_line


def test_a_step_shows_its_kernel_time_and_rates() -> None:
    step = StepTime("conv", "TiledConv(pixels=14)", ("/a/conv",), 2.0, flops=4000, traffic_bytes=8000)
    assert step_line(3, step) == "   3 conv  TiledConv(pixels=14)  2.0 us  2.0 GFLOP/s  4.0 GB/s  <- /a/conv"


@pytest.mark.parametrize(("level", "steps", "sources"), [("1", False, False), ("2", True, False), ("4", True, True)])
def test_each_level_shows_one_layer_more(
    level: str, steps: bool, sources: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "ramp")], "g", [x], [y])
    engine = build(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    monkeypatch.setenv("FUSEE_DEBUG", level)
    with engine:
        show_steps(engine, {"x": np.ones(4, np.float32)})
    show_sources({"k0_relu": "define void @k0_relu() {}"})
    said = capsys.readouterr().err
    assert ("<- ramp" in said) is steps
    assert ("define void @k0_relu" in said) is sources
