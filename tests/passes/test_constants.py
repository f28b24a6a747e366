"""What needs no input is computed at build, within bounds; equal things are computed once."""

from __future__ import annotations

import numpy as np

from fusee.ir.graph import Const
from fusee.ir.rewrite import Report
from fusee.passes.constants import fold_constants, fold_weights
from fusee.passes.cse import share
from passes.rewriting import check_pass, parse


def test_a_chain_of_constants_folds():
    check_pass(
        """graph f(%x: f32[2])
        %a = const {value=[1.0, 2.0]} : f32[2]
        %b = exp(%a)
        %c = sub(%b, %b)
        %0 = add(%x, %c)
        return %0""",
        """graph f(%x: f32[2])
        %c = const {value=0.0} : f32[2]
        %0 = add(%x, %c)
        return %0""",
        fold_constants,
        fired=["fold-constants", "fold-constants"],
    )


def test_every_result_of_a_node_folds():
    new = check_pass(
        """graph f()
        %a = const {value=[1.0, 3.0, 2.0]} : f32[3]
        %v, %i = top_k(%a) {k=1, axis=0}
        return %v, %i""",
        """graph f()
        %v = const {value=3.0} : f32[1]
        %i = const {value=1} : i64[1]
        return %v, %i""",
        fold_constants,
        fired=["fold-constants"],
    )
    assert all(isinstance(v.op, Const) for v in new.outputs)


def test_a_scalar_stays_a_scalar():
    graph = parse("graph f() %a = const {value=1.0} : f32[] %0 = exp(%a) return %0")
    assert fold_constants(graph, Report()).outputs[0].type.shape == ()


def test_a_constant_that_would_grow_is_computed_at_run_time():
    text = """graph f()
        %a = const {value=1.0} : f32[]
        %0 = full(%a) {shape=(2000, 1000)} : f32[2000,1000]
        return %0"""
    reason = "fold-constants at Full: the result f32[2000,1000] is much larger than its operands"
    check_pass(text, text, fold_constants, declined=[reason])


def test_sizes_unknown_at_build_do_not_fold():
    text = """graph f(%x: f32[N])
        %a = const {value=1.0} : f32[]
        %b = full(%a) {shape=(N,)} : f32[N]
        %0 = add(%x, %b)
        return %0"""
    check_pass(text, text, fold_constants)


def test_random_draws_do_not_fold_and_are_not_shared():
    text = """graph f()
        %a = const {value=0.5} : f32[3]
        %b = bernoulli(%a) {dtype=f32, seed=7}
        %c = bernoulli(%a) {dtype=f32, seed=7}
        return %b, %c"""
    graph = parse(text)
    for apply in (fold_constants, share):
        assert len(apply(graph, Report()).nodes()) == 3


QUANTISED = """graph f(%x: f32[2])
        %q = const {value=[2, 4]} : i8[2]
        %s = const {value=0.5} : f32[]
        %z = const {value=0} : i8[]
        %w = dequantize(%q, %s, %z) {axis=none}
        %0 = mul(%x, %w)
        return %0"""


def test_quantised_weights_stay_until_precision_is_settled():
    check_pass(QUANTISED, QUANTISED, fold_constants)
    check_pass(
        QUANTISED,
        "graph f(%x: f32[2]) %w = const {value=[1.0, 2.0]} : f32[2] %0 = mul(%x, %w) return %0",
        fold_weights,
        fired=["fold-constants"],
    )


def test_equal_nodes_are_one_and_remember_all_sources():
    new = check_pass(
        """graph f(%x: f32[2])
        %c = const {value=2.0} : f32[]
        %a = mul(%x, %c)  # from /left
        %d = const {value=2.0} : f32[]
        %b = mul(%x, %d)  # from /right
        %0 = add(%a, %b)
        return %0""",
        """graph f(%x: f32[2])
        %c = const {value=2.0} : f32[]
        %a = mul(%x, %c)
        %0 = add(%a, %a)
        return %0""",
        share,
        fired=["share"],
    )
    assert new.outputs[0].operands[0].node.loc == ("/left", "/right")


def test_different_things_stay_apart():
    text = """graph f(%x: f32[2])
        %c = const {value=2.0} : f32[]
        %a = mul(%x, %c)
        %d = const {value=2.0} : f32[2]
        %b = mul(%x, %d)
        %e = div(%x, %c)
        return %a, %b, %e"""
    check_pass(text, text, share)


def test_the_limit_holds_here_too():
    graph = parse("graph f() %a = const {value=[1.0, 2.0]} : f32[2] %b = exp(%a) %c = exp(%b) return %c")
    new = fold_constants(graph, Report(limit=1))
    assert [n.op.text_name() for n in new.nodes()] == ["const", "exp"]
    np.testing.assert_allclose(new.nodes()[0].op.value, np.exp([1.0, 2.0]), rtol=1e-6)
