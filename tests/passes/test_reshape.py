"""Reshapes give way to elementwise ops, so that those can join a product."""

from __future__ import annotations

from fusee.passes.reshape import RESHAPE
from passes.rewriting import check_declines, check_rewrite


def test_constants_that_mean_the_same_in_both_shapes():
    check_rewrite(
        """graph f(%x: f32[6,4])
        %r = reshape(%x) {shape=(2, 3, 4)}
        %b = const {value=[1.0, 2.0, 3.0, 4.0]} : f32[4]
        %a = add(%r, %b)
        %0 = sigmoid(%a)
        return %0""",
        """graph f(%x: f32[6,4])
        %b = const {value=[1.0, 2.0, 3.0, 4.0]} : f32[4]
        %a = add(%x, %b)
        %s = sigmoid(%a)
        %0 = reshape(%s) {shape=(2, 3, 4)}
        return %0""",
        RESHAPE,
        fired=["reshape-after-elementwise", "reshape-after-elementwise"],
    )


def test_a_constant_that_knows_the_shape():
    text = """graph f(%x: f32[6,4])
        %r = reshape(%x) {shape=(2, 3, 4)}
        %b = const {value=[[1.0], [2.0], [3.0]]} : f32[3,1]
        %0 = add(%r, %b)
        return %0"""
    check_declines(text, RESHAPE, "reshape-after-elementwise at Add: a constant knows the shape")


def test_a_residual_joins_the_product():
    check_rewrite(
        """graph f(%x: f32[6,4], %w: f32[4,5], %y: f32[2,3,5])
        %m = mat_mul(%x, %w)
        %e = exp(%m)
        %r = reshape(%e) {shape=(2, 3, 5)}
        %0 = add(%y, %r)
        return %0""",
        """graph f(%x: f32[6,4], %w: f32[4,5], %y: f32[2,3,5])
        %r = reshape(%y) {shape=(6, 5)}
        %m = mat_mul(%x, %w)
        %e = exp(%m)
        %a = add(%r, %e)
        %0 = reshape(%a) {shape=(2, 3, 5)}
        return %0""",
        RESHAPE,
        fired=["reshape-before-residual"],
    )


def test_of_two_products_neither_gives_way():
    text = """graph f(%x: f32[6,4], %w: f32[4,5], %y: f32[2,3,4])
        %m = mat_mul(%x, %w)
        %r = reshape(%m) {shape=(2, 3, 5)}
        %n = mat_mul(%y, %w)
        %e = exp(%n)
        %0 = add(%e, %r)
        return %0"""
    check_declines(text, RESHAPE, "reshape-before-residual at Add: the other operand can be joined as well")


JOINED = """graph f(%x: f32[6,4], %w: f32[4,5], %v: f32[4,3])
        %m = mat_mul(%x, %w)
        %n = mat_mul(%x, %v)
        %c = concat(%m, %n) {axis=1}
        %0 = relu(%c)
        return %0"""


def test_an_activation_joins_every_part_of_a_concatenation():
    check_rewrite(
        JOINED,
        """graph f(%x: f32[6,4], %w: f32[4,5], %v: f32[4,3])
        %m = mat_mul(%x, %w)
        %a = relu(%m)
        %n = mat_mul(%x, %v)
        %b = relu(%n)
        %0 = concat(%a, %b) {axis=1}
        return %0""",
        RESHAPE,
        fired=["elementwise-before-concat"],
    )


def test_an_activation_stays_after_parts_that_cannot_take_it():
    text = JOINED.replace("%c = concat(%m, %n)", "%k = softmax(%n) {axis=1}\n        %c = concat(%m, %k)")
    check_declines(text, RESHAPE, "elementwise-before-concat at Relu: a part cannot be joined")
