"""Ops that the standard defines by others are imported through their bodies, with types, defaults and attributes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from small_models import check, imported, model, node

from fusee.base.errors import ModelError, UnsupportedModel
from fusee.ir.reference import run
from fusee.onnx.importer import import_model
from fusee.onnx.lowerings import LOWERINGS

X = np.random.default_rng(2).normal(size=(3, 6)).astype(np.float32)


def test_these_ops_have_no_lowering_of_their_own() -> None:
    assert not {"SwiGLU", "NegativeLogLikelihoodLoss"} & {entry.op_type for entry in LOWERINGS}


def test_a_plain_body() -> None:
    graph = imported([node("SwiGLU", ["x", "x"], ["y"], "gate")], {"x": X}, shapes={"x": ["N", 6]})
    assert any(loc.startswith("gate/") for n in graph.nodes() for loc in n.loc)
    assert run(graph, {"x": X})["y"].shape == X.shape


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_a_body_that_depends_on_attributes_and_on_missing_inputs(reduction: str) -> None:
    inputs = {"x": X, "t": np.array([0, 5, 2])}
    loss = node("NegativeLogLikelihoodLoss", ["x", "t"], ["y"], reduction=reduction)
    check(loss, inputs, shapes={"x": ["N", 6], "t": ["N"]})


def test_a_node_that_does_not_suit_its_definition() -> None:
    with pytest.raises(UnsupportedModel, match=r"SequenceMap.*sequences of tensors are not supported"):
        imported([node("SequenceMap", ["x"], ["y"], body=helper.make_graph([], "g", [], []))], {"x": X})
    with pytest.raises(ModelError, match=r"lost.*input 0 is missing"):
        imported([node("NegativeLogLikelihoodLoss", ["x"], ["y"], "lost")], {"x": X})


def test_functions_of_the_model_itself() -> None:
    function = helper.make_function(
        "mine", "Double", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    proto = model([helper.make_node("Double", ["x"], ["y"], domain="mine")], {"x": X}, ["y"], opset=18, domain="mine")
    proto.functions.append(function)
    np.testing.assert_array_equal(run(import_model(proto), {"x": X})["y"], 2 * X)
