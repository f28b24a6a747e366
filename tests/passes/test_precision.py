"""Narrow floats in f32, and integers in f32 where that is exact."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.types import BF16, F16
from fusee.ir.graph import Op, Value
from fusee.ir.reference import run
from fusee.ir.rewrite import Report
from fusee.passes.integers import integer_pass
from fusee.passes.widen import widen
from passes.rewriting import check_numbers, check_pass, feeds_of, parse


def nothing(op: Op, operands: tuple[Value, ...]) -> bool:
    return False


def test_half_precision_is_narrow_at_the_ends_alone():
    graph = parse("""graph f(%x: f16[N,4], %k: f32[4])
        %w = const {value=0.1} : f16[4,5]
        %m = mat_mul(%x, %w)
        %b = const {value=[1.0, 2.0, 3.0, 4.0, 5.0]} : f16[5]
        %a = add(%m, %b)
        %r = relu(%a)
        %s = softmax(%r) {axis=1}
        %k2 = exp(%k)
        return %s, %k2, %x""")
    new = widen((F16, BF16))(graph, Report())
    assert [f"{n.op.text_name()} {n.types[0].dtype}" for n in new.nodes() if n.operands] == [
        "cast f32",
        "mat_mul f32",
        "add f32",
        "relu f32",
        "softmax f32",
        "cast f16",
        "exp f32",
    ]
    found, want = run(new, feeds_of(graph)), run(graph, feeds_of(graph))
    for name in want:
        assert found[name].dtype == want[name].dtype
        np.testing.assert_allclose(found[name].astype(float), want[name].astype(float), rtol=2e-3)


def test_what_reads_bits_or_counts_stays_narrow():
    graph = parse("""graph f(%x: f16[3])
        %r = relu(%x)
        %b = bit_cast(%r) {to=u16}
        %v, %i = top_k(%r) {k=2, axis=0}
        return %b, %v, %i""")
    new = widen((F16,))(graph, Report())
    assert [str(v.type) for v in new.outputs] == ["u16[3]", "f16[2]", "i64[2]"]
    check_numbers(graph, new)


def test_f32_is_left_alone():
    graph = parse("graph f(%x: f32[3]) %0 = relu(%x) return %0")
    assert widen((F16,))(graph, Report()) is graph


CONV = "{strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1)"
INTEGERS = """graph f(%x: u8[N,2,4,4])
        %w = const {value=-3} : i8[3,2,3,3]
        %b = const {value=[7, 2000000000, -9]} : i32[3]
        %c = conv(%x, %w, %b) {strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1), accumulate=i32}
        %0 = cast(%c) {to=f32}
        return %0"""


def test_a_convolution_of_integers_in_floats():
    check_pass(
        INTEGERS,
        f"""graph f(%x: u8[N,2,4,4])
        %y = cast(%x) {{to=f32}}
        %w = const {{value=-3.0}} : f32[3,2,3,3]
        %c = conv(%y, %w) {CONV}}}
        %b = const {{value=[[[7.0]], [[2000000000.0]], [[-9.0]]]}} : f32[3,1,1]
        %0 = add(%c, %b)
        return %0""",
        integer_pass(nothing).apply,
        fired=["product-in-float"],
    )


def test_a_product_of_integers_in_floats_is_exact():
    graph = parse(
        """graph f(%x: i8[N,300])
        %w = const {digest="w"} : i8[300,7]
        %m = mat_mul(%x, %w) {accumulate=i32}
        %0 = cast(%m) {to=f32}
        return %0""",
        {"w": np.random.default_rng(0).integers(-128, 128, (300, 7)).astype(np.int8)},
    )
    new = integer_pass(nothing).apply(graph, Report())
    assert [n.op.text_name() for n in new.nodes() if n.operands] == ["cast", "mat_mul"]
    feeds = {"x": np.random.default_rng(1).integers(-128, 128, (3, 300)).astype(np.int8)}
    np.testing.assert_array_equal(run(new, feeds)["output0"], run(graph, feeds)["output0"])


LARGE = "graph f(%x: u8[2,2000]) %w = const {value=127} : i8[2000,2] %m = mat_mul(%x, %w) {accumulate=i32} "
DECLINING = (
    ("product-in-float at Cast: sums may reach 64770000, which f32 does not hold exactly", LARGE, False),
    ("product-in-float at Cast: a kernel of the backend computes it in integers", LARGE.replace("127", "1"), True),
    (
        "product-in-float at Cast: the weight is not a constant",
        "graph f(%x: u8[2,3], %w: i8[3,2]) %m = mat_mul(%x, %w) {accumulate=i32} ",
        False,
    ),
)


@pytest.mark.parametrize(("reason", "text", "has_kernel"), DECLINING)
def test_declines(reason: str, text: str, has_kernel: bool):
    text += "%0 = cast(%m) {to=f32} return %0"
    check_pass(text, text, integer_pass(lambda op, operands: has_kernel).apply, declined=[reason])
