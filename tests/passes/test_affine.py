"""Scales and offsets fold into weights: numbers stay, and what cannot fold says why."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.ir.rewrite import Report, rewrite
from fusee.passes.affine import AFFINE
from fusee.passes.pads import PADS
from passes.rewriting import check_declines, check_numbers, check_rewrite, parse

RNG = np.random.default_rng(1)
CONSTANTS = {
    "w": RNG.standard_normal((4, 2, 3, 3)).astype(np.float32),
    "wt": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "b": RNG.standard_normal(4).astype(np.float32),
    "m": RNG.standard_normal((4, 5)).astype(np.float32),
    "c4": RNG.standard_normal((4, 1, 1)).astype(np.float32),
    "c6": RNG.standard_normal((1, 6, 1, 1)).astype(np.float32),
    "r4": RNG.standard_normal(4).astype(np.float32),
    "r5": RNG.standard_normal(5).astype(np.float32),
}
W = '%w = const {digest="w"} : f32[4,2,3,3]\n'
B = '%b = const {digest="b"} : f32[4]\n'
C4 = '%c = const {digest="c4"} : f32[4,1,1]\n'
CONV = "{strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1), group=2}"
FLAT = "{strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), group=2}"

FIRING = (
    ("scale-into-conv", "f32[N,4,6,5]", W + B + C4 + f"%y = conv(%x, %w, %b) {CONV}\n%0 = mul(%y, %c)", "conv"),
    (
        "scale-into-conv",
        "f32[N,4,6,5]",
        W + f"%c = const {{value=3.0}} : f32[]\n%y = conv(%x, %w) {CONV}\n%0 = mul(%y, %c)",
        "conv",
    ),
    (
        "scale-into-conv",
        "f32[N,4,5,5]",
        '%w = const {digest="wt"} : f32[4,3,3,3]\n%c = const {digest="c6"} : f32[1,6,1,1]\n'
        "%y = conv_transpose(%x, "
        "%w) {strides=(2, 2), pads=(0, 0, 0, 0), dilations=(1, 1), output_padding=(0, 0), group=2}\n"
        "%0 = mul(%y, %c)",
        "conv_transpose",
    ),
    ("offset-into-conv", "f32[N,4,6,5]", W + B + C4 + f"%y = conv(%x, %w, %b) {CONV}\n%0 = add(%y, %c)", "conv"),
    ("offset-into-conv", "f32[N,4,6,5]", W + C4 + f"%y = conv(%x, %w) {CONV}\n%0 = add(%y, %c)", "conv"),
    ("scale-through-conv", "f32[N,4,6,5]", W + B + C4 + f"%s = mul(%x, %c)\n%0 = conv(%s, %w, %b) {CONV}", "conv"),
    (
        "divisor-into-scale",
        "f32[N,4,6,5]",
        W + f"%c = const {{value=255.0}} : f32[]\n%s = div(%x, %c)\n%0 = conv(%s, %w) {CONV}",
        "mul conv",
    ),
    ("offset-through-conv", "f32[N,4,6,5]", W + B + C4 + f"%s = add(%x, %c)\n%0 = conv(%s, %w, %b) {FLAT}", "conv"),
    (
        "scale-into-matmul",
        "f32[N,3,4]",
        '%w = const {digest="m"} : f32[4,5]\n%c = const {digest="r5"} : f32[5]\n%y = mat_mul(%x, %w)\n%0 = mul(%y, %c)',
        "mat_mul",
    ),
    (
        "scale-into-matmul",
        "f32[N,3,5]",
        '%w = const {digest="m"} : f32[4,5]\n%c = const {digest="r4"} : f32[4]\n'
        "%y = mat_mul(%x, %w) {trans_b=true}\n%0 = mul(%y, %c)",
        "mat_mul",
    ),
    (
        "scale-through-matmul",
        "f32[N,3,4]",
        '%w = const {digest="m"} : f32[4,5]\n%c = const {digest="r4"} : f32[4]\n%s = mul(%x, %c)\n%0 = mat_mul(%s, %w)',
        "mat_mul",
    ),
    (
        "scale-through-matmul",
        "f32[N,3,5]",
        '%w = const {digest="m"} : f32[4,5]\n%c = const {digest="r5"} : f32[5]\n%s = mul(%x, %c)\n'
        "%0 = mat_mul(%s, %w) {trans_b=true}",
        "mat_mul",
    ),
    (
        "offset-through-matmul",
        "f32[N,3,4]",
        '%w = const {digest="m"} : f32[4,5]\n%c = const {digest="r4"} : f32[4]\n%b = const {digest="r5"} : f32[5]\n'
        "%s = add(%x, %c)\n%y = mat_mul(%s, %w)\n%0 = add(%y, %b)",
        "mat_mul add",
    ),
)


@pytest.mark.parametrize(("name", "kind", "lines", "left"), FIRING)
def test_fires(name: str, kind: str, lines: str, left: str):
    """What is left is one op on constants, and gives the same numbers."""
    graph, report = parse(f"graph f(%x: {kind})\n{lines}\nreturn %0", CONSTANTS), Report()
    new = rewrite(graph, [r for r in AFFINE if r.name == name], report)
    assert [v.rule for v in report.fired] == [name]
    assert " ".join(n.op.text_name() for n in new.nodes() if n.operands) == left
    check_numbers(graph, new)


def test_integer_sums_take_no_float_scale():
    text = """graph f(%x: u8[N,4,6,5])
        %w = const {value=2} : i8[4,2,3,3]
        %y = conv(%x, %w) {strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1), group=2, accumulate=i32}
        %c = const {value=3} : i32[]
        %0 = mul(%y, %c)
        return %0"""
    check_declines(text, AFFINE, "scale-into-conv at Mul: the weight is i8")


DECLINING = (
    (
        "scale-into-conv at Mul: the constant is not one number per output channel",
        f"%w = const {{value=0.5}} : f32[4,2,3,3]\n%y = conv(%x, %w) {CONV}\n"
        "%c = const {value=[1.0, 2.0]} : f32[2]\n%0 = mul(%y, %c)",
    ),
    (
        "offset-into-conv at Add: the constant is not one number per output channel",
        f"%w = const {{value=0.5}} : f32[4,2,3,3]\n%y = conv(%x, %w) {CONV}\n"
        "%c = const {value=[1.0, 2.0]} : f32[2]\n%0 = add(%y, %c)",
    ),
    (
        "scale-into-conv at Mul: Conv is used elsewhere",
        f"%w = const {{value=0.5}} : f32[4,2,3,3]\n%y = conv(%x, %w) {CONV}\n"
        "%c = const {value=3.0} : f32[]\n%m = mul(%y, %c)\n%0 = div(%m, %y)",
    ),
    (
        "scale-into-conv at Mul: the weight is not a constant",
        f"%e = exp(%x)\n%w = reshape(%e) {{shape=(4, 2, 2, 2)}}\n"
        f"%y = conv(%x, %w) {CONV.replace('1, 1, 1, 1', '0, 0, 0, 0')}\n"
        "%c = const {value=3.0} : f32[]\n%0 = mul(%y, %c)",
    ),
    (
        "offset-through-conv at Conv: zero padding is not offset",
        f"%c = const {{value=3.0}} : f32[]\n%s = add(%x, %c)\n%w = const {{value=0.5}} : f32[4,2,3,3]\n"
        f"%0 = conv(%s, %w) {CONV}",
    ),
    (
        "scale-through-matmul at MatMul: the constant is not one number per column of x",
        "%c = const {value=[[1.0], [2.0]]} : f32[2,1]\n%s = mul(%x, %c)\n%w = const {value=0.5} : f32[4,2]\n"
        "%0 = mat_mul(%s, %w)",
    ),
    (
        "scale-into-matmul at Mul: the constant is not one number per column",
        "%w = const {value=0.5} : f32[4,2]\n%y = mat_mul(%x, %w)\n%c = const {value=[[1.0], [2.0]]} : f32[2,1]\n"
        "%0 = mul(%y, %c)",
    ),
)


@pytest.mark.parametrize(("reason", "lines"), DECLINING, ids=[d[0].split(" ")[0] for d in DECLINING])
def test_declines(reason: str, lines: str):
    shape = "f32[1,2,2,4]" if "mat_mul" in lines else "f32[1,4,4,2]"
    check_declines(f"graph f(%x: {shape})\n{lines}\nreturn %0", AFFINE, reason)


ZERO = "%v = const {value=0.0} : f32[]\n"
PADDED = "%p = pad(%x, %v) {before=(0, 0, 1, 2), after=(0, 0, 3, 0)}\n"


def test_padding_moves_into_a_convolution():
    weight = "%w = const {value=0.5} : f32[4,2,3,3]\n"
    check_rewrite(
        f"graph f(%x: f32[N,2,6,5])\n{ZERO}{PADDED}{weight}"
        "%0 = conv(%p, %w) {strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1)}\nreturn %0",
        f"graph f(%x: f32[N,2,6,5])\n{weight}"
        "%0 = conv(%x, %w) {strides=(1, 1), pads=(2, 3, 4, 1), dilations=(1, 1)}\nreturn %0",
        PADS,
        fired=["pad-into-conv"],
    )


@pytest.mark.parametrize(("kind", "value"), [("max", "-inf"), ("average", "0.0")])
def test_padding_moves_into_a_pool(kind: str, value: str):
    counted = ", count_include_pad=true" if kind == "average" else ""
    check_rewrite(
        f"""graph f(%x: f32[N,2,6,5])
        %v = const {{value={value}}} : f32[]
        {PADDED}
        %0 = pool(%p) {{kind="{kind}", kernel=(4, 4), strides=(2, 2), pads=(0, 0, 0, 0), dilations=(1, 1)}}
        return %0""",
        f"""graph f(%x: f32[N,2,6,5])
        %0 = pool(%x) {{kind="{kind}", kernel=(4, 4), strides=(2, 2), pads=(1, 2, 3, 0), dilations=(1, 1){counted}}}
        return %0""",
        PADS,
        fired=["pad-into-pool"],
    )


POOL = '%0 = pool(%p) {kind="max", kernel=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0), dilations=(1, 1)}'
KEEPS_PAD = (
    ("pad-into-pool at Pool: a pool of kind max does not pad with this value", ZERO + PADDED + POOL),
    (
        "pad-into-pool at Pool: padding [1, 2, 3, 0] is not smaller than the window [2, 2]",
        "%v = const {value=-inf} : f32[]\n" + PADDED + POOL,
    ),
    (
        "pad-into-pool at Pool: batch or channels are padded",
        ZERO + "%p = pad(%x, %v) {before=(0, 1, 0, 0), after=(0, 0, 0, 0)}\n" + POOL,
    ),
)


@pytest.mark.parametrize(("reason", "lines"), KEEPS_PAD)
def test_padding_stays(reason: str, lines: str):
    check_declines(f"graph f(%x: f32[N,2,6,5])\n{lines}\nreturn %0", PADS, reason)
