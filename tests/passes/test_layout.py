"""Convolution nets compute channels last and keep transposes only where the caller sees channels first."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.ir.graph import Graph
from fusee.ir.rewrite import Report, rewrite
from fusee.passes.cse import share
from fusee.passes.identities import IDENTITIES, transpose_of_ones
from fusee.passes.layout import TO_CHANNELS_LAST
from fusee.passes.sink import SINK
from fusee.passes.sink_reshape import SINK_RESHAPE
from passes.rewriting import check_declines, check_numbers, check_rewrite, parse

LAYOUT = (*TO_CHANNELS_LAST, *SINK_RESHAPE, *SINK, *IDENTITIES)
CONV = "{strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1)}"
RNG = np.random.default_rng(3)
WEIGHTS = {f"w{i}": RNG.standard_normal((4, 4, 3, 3)).astype(np.float32) for i in range(3)}
FIRST = "{perm=(0, 3, 1, 2)}"


def laid_out(lines: str, inputs: str = "%x: f32[N,4,6,5]", result: str = "%0") -> tuple[Graph, Report]:
    weights = "\n".join(f'%w{i} = const {{digest="w{i}"}} : f32[4,4,3,3]' for i in range(3) if f"%w{i}" in lines)
    graph, report = parse(f"graph f({inputs})\n{weights}\n{lines}\nreturn {result}", WEIGHTS), Report()
    new = share(rewrite(rewrite(graph, LAYOUT, report), (transpose_of_ones, *IDENTITIES)), Report())
    check_numbers(graph, new)
    return new, report


def kinds(graph: Graph) -> list[str]:
    return [n.op.text_name() for n in graph.nodes() if n.operands]


def test_a_convolution_between_transposes():
    weight = '%w = const {digest="w0"} : f32[4,4,3,3]\n'
    check_rewrite(
        f"graph f(%x: f32[N,4,6,5])\n{weight}%0 = conv(%x, %w) {CONV}\nreturn %0",
        f"""graph f(%x: f32[N,4,6,5])
        %t = transpose(%x) {{perm=(0, 2, 3, 1)}}
        {weight}
        %c = conv(%t, %w) {CONV[:-1]}, layout="NHWC"}}
        %0 = transpose(%c) {FIRST}
        return %0""",
        TO_CHANNELS_LAST,
        fired=["conv-channels-last"],
        constants=WEIGHTS,
    )


def test_one_spatial_axis_stays():
    text = """graph f(%x: f32[N,4,6])
        %0 = pool(%x) {kind="max", kernel=(2,), strides=(2,), pads=(0, 0), dilations=(1,)}
        return %0"""
    check_declines(text, TO_CHANNELS_LAST, "pool-channels-last at Pool: x is f32[N,4,6]: only two spatial axes")


RESIDUAL = f"""%a = conv(%x, %w0) {CONV}
    %r = relu(%a)
    %b = conv(%r, %w1) {CONV}
    %s = add(%b, %r)
    %0 = relu(%s)"""


def test_a_residual_block_keeps_one_transpose_at_either_end():
    new, _ = laid_out(RESIDUAL)
    assert kinds(new) == ["transpose", "conv", "relu", "conv", "add", "relu", "transpose"]


def test_a_classifier_keeps_none_at_its_end():
    new, _ = laid_out(f"""{RESIDUAL.replace("%0", "%y")}
        %p = pool(%y) {{kind="max", kernel=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0), dilations=(1, 1)}}
        %g = reduce(%p) {{kind="mean", axes=(2, 3), keepdims=true}}
        %0 = reshape(%g) {{shape=(N, 4)}}""")
    assert kinds(new) == ["transpose", "conv", "relu", "conv", "add", "relu", "pool", "reduce", "reshape"]


def test_flattened_pixels_reorder_the_rows_of_the_weight():
    WEIGHTS["m"] = RNG.standard_normal((120, 3)).astype(np.float32)
    new, _ = laid_out(
        f"""%a = conv(%x, %w0) {CONV}
        %f = reshape(%a) {{shape=(2, 120)}}
        %m = const {{digest="m"}} : f32[120,3]
        %0 = mat_mul(%f, %m)""",
        "%x: f32[2,4,6,5]",
    )
    assert kinds(new) == ["transpose", "conv", "reshape", "mat_mul"]


def test_a_gate_per_channel_costs_nothing():
    """Squeeze and excite: the gate is [N, C, 1, 1], and moves no element."""
    new, _ = laid_out(f"""%a = conv(%x, %w0) {CONV}
        %g = reduce(%a) {{kind="mean", axes=(2, 3), keepdims=true}}
        %h = conv(%g, %w1) {CONV}
        %s = sigmoid(%h)
        %m = mul(%a, %s)
        %0 = conv(%m, %w2) {CONV}""")
    assert kinds(new) == ["transpose", "conv", "reduce", "conv", "sigmoid", "mul", "conv", "transpose"]


def test_a_branching_net_with_concat_resize_pad_and_slice():
    new, _ = laid_out(
        f"""%a = conv(%x, %w0) {CONV}
        %u = resize(%a) {{sizes=(N, 4, 12, 10), scales=(1.0, 1.0, 2.0, 2.0), coordinate="asymmetric"}}
        %v = const {{value=0.0}} : f32[]
        %p = pad(%u, %v) {{before=(0, 0, 1, 2), after=(0, 0, 0, 1)}}
        %l = slice(%p) {{starts=(0, 1, 0, 0), sizes=(N, 2, 13, 13), steps=(1, 1, 1, 1)}}
        %k = concat(%l, %p, %l) {{axis=1}}
        %h = slice(%k) {{starts=(0, 0, 0, 0), sizes=(N, 4, 13, 13), steps=(1, 2, 1, 1)}}
        %0 = conv(%h, %w1) {CONV}"""
    )
    expected = ["transpose", "conv", "resize", "pad", "slice", "concat", "slice", "conv", "transpose"]
    assert kinds(new) == expected


def test_convnext_loses_its_permutes():
    new, _ = laid_out(f"""%a = conv(%x, %w0) {CONV}
        %t = transpose(%a) {{perm=(0, 2, 3, 1)}}
        %n = normalize(%t) {{axes=(3,), epsilon=0.001}}
        %g = gelu(%n)
        %b = transpose(%g) {{perm=(0, 3, 1, 2)}}
        %c = const {{value=[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]}} : f32[4,1,1]
        %s = mul(%b, %c)
        %r = add(%s, %x)
        %0 = conv(%r, %w1) {CONV}""")
    assert kinds(new) == ["transpose", "conv", "normalize", "gelu", "mul", "add", "conv", "transpose"]


def test_a_channel_shuffle_moves_channels_alone():
    new, _ = laid_out(f"""%a = conv(%x, %w0) {CONV}
        %b = reshape(%a) {{shape=(N, 2, 2, 6, 5)}}
        %t = transpose(%b) {{perm=(0, 2, 1, 3, 4)}}
        %c = reshape(%t) {{shape=(N, 4, 6, 5)}}
        %0 = conv(%c, %w1) {CONV}""")
    moved = [n.op.perm for n in new.nodes() if n.op.text_name() == "transpose"]
    assert moved == [(0, 2, 3, 1), (0, 1, 2, 4, 3), (0, 3, 1, 2)]


def test_tokens_of_a_vision_transformer():
    new, _ = laid_out(f"""%a = conv(%x, %w0) {CONV}
        %b = reshape(%a) {{shape=(N, 4, 30)}}
        %0 = transpose(%b) {{perm=(0, 2, 1)}}""")
    assert kinds(new) == ["transpose", "conv", "reshape"]


def test_channels_are_split_into_boxes_where_they_lie():
    """Detection heads: [N, 4, H, W] becomes [N, H*W*2, 2]."""
    new, _ = laid_out(f"""%a = conv(%x, %w0) {CONV}
        %t = transpose(%a) {{perm=(0, 2, 3, 1)}}
        %b = reshape(%t) {{shape=(N, 60, 2)}}
        %0 = softmax(%b) {{axis=2}}""")
    assert kinds(new) == ["transpose", "conv", "reshape", "softmax"]


SMALL = (
    ("sink-through-reduce", '%0 = reduce(%t) {kind="sum", axes=(1,), keepdims=false}'),
    ("sink-through-arg-reduce", '%0 = arg_reduce(%t) {kind="max", axis=1, keepdims=true}'),
    ("sink-through-axis", "%0 = softmax(%t) {axis=1}"),
    ("sink-through-axis", "%0 = log_softmax(%t) {axis=2}"),
    ("sink-through-normalize", "%0 = normalize(%t) {axes=(1, 3), epsilon=0.1}"),
    ("sink-through-expand", "%0 = expand(%t) {shape=(N, 4, 6, 5)}"),
    ("sink-through-gather", "%i = const {value=[2, 0, 1]} : i64[3]\n%0 = gather(%t, %i) {axis=1}"),
    (
        "sink-through-elementwise",
        "%c = const {value=[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]} : f32[4,1,1]\n%0 = add(%c, %t)",
    ),
    (
        "sink-through-quantize",
        "%s = const {value=[1.0, 2.0, 3.0, 4.0]} : f32[4]\n%z = const {value=[1, 2, 3, 4]} : i8[4]\n"
        "%0 = quantize(%t, %s, %z) {to=i8, axis=1}",
    ),
)


@pytest.mark.parametrize(("name", "lines"), SMALL)
def test_each_op_works_where_its_axes_lie(name: str, lines: str):
    rules = [r for r in SINK if r.name == name]
    shape = "f32[N,6,5,4]" if "expand" not in name else "f32[N,6,1,4]"
    graph = parse(f"graph f(%x: {shape})\n%t = transpose(%x) {FIRST}\n{lines}\nreturn %0")
    report = Report()
    new = rewrite(graph, rules, report)
    assert [v.rule for v in report.fired] == [name]
    assert new.outputs[0].op.text_name() == "transpose"
    check_numbers(graph, new)


DECLINING = (
    (
        "sink-through-elementwise at Add: it would move as much as it saves",
        "%x: f32[2,6,5], %y: f32[2,5,6]",
        "%t = transpose(%x) {perm=(0, 2, 1)}\n%0 = add(%t, %y)",
    ),
    (
        "sink-through-reshape at Reshape: axes that are joined or split do not lie together",
        "%x: f32[2,3,5,4]",
        "%t = transpose(%x) {perm=(0, 2, 1, 3)}\n%0 = reshape(%t) {shape=(2, 5, 12)}",
    ),
    (
        "part-before-reshape at Reshape: what would be left to sink does not lead to channels last",
        "%x: f32[2,3,5,4]",
        "%t = transpose(%x) {perm=(0, 2, 1, 3)}\n%0 = reshape(%t) {shape=(2, 5, 12)}",
    ),
    (
        "sink-through-gather at Gather: the indices add or remove axes",
        "%x: f32[2,3,5], %i: i64[]",
        "%t = transpose(%x) {perm=(0, 2, 1)}\n%0 = gather(%t, %i) {axis=1}",
    ),
    (
        "sink-through-expand at Expand: axes are added",
        "%x: f32[2,3]",
        "%t = transpose(%x) {perm=(1, 0)}\n%0 = expand(%t) {shape=(4, 3, 2)}",
    ),
)


@pytest.mark.parametrize(("reason", "inputs", "lines"), DECLINING, ids=[d[0].split(" ")[0] for d in DECLINING])
def test_declines(reason: str, inputs: str, lines: str):
    check_declines(f"graph f({inputs})\n{lines}\nreturn %0", (*SINK, *SINK_RESHAPE), reason)
