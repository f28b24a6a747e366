from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fusee.base.errors import EngineError, ModelError
from fusee.base.target import detect_cpu
from fusee.build import BuildOptions, build, build_artifact
from fusee.engine.file import save
from fusee.engine.load import load


def model(rows: int = 64):
    weights = np.random.default_rng(0).standard_normal((rows, 8)).astype(np.float32)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", rows])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"], "product"), helper.make_node("Relu", ["m"], ["y"], "ramp")]
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_an_engine_that_carries_its_model_is_built_again_for_another_machine(tmp_path: Path) -> None:
    there, here = tmp_path / "there.fusee", tmp_path / "here.fusee"
    save(build_artifact(model(), BuildOptions(portable=True)).artifact, there)
    build(there, BuildOptions(detect_cpu().with_isa("avx2"))).save(here)
    x = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)
    with build(there) as first, build(model()) as second:
        np.testing.assert_array_equal(first.run({"x": x})["y"], second.run({"x": x})["y"])
    assert load(here, None).features <= detect_cpu().features


def test_an_engine_without_its_model_cannot_be_built_again(tmp_path: Path) -> None:
    path = tmp_path / "plain.fusee"
    build(model()).save(path)
    with pytest.raises(ModelError, match="an engine without its model; build from the ONNX file, or build the engine"):
        build(path)


def test_a_damaged_model_in_an_engine_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "damaged.fusee"
    artifact = build_artifact(model(), BuildOptions(portable=True)).artifact
    save(replace(artifact, graph_weights=bytes(artifact.graph_weights)[:-30]), path)
    with pytest.raises(EngineError, match="the model in the engine cannot be read"):
        build(path)


def test_another_machines_engine_says_that_it_can_be_built_here(tmp_path: Path) -> None:
    path = tmp_path / "foreign.fusee"
    artifact = build_artifact(model(), BuildOptions(portable=True)).artifact
    save(replace(artifact, features=artifact.features | {"amx_fp64"}), path)
    with pytest.raises(EngineError, match=r"lacks amx_fp64 .*; it carries its model: `fusee build .*foreign.fusee -o"):
        load(path, detect_cpu())
