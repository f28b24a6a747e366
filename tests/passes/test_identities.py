"""Each rule of identities once firing and, where it can, once declining."""

from __future__ import annotations

import pytest

from fusee.passes.identities import IDENTITIES, transpose_of_ones
from passes.rewriting import check_declines, check_rewrite

FIRING = (
    ("cast-to-same", "%x: f32[2]", "%0 = cast(%x) {to=f32}", "", "%x"),
    (
        "cast-there-and-back",
        "%x: f16[2]",
        "%0 = cast(%x) {to=f32}\n%1 = cast(%0) {to=bf16}",
        "%0 = cast(%x) {to=bf16}",
        "%0",
    ),
    ("reshape-to-same", "%x: f32[N,3]", "%0 = reshape(%x) {shape=(N, 3)}", "", "%x"),
    (
        "reshape-of-reshape",
        "%x: f32[N,6]",
        "%0 = reshape(%x) {shape=(<6*N>,)}\n%1 = reshape(%0) {shape=(N, 2, 3)}",
        "%0 = reshape(%x) {shape=(N, 2, 3)}",
        "%0",
    ),
    ("transpose-of-nothing", "%x: f32[2,3]", "%0 = transpose(%x) {perm=(0, 1)}", "", "%x"),
    (
        "transpose-of-transpose",
        "%x: f32[2,3,4]",
        "%0 = transpose(%x) {perm=(1, 2, 0)}\n%1 = transpose(%0) {perm=(0, 2, 1)}",
        "%0 = transpose(%x) {perm=(1, 0, 2)}",
        "%0",
    ),
    ("expand-to-same", "%x: f32[N]", "%0 = expand(%x) {shape=(N,)}", "", "%x"),
    (
        "expand-before-broadcast",
        "%x: f32[N,3], %y: f32[3]",
        "%0 = expand(%y) {shape=(N, 3)}\n%1 = add(%x, %0)",
        "%0 = add(%x, %y)",
        "%0",
    ),
    ("slice-of-all", "%x: f32[N,3]", "%0 = slice(%x) {starts=(0, 0), sizes=(N, 3), steps=(1, 1)}", "", "%x"),
    (
        "slice-of-slice",
        "%x: f32[9]",
        "%0 = slice(%x) {starts=(1,), sizes=(4,), steps=(2,)}\n%1 = slice(%0) {starts=(3,), sizes=(2,), steps=(-2,)}",
        "%0 = slice(%x) {starts=(7,), sizes=(2,), steps=(-4,)}",
        "%0",
    ),
    (
        "slice-of-concat",
        "%x: f32[2,3], %y: f32[2,5]",
        "%0 = concat(%x, %y) {axis=1}\n%1 = slice(%0) {starts=(0, 4), sizes=(2, 2), steps=(1, 1)}",
        "%0 = slice(%y) {starts=(0, 1), sizes=(2, 2), steps=(1, 1)}",
        "%0",
    ),
    ("pad-by-nothing", "%x: f32[2], %v: f32[]", "%0 = pad(%x, %v) {before=(0,), after=(0,)}", "", "%x"),
    (
        "concat-of-one",
        "%x: f32[2,3], %y: f32[2,0]",
        "%0 = concat(%x, %y) {axis=1}",
        "",
        "%x",
    ),
    (
        "concat-of-concat",
        "%x: f32[2], %y: f32[3]",
        "%0 = concat(%x, %y) {axis=0}\n%1 = concat(%x, %0) {axis=0}",
        "%0 = concat(%x, %x, %y) {axis=0}",
        "%0",
    ),
    (
        "concat-of-neighbours",
        "%x: f32[2,9], %y: f32[2,3]",
        "%a = slice(%x) {starts=(0, 1), sizes=(2, 3), steps=(1, 1)}\n"
        "%b = slice(%x) {starts=(0, 4), sizes=(2, 2), steps=(1, 1)}\n%0 = concat(%y, %a, %b) {axis=1}",
        "%a = slice(%x) {starts=(0, 1), sizes=(2, 5), steps=(1, 1)}\n%0 = concat(%y, %a) {axis=1}",
        "%0",
    ),
    (
        "concat-of-neighbours",
        "%x: f32[6,2]",
        "%a = slice(%x) {starts=(0, 0), sizes=(2, 2), steps=(1, 1)}\n"
        "%b = slice(%x) {starts=(2, 0), sizes=(4, 2), steps=(1, 1)}\n%0 = concat(%a, %b) {axis=0}",
        "",
        "%x",
    ),
    (
        "reduce-of-one",
        "%x: f32[2,1,3]",
        '%0 = reduce(%x) {kind="mean", axes=(1,), keepdims=false}',
        "%0 = reshape(%x) {shape=(2, 3)}",
        "%0",
    ),
    (
        "gather-to-slice",
        "%x: f32[5,3]",
        "%i = const {value=[3, -4]} : i64[2]\n%0 = gather(%x, %i) {axis=0}",
        "%0 = slice(%x) {starts=(3, 0), sizes=(2, 3), steps=(-2, 1)}",
        "%0",
    ),
    (
        "quantize-of-dequantize",
        "%x: i8[5]",
        "%s = const {value=0.5} : f32[]\n%z = const {value=3} : i8[]\n"
        "%0 = dequantize(%x, %s, %z) {axis=none}\n%1 = quantize(%0, %s, %z) {to=i8, axis=none}",
        "",
        "%x",
    ),
    (
        "transpose-into-matmul",
        "%x: f32[2,3,4], %y: f32[5,4]",
        "%0 = transpose(%y) {perm=(1, 0)}\n%1 = mat_mul(%x, %0)",
        "%0 = mat_mul(%x, %y) {trans_b=true}",
        "%0",
    ),
)


def last(lines: str) -> str:
    return lines.splitlines()[-1].split(" =")[0] if lines else "%x"


@pytest.mark.parametrize(("name", "inputs", "before", "after", "result"), FIRING, ids=[f[0] for f in FIRING])
def test_fires(name: str, inputs: str, before: str, after: str, result: str):
    only = [r for r in IDENTITIES if r.name == name]
    extra = [r for r in IDENTITIES if r.name in ("reshape-to-same", "transpose-of-nothing", "slice-of-all")]
    check_rewrite(
        f"graph f({inputs})\n{before}\nreturn {last(before)}",
        f"graph f({inputs})\n{after}\nreturn {result}",
        only or extra,
        fired=[name],
    )


def test_keys_are_read_in_the_order_in_which_they_lie():
    """Attention's k arrives as [B, H, D, S]: the product reads it row by row instead."""
    check_rewrite(
        """graph f(%q: f32[2,3,5,4], %k: f32[2,5,3,4])
        %0 = transpose(%k) {perm=(0, 2, 3, 1)}
        %1 = mat_mul(%q, %0)
        return %1""",
        """graph f(%q: f32[2,3,5,4], %k: f32[2,5,3,4])
        %0 = transpose(%k) {perm=(0, 2, 1, 3)}
        %1 = mat_mul(%q, %0) {trans_b=true}
        return %1""",
        [r for r in IDENTITIES if r.name == "transpose-into-matmul"],
        fired=["transpose-into-matmul"],
    )


def test_a_transpose_of_ones_is_a_reshape():
    check_rewrite(
        "graph f(%x: f32[N,1,4,1]) %0 = transpose(%x) {perm=(0, 2, 3, 1)} return %0",
        "graph f(%x: f32[N,1,4,1]) %0 = reshape(%x) {shape=(N, 4, 1, 1)} return %0",
        [transpose_of_ones],
        fired=["transpose-of-ones"],
    )


DECLINING = (
    (
        "cast-there-and-back at Cast: f16 does not hold every f32",
        "graph f(%x: f32[2]) %0 = cast(%x) {to=f16} %1 = cast(%0) {to=f32} return %1",
    ),
    (
        "expand-before-broadcast at Add: without it the result would be f32[3], not f32[N,3]",
        "graph f(%x: f32[3], %y: f32[3]) %0 = expand(%y) {shape=(N, 3)} %1 = add(%x, %0) return %1".replace(
            "%x: f32[3], ", "%n: f32[N], %x: f32[3], "
        ),
    ),
    (
        "slice-of-concat at Slice: the slice is not known to lie within one part",
        "graph f(%x: f32[2], %y: f32[2]) %0 = concat(%x, %y) {axis=0} "
        "%1 = slice(%0) {starts=(1,), sizes=(2,), steps=(1,)} return %1",
    ),
    (
        "gather-to-slice at Gather: the indices are not evenly spaced",
        "graph f(%x: f32[5]) %i = const {value=[0, 1, 3]} : i64[3] %0 = gather(%x, %i) {axis=0} return %0",
    ),
    (
        "quantize-of-dequantize at Quantize: the scales or zero points differ",
        "graph f(%x: i8[5]) %s = const {value=0.5} : f32[] %z = const {value=3} : i8[] "
        "%t = const {value=0.25} : f32[] "
        "%0 = dequantize(%x, %s, %z) {axis=none} %1 = quantize(%0, %t, %z) {to=i8, axis=none} return %1",
    ),
)


@pytest.mark.parametrize(("reason", "text"), DECLINING, ids=[d[0].split(" ")[0] for d in DECLINING])
def test_declines(reason: str, text: str):
    check_declines(text, IDENTITIES, reason)
