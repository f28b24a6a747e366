"""The benchmark networks: published sizes, valid graphs, and answers that depend on the input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from benchmarks.models import MODELS
from benchmarks.models.measure import gflops, parameter_count
from onnx import shape_inference

SMALL = ("mobilenetv3_large", "efficientnet_b0", "retinaface_mnet025", "yolov8s", "resnet50", "swin_t")
LARGE = tuple(name for name in MODELS if name not in SMALL)
QUICK_AND_SLOW = (*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE))

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module", params=QUICK_AND_SLOW)
def built(request: pytest.FixtureRequest) -> tuple[str, onnx.ModelProto]:
    return request.param, MODELS[request.param].build(1)


def test_size_and_arithmetic_are_the_published_ones(built: tuple[str, onnx.ModelProto]) -> None:
    name, model = built
    assert parameter_count(model) == MODELS[name].parameters
    assert gflops(model) == pytest.approx(MODELS[name].gflops, rel=0.02)


def test_the_checker_and_strict_shape_inference_accept_the_graph(built: tuple[str, onnx.ModelProto]) -> None:
    onnx.checker.check_model(built[1], full_check=True)


def test_answers_are_finite_and_depend_on_the_input(built: tuple[str, onnx.ModelProto]) -> None:
    name, model = built
    first, second = (_run(model, MODELS[name].inputs(seed, 1)) for seed in (0, 1))
    for x, y in zip(first, second, strict=True):
        assert np.isfinite(x).all()
        assert x.std() < 100
        assert np.sqrt(np.square(x - y).mean()) > 0.1 * x.std()


@pytest.mark.parametrize("name", ["mobilenetv3_large", "swin_t", pytest.param("bert_base", marks=pytest.mark.slow)])
def test_an_open_batch_answers_each_input_as_if_it_were_alone(name: str) -> None:
    model = MODELS[name].build("N")
    alone = [MODELS[name].inputs(seed, 1) for seed in (0, 1)]
    together = {key: np.concatenate([inputs[key] for inputs in alone]) for key in alone[0]}
    both = _run(model, together)
    for number, inputs in enumerate(alone):
        for x, y in zip(_run(model, inputs), both, strict=True):
            np.testing.assert_allclose(y[number], x[0], atol=1e-4 * np.ptp(x))


@pytest.mark.parametrize("name", MODELS)
def test_inputs_are_those_the_graph_declares(name: str) -> None:
    inputs = MODELS[name].inputs(3, 2)
    assert all(array.shape[0] == 2 for array in inputs.values())
    again = MODELS[name].inputs(3, 2)
    assert all((again[key] == array).all() for key, array in inputs.items())


def test_machines_that_sum_in_another_order_get_the_same_weights(tmp_path: Path) -> None:
    here = MODELS["mobilenetv3_large"].build(1)
    command = [sys.executable, "-m", "benchmarks.models", "mobilenetv3_large", str(tmp_path / "m.onnx")]
    other_order = {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **other_order})
    assert here.SerializeToString(deterministic=True) == onnx.load(tmp_path / "m.onnx").SerializeToString(
        deterministic=True
    )


def test_node_and_weight_names_follow_the_modules() -> None:
    graph = MODELS["resnet50"].build(1).graph
    assert "/layer1/0/conv1/Conv" in {node.name for node in graph.node}
    assert "layer4.2.bn3.running_var" in {weight.name for weight in graph.initializer}
    assert len({node.name for node in graph.node}) == len(graph.node)


def test_the_batch_name_stays_open_in_inputs_and_outputs() -> None:
    inferred = shape_inference.infer_shapes(MODELS["mobilenetv3_large"].build("N")).graph
    for value in (*inferred.input, *inferred.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"


def test_command_writes_the_file_and_says_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    command = [sys.executable, "-m", "benchmarks.models", "retinaface_mnet025", str(path), "--batch", "N"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"{path}: retinaface_mnet025, batch N, 426,608 parameters, 1.96 GFLOPs an input\n"
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def _run(model: onnx.ModelProto, inputs: dict[str, Array]) -> list[Array]:
    onnxruntime = pytest.importorskip(
        "onnxruntime", reason="the networks are run in ONNX Runtime: pip install onnxruntime"
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, inputs)
