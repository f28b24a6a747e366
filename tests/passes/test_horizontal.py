"""Narrow products of one operand become one product where that pays."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import fusee
from fusee.base.types import Array
from fusee.ir.rewrite import Report
from fusee.passes.horizontal import join, why_not
from passes.rewriting import check_numbers, check_pass, parse

RNG = np.random.default_rng(5)


def weights(**shapes: tuple[int, ...]) -> dict[str, Array]:
    return {k: RNG.standard_normal(shape).astype(np.float32) for k, shape in shapes.items()}


def test_products_with_biases_and_the_same_activation_become_one() -> None:
    constants = weights(a=(256, 4), b=(256, 1), c=(4,), d=(1,))
    joined = {
        "ab": np.concatenate([constants["a"], constants["b"]], 1),
        "cd": np.concatenate([constants["c"], constants["d"]]),
    }
    check_pass(
        """graph f(%x: f32[N,256])
        %a = const {digest="a"} : f32[256,4]
        %b = const {digest="b"} : f32[256,1]
        %c = const {digest="c"} : f32[4]
        %d = const {digest="d"} : f32[1]
        %0 = mat_mul(%x, %a)
        %1 = add(%0, %c)
        %2 = sigmoid(%1)
        %3 = mat_mul(%x, %b)
        %4 = add(%3, %d)
        %5 = sigmoid(%4)
        return %2, %5""",
        """graph f(%x: f32[N,256])
        %ab = const {digest="ab"} : f32[256,5]
        %cd = const {digest="cd"} : f32[5]
        %0 = mat_mul(%x, %ab)
        %1 = add(%0, %cd)
        %2 = sigmoid(%1)
        %3 = slice(%2) {starts=(0, 0), sizes=(N, 4), steps=(1, 1)}
        %4 = slice(%2) {starts=(0, 4), sizes=(N, 1), steps=(1, 1)}
        return %3, %4""",
        join,
        fired=["join"],
        constants=constants | joined,
    )


CONVS = """graph f(%x: f32[1,{sizes}])
  %a = const {{digest="a"}} : f32[8,128,1,1]
  %b = const {{digest="b"}} : f32[4,128,1,1]
  %c = const {{digest="c"}} : f32[8]
  %d = const {{digest="d"}} : f32[4]
  %0 = conv(%x, %a, %c) {{strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), layout="{layout}"}}
  %1 = conv(%x, %b, %d) {{strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), layout="{layout}"}}
  {after}
  return %2, %3"""
AFTER = (
    ("the same twice", "%2 = relu(%0)\n%3 = relu(%1)", ["conv", "relu", "slice", "slice"]),
    ("different ops", "%2 = relu(%0)\n%3 = sigmoid(%1)", ["conv", "slice", "relu", "slice", "sigmoid"]),
    (
        "a second user",
        "%2 = relu(%0)\n%4 = relu(%1)\n%3 = mul(%4, %1)",
        ["conv", "slice", "relu", "slice", "relu", "mul"],
    ),
)


@pytest.mark.parametrize(("layout", "sizes"), [("NHWC", "H,W,128"), ("NCHW", "128,H,W")])
@pytest.mark.parametrize(("after", "ops"), [a[1:] for a in AFTER], ids=[a[0] for a in AFTER])
def test_convolutions_become_one_up_to_where_they_part(layout: str, sizes: str, after: str, ops: list[str]) -> None:
    constants = weights(a=(8, 128, 1, 1), b=(4, 128, 1, 1), c=(8,), d=(4,))
    graph, report = parse(CONVS.format(layout=layout, sizes=sizes, after=after), constants), Report()
    new = join(graph, report)
    assert [v.rule for v in report.fired] == ["join"]
    assert [n.op.text_name() for n in new.nodes() if n.op.text_name() not in ("const", "input")] == ops
    check_numbers(graph, new)


def test_a_joined_product_may_read_another() -> None:
    constants = weights(a=(256, 4), b=(256, 1), c=(4, 4), d=(4, 1))
    text = """graph f(%x: f32[N,256])
    %a = const {digest="a"} : f32[256,4]
    %b = const {digest="b"} : f32[256,1]
    %0 = mat_mul(%x, %a)
    %1 = mat_mul(%x, %b)
    %2 = add(%0, %1)
    %3 = concat(%2, %2, %2, %2, %2, %2, %2, %2, %2, %2, %2, %2, %2, %2, %2, %2) {axis=1}
    %4 = concat(%3, %3, %3, %3) {axis=1}
    %5 = mat_mul(%4, %a)
    %6 = mat_mul(%4, %b)
    return %5, %6"""
    graph, report = parse(text, constants), Report()
    new = join(graph, report)
    assert len(report.fired) == 2
    assert [n.op.text_name() for n in new.nodes()].count("mat_mul") == 2
    check_numbers(graph, new)


def test_wide_products_stay_apart_and_say_why() -> None:
    text = """graph f(%x: f32[N,64])
      %0 = const {value=0.5} : f32[64,32]
      %1 = const {value=0.25} : f32[64,32]
      %2 = mat_mul(%x, %0)
      %3 = mat_mul(%x, %1)
      return %2, %3"""
    reason = "join at MatMul: of the results with 32, 32 columns at most one leaves lanes of a vector empty"
    check_pass(text, text, join, declined=[reason])


def test_weights_that_inputs_decide_are_left_alone() -> None:
    text = """graph f(%x: f32[2,256], %a: f32[256,4], %b: f32[256,1])
      %0 = mat_mul(%x, %a)
      %1 = mat_mul(%x, %b)
      return %0, %1"""
    check_pass(text, text, join)


@pytest.mark.parametrize(
    ("widths", "depth", "reason"),
    [
        ([768, 768, 768], 768, "of the results with 768, 768, 768 columns at most one leaves"),
        ([4, 32], 512, "of the results with 4, 32 columns at most one leaves"),
        ([4, 1], 8, "joining 4, 1 columns of depth 8 saves 16 lanes, less than telling them apart"),
        ([15, 15], 512, "joining 15, 15 columns of depth 512 saves 0 lanes"),
    ],
)
def test_the_estimate_declines(widths: list[int], depth: int, reason: str) -> None:
    assert why_not(widths, depth).startswith(reason)


@pytest.mark.parametrize(("widths", "depth"), [([4, 1], 128), ([8, 4, 20], 64), ([4, 1, 768], 128)])
def test_the_estimate_accepts(widths: list[int], depth: int) -> None:
    assert why_not(widths, depth) == ""


def test_an_engine_computes_joined_heads() -> None:
    """The heads of a detector: 4 and 1 channels of a 3x3 feature map, one with an activation."""
    known = weights(a=(4, 128, 1, 1), b=(1, 128, 1, 1))
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["boxes"]),
        helper.make_node("Conv", ["x", "b"], ["scores"]),
        helper.make_node("Sigmoid", ["scores"], ["sure"]),
        helper.make_node("Concat", ["boxes", "sure"], ["y"], axis=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 128, 3, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(v, k) for k, v in known.items()]
    graph = helper.make_graph(nodes, "heads", [x], [y], constants)
    fed = RNG.standard_normal((2, 128, 3, 3)).astype(np.float32)
    with fusee.build(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)) as engine:
        found = engine.run({"x": fed})["y"]
    boxes, scores = (np.einsum("nchw,oc->nohw", fed, known[k][:, :, 0, 0]) for k in "ab")
    np.testing.assert_allclose(found, np.concatenate([boxes, 1 / (1 + np.exp(-scores))], 1), rtol=1e-4, atol=1e-4)
