"""Activations, normalisations and attention are recognised in several exporters' spellings."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.ir.graph import Graph
from fusee.ir.rewrite import Report, rewrite
from fusee.ir.text import print_op
from fusee.passes.activations import ACTIVATIONS
from fusee.passes.algebra import ALGEBRA
from fusee.passes.attention import ATTENTION, transpose_onto_attention
from fusee.passes.identities import IDENTITIES
from fusee.passes.norms import NORMS, layer_norm
from passes.rewriting import check_declines, check_numbers, parse

CANONICAL = (*ACTIVATIONS, *NORMS, *ATTENTION)

ACTIVATION_SPELLINGS = (
    # x * 0.5 * (1 + erf(x / sqrt 2)), as PyTorch writes it
    ("gelu", "%d = div(%x, %r2)\n%e = erf(%d)\n%a = add(%e, %one)\n%m = mul(%x, %a)\n%0 = mul(%m, %half)"),
    ("gelu", "%d = mul(%x, %ir2)\n%e = erf(%d)\n%a = add(%one, %e)\n%h = mul(%half, %x)\n%0 = mul(%h, %a)"),
    ("gelu", "%d = div(%x, %r2)\n%e = erf(%d)\n%a = add(%e, %one)\n%m = mul(%a, %half)\n%0 = mul(%m, %x)"),
    (
        "gelu {approximate=true}",
        "%c = pow(%x, %three)\n%k = mul(%c, %cube)\n%s = add(%x, %k)\n%i = mul(%s, %s2pi)\n%t = tanh(%i)\n"
        "%a = add(%t, %one)\n%h = mul(%x, %half)\n%0 = mul(%h, %a)",
    ),
    (
        "gelu {approximate=true}",
        "%xx = mul(%x, %x)\n%c = mul(%x, %xx)\n%k = mul(%c, %cube)\n%s = add(%k, %x)\n%i = mul(%s, %s2pi)\n"
        "%t = tanh(%i)\n"
        "%a = add(%one, %t)\n%m = mul(%a, %x)\n%0 = mul(%m, %half)",
    ),
    (
        "gelu {approximate=true}",
        "%xx = mul(%x, %x)\n%k = mul(%xx, %cube)\n%f = add(%k, %one)\n%p = mul(%x, %s2pi)\n%i = mul(%p, %f)\n"
        "%t = tanh(%i)\n"
        "%a = add(%one, %t)\n%h = mul(%x, %half)\n%0 = mul(%h, %a)",
    ),
    ("sigmoid", "%n = neg(%x)\n%e = exp(%n)\n%a = add(%e, %one)\n%0 = div(%one, %a)"),
    ("sigmoid", "%n = neg(%x)\n%e = exp(%n)\n%a = add(%one, %e)\n%0 = reciprocal(%a)"),
    ("silu", "%s = sigmoid(%x)\n%0 = mul(%x, %s)"),
    ("silu", "%s = sigmoid(%x)\n%0 = mul(%s, %x)"),
    ("silu {alpha=1.5}", "%k = mul(%x, %quick)\n%s = sigmoid(%k)\n%0 = mul(%s, %x)"),
    (
        "hard_swish",
        "%a = add(%x, %three)\n%b = max(%a, %zero)\n%c = min(%b, %six)\n%d = div(%c, %six)\n%0 = mul(%x, %d)",
    ),
    (
        "hard_swish",
        "%a = add(%x, %three)\n%b = min(%a, %six)\n%c = max(%b, %zero)\n%m = mul(%x, %c)\n%0 = div(%m, %six)",
    ),
    ("hard_swish", "%g = hard_sigmoid(%x) {alpha=0.16666666666666666, beta=0.5}\n%0 = mul(%x, %g)"),
    ("softplus", "%e = exp(%x)\n%a = add(%e, %one)\n%0 = log(%a)"),
    ("mish", "%s = softplus(%x)\n%t = tanh(%s)\n%0 = mul(%x, %t)"),
)
NUMBERS = {
    "r2": 2**0.5, "ir2": 0.5**0.5, "one": 1.0, "half": 0.5, "three": 3.0, "cube": 0.044715,
    "s2pi": 0.7978845608, "quick": 1.5, "zero": 0.0, "six": 6.0,
}  # fmt: skip


def simplified(
    lines: str, kind: str = "f32[N,7]", constants: dict[str, np.ndarray] | None = None
) -> tuple[Graph, Graph]:
    numbers = "\n".join(f"%{k} = const {{value={v}}} : f32[]" for k, v in NUMBERS.items() if f"%{k}" in lines)
    graph = parse(f"graph f({kind if '%' in kind else f'%x: {kind}'})\n{numbers}\n{lines}\nreturn %0", constants)
    plain = rewrite(graph, (*IDENTITIES, *ALGEBRA))
    return graph, rewrite(plain, CANONICAL)


def ops_of(graph: Graph) -> list[str]:
    return [print_op(n.op) for n in graph.nodes() if n.operands]


@pytest.mark.parametrize(("name", "lines"), ACTIVATION_SPELLINGS)
def test_activations(name: str, lines: str):
    graph, new = simplified(lines)
    assert ops_of(new) == [name]
    check_numbers(graph, new)


def test_an_activation_of_other_numbers_is_not_recognised():
    lines = "%d = mul(%x, %half)\n%e = erf(%d)\n%a = add(%e, %one)\n%m = mul(%x, %a)\n%0 = mul(%m, %half)"
    _, new = simplified(lines)
    assert "gelu" not in ops_of(new)


def test_an_activation_whose_inside_is_used_elsewhere_stays():
    text = """graph f(%x: f32[4])
        %e = exp(%x)
        %one = const {value=1.0} : f32[]
        %a = add(%e, %one)
        %0 = log(%a)
        return %0, %a"""
    check_declines(text, ACTIVATIONS, "softplus at Log: Add is used elsewhere")


MEAN = '{kind="mean", axes=(2,), keepdims=true}'
LAYER_NORMS = (
    f"%m = reduce(%x) {MEAN}\n%d = sub(%x, %m)\n%p = pow(%d, %two)\n%v = reduce(%p) {MEAN}\n%s = add(%v, %eps)\n"
    "%r = sqrt(%s)\n%0 = div(%d, %r)",
    f"%m = reduce(%x) {MEAN}\n%d = sub(%x, %m)\n%p = mul(%d, %d)\n%v = reduce(%p) {MEAN}\n%s = add(%eps, %v)\n"
    "%r = sqrt(%s)\n%i = reciprocal(%r)\n%0 = mul(%i, %d)",
    f"%m = reduce(%x) {MEAN}\n%d = sub(%x, %m)\n%p = pow(%d, %two)\n%v = reduce(%p) {MEAN}\n%s = add(%v, %eps)\n"
    "%i = pow(%s, %mhalf)\n%0 = mul(%d, %i)",
)


@pytest.mark.parametrize("lines", LAYER_NORMS)
def test_layer_norms(lines: str):
    numbers = (
        "%two = const {value=2.0} : f32[]\n%eps = const {value=0.001} : f32[]\n%mhalf = const {value=-0.5} : f32[]\n"
    )
    graph, new = simplified(numbers + lines, "f32[N,4,7]")
    assert ops_of(new) == ["normalize {axes=(2,), epsilon=0.0010000000474974513}"]
    check_numbers(graph, new)


def test_rms_norm():
    lines = f"""%eps = const {{value=0.001}} : f32[]
    %p = mul(%x, %x)
    %v = reduce(%p) {MEAN}
    %s = add(%v, %eps)
    %r = sqrt(%s)
    %0 = div(%x, %r)"""
    graph, new = simplified(lines, "f32[N,4,7]")
    assert ops_of(new) == ["normalize {axes=(2,), epsilon=0.0010000000474974513, center=false}"]
    check_numbers(graph, new)


def norm(mean: str, variance: str) -> str:
    return f"""graph f(%x: f32[N,4,7])
        %m = reduce(%x) {mean}
        %d = sub(%x, %m)
        %p = mul(%d, %d)
        %v = reduce(%p) {variance}
        %eps = const {{value=0.5}} : f32[]
        %s = add(%v, %eps)
        %r = sqrt(%s)
        %0 = div(%d, %r)
        return %0"""


def test_norms_that_are_none_say_why():
    other = MEAN.replace("(2,)", "(1,)")
    check_declines(norm(MEAN, other), [layer_norm], "layer-norm at Div: mean over [2], variance over [1]")
    most = MEAN.replace("mean", "max")
    check_declines(norm(most, MEAN), [layer_norm], "layer-norm at Div: the reductions are max and mean, not means")


SUM = '{kind="sum", axes=(1,), keepdims=true}'


@pytest.mark.parametrize(
    "lines",
    [
        f"%e = exp(%x)\n%t = reduce(%e) {SUM}\n%0 = div(%e, %t)",
        f"%m = reduce(%x) {SUM.replace('sum', 'max')}\n%d = sub(%x, %m)\n%e = exp(%d)\n%t = reduce(%e) {SUM}\n"
        f"%0 = div(%e, %t)",
    ],
)
def test_softmax(lines: str):
    graph, new = simplified(lines)
    assert ops_of(new) == ["softmax {axis=1}"]
    check_numbers(graph, new)


def test_a_sum_over_two_axes_is_no_softmax():
    text = """graph f(%x: f32[N,7])
        %e = exp(%x)
        %t = reduce(%e) {kind="sum", axes=(0, 1), keepdims=true}
        %0 = div(%e, %t)
        return %0"""
    check_declines(text, NORMS, "softmax at Div: the sum is not over one kept axis")


HEADS = "%q: f32[2,3,5,4], %k: f32[2,3,6,4], %v: f32[2,3,6,7]"
SCALE = "%c = const {value=0.25} : f32[]\n"
ATTENTIONS = (
    (
        "attention {scale=0.25}",
        HEADS,
        "%t = transpose(%k) {perm=(0, 1, 3, 2)}\n%s = mat_mul(%q, %t)\n%d = mul(%s, %c)\n"
        "%p = softmax(%d) {axis=3}\n%0 = mat_mul(%p, %v)",
    ),
    (
        "attention {scale=0.25}",
        HEADS,
        "%t = transpose(%k) {perm=(0, 1, 3, 2)}\n%q2 = mul(%q, %c)\n%s = mat_mul(%q2, %t)\n"
        "%p = softmax(%s) {axis=3}\n%0 = mat_mul(%p, %v)",
    ),
    (
        "attention {scale=0.0625}",
        HEADS,
        "%q2 = mul(%q, %c)\n%k2 = mul(%k, %c)\n%s = mat_mul(%q2, %k2) {trans_b=true}\n%p = softmax(%s) {axis=3}\n"
        "%0 = mat_mul(%p, %v)",
    ),
    (
        "attention {scale=4.0}",
        HEADS + ", %m: f32[2,1,1,6]",
        "%t = transpose(%k) {perm=(0, 1, 3, 2)}\n%s = mat_mul(%q, %t)\n%d = div(%s, %c)\n%a = add(%d, %m)\n"
        "%p = softmax(%a) {axis=3}\n%0 = mat_mul(%p, %v)",
    ),
    (
        "attention {scale=1.0}",
        "%q: f32[5,4], %k: f32[6,4], %v: f32[6,7], %m: f32[5,6]",
        "%s = mat_mul(%q, %k) {trans_b=true}\n%a = add(%m, %s)\n%p = softmax(%a) {axis=1}\n%0 = mat_mul(%p, %v)",
    ),
)


@pytest.mark.parametrize(("name", "inputs", "lines"), ATTENTIONS)
def test_attention(name: str, inputs: str, lines: str):
    graph, new = simplified((SCALE if "%c" in lines else "") + lines, inputs)
    assert ops_of(new) == [name]
    check_numbers(graph, new)


def test_attention_over_split_heads_keeps_its_transposes_alone():
    """BERT's form: heads split from [B, S, H*D] by reshapes and transposes, k transposed once."""
    inputs = "%x: f32[2,5,12], %y: f32[2,5,12], %z: f32[2,5,12]"
    split = "\n".join(f"%{a}4 = reshape(%{a}) {{shape=(2, 5, 3, 4)}}" for a in "xyz")
    lines = f"""{SCALE}{split}
        %q = transpose(%x4) {{perm=(0, 2, 1, 3)}}
        %k = transpose(%y4) {{perm=(0, 2, 3, 1)}}
        %v = transpose(%z4) {{perm=(0, 2, 1, 3)}}
        %s = mat_mul(%q, %k)
        %d = div(%s, %c)
        %p = softmax(%d) {{axis=3}}
        %o = mat_mul(%p, %v)
        %t = transpose(%o) {{perm=(0, 2, 1, 3)}}
        %0 = reshape(%t) {{shape=(2, 5, 12)}}"""
    graph, new = simplified(lines, inputs)
    kinds = [n.op.text_name() for n in new.nodes() if n.operands]
    assert sorted(kinds) == ["attention"] + ["reshape"] * 4 + ["transpose"] * 4
    check_numbers(graph, new)


def test_windowed_attention_with_two_masks():
    rng = np.random.default_rng(0)
    table = {"bias": rng.random((1, 3, 5, 5), np.float32), "windows": rng.random((1, 4, 1, 5, 5), np.float32)}
    lines = """%s = mat_mul(%q, %k) {trans_b=true}
        %bias = const {digest="bias"} : f32[1,3,5,5]
        %a = add(%s, %bias)
        %w = reshape(%a) {shape=(1, 4, 3, 5, 5)}
        %windows = const {digest="windows"} : f32[1,4,1,5,5]
        %b = add(%w, %windows)
        %c = reshape(%b) {shape=(4, 3, 5, 5)}
        %p = softmax(%c) {axis=3}
        %0 = mat_mul(%p, %v)"""
    graph, new = simplified(lines, "%q: f32[4,3,5,2], %k: f32[4,3,5,2], %v: f32[4,3,5,2]", table)
    assert ops_of(new) == ["attention {scale=1.0}"]
    check_numbers(graph, new)


def windows(batch: str, shape: str) -> tuple[str, str]:
    """Swin's attention on ``batch`` windows, four to an image, up to the heads' joining."""
    inputs = "%n: f32[N], " + ", ".join(f"%{a}: f32[{batch},3,5,2]" for a in "qkv")
    return (
        inputs,
        f"""%s = mat_mul(%q, %k) {{trans_b=true}}
        %bias = const {{digest="bias"}} : f32[1,3,5,5]
        %a = add(%s, %bias)
        %w = reshape(%a) {{shape=({shape}, 4, 3, 5, 5)}}
        %windows = const {{digest="windows"}} : f32[1,4,1,5,5]
        %b = add(%w, %windows)
        %c = reshape(%b) {{shape=({"<4*N>" if shape == "N" else batch}, 3, 5, 5)}}
        %p = softmax(%c) {{axis=3}}
        %o = mat_mul(%p, %v)
        %t = transpose(%o) {{perm=(0, 2, 1, 3)}}
        %0 = exp(%t)""",
    )


@pytest.mark.parametrize(("batch", "shape"), [("8", "2"), ("4*N", "N")])
def test_windowed_attention_of_a_batch(batch: str, shape: str):
    rng = np.random.default_rng(0)
    table = {"bias": rng.random((1, 3, 5, 5), np.float32), "windows": rng.random((1, 4, 1, 5, 5), np.float32)}
    inputs, lines = windows(batch, shape)
    graph, new = simplified(lines, inputs, table)
    kinds = [n.op.text_name() for n in new.nodes() if n.operands]
    assert kinds == ["reshape", "reshape", "reshape", "attention", "reshape", "transpose", "exp"]
    last = rewrite(new, (transpose_onto_attention,))
    kinds = [n.op.text_name() for n in last.nodes() if n.operands]
    assert kinds == ["reshape", "reshape", "reshape", "attention", "transpose", "reshape", "exp"]
    check_numbers(graph, last)


def test_a_transpose_of_split_axes_stays_off_attention():
    text = f"""graph f({HEADS})
        %o = attention(%q, %k, %v) {{scale=0.5}}
        %r = reshape(%o) {{shape=(2, 3, 5, 7, 1)}}
        %0 = transpose(%r) {{perm=(4, 0, 1, 3, 2)}}
        return %0"""
    check_declines(text, [transpose_onto_attention], "transpose-onto-attention at Transpose: axes are split or lost")


def test_attention_over_another_axis_is_declined():
    text = f"""graph f({HEADS.replace("6,4", "5,4").replace("6,7", "5,7")})
        %s = mat_mul(%q, %k) {{trans_b=true}}
        %p = softmax(%s) {{axis=2}}
        %0 = mat_mul(%p, %v)
        return %0"""
    check_declines(text, ATTENTION, "attention at MatMul: the softmax is over axis 2, not the keys")


def test_a_mask_of_zeros_goes():
    zeros = "%m = const {value=0.0} : f32[5,6]\n"
    graph, new = simplified(zeros + "%0 = attention(%q, %k, %v, %m) {scale=0.5}", HEADS)
    assert [len(n.operands) for n in new.nodes() if n.op.text_name() == "attention"] == [3]
    check_numbers(graph, new)


def test_rules_report_what_fired():
    graph = parse(
        "graph f(%x: f32[4]) %s = sigmoid(%x)  # from /act/Sigmoid\n %0 = mul(%x, %s)  # from /act/Mul\n return %0"
    )
    report = Report()
    new = rewrite(graph, CANONICAL, report)
    assert [str(v) for v in report.fired] == ["silu at Mul (/act/Mul)"]
    assert new.outputs[0].node.loc == ("/act/Sigmoid", "/act/Mul")
