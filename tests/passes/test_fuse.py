"""Groups form around anchors, end where values are used elsewhere, and ask the backend first."""

from __future__ import annotations

import pytest

from fusee.ir.graph import Graph, Op, Value
from fusee.ir.passes import Pass
from fusee.ir.rewrite import Report
from fusee.ops.fused import Fused
from fusee.passes.fuse import fuse, fuse_pass
from passes.rewriting import check_numbers, check_pass, parse


def anything(op: Op, operands: tuple[Value, ...]) -> bool:
    return True


def fused(lines: str, inputs: str, accepts=anything, result: str = "%0") -> Graph:
    graph = parse(f"graph f({inputs})\n{lines}\nreturn {result}")
    new = fuse(graph, Report(), accepts)
    check_numbers(graph, new)
    return new


def groups(graph: Graph) -> list[str]:
    nodes = [n for n in graph.nodes() if n.operands]
    return [n.op.body.name if isinstance(n.op, Fused) else n.op.text_name() for n in nodes]


def test_a_product_takes_what_follows():
    new = check_pass(
        """graph f(%x: f32[N,4], %y: f32[N,5])
        %w = const {value=0.5} : f32[4,5]
        %m = mat_mul(%x, %w)  # from /fc
        %b = const {value=[1.0, 2.0, 3.0, 4.0, 5.0]} : f32[5]
        %a = add(%m, %b)
        %c = const {value=2.0} : f32[]
        %s = mul(%a, %c)
        %r = relu(%s)
        %0 = add(%r, %y)  # from /skip
        return %0""",
        """graph f(%x: f32[N,4], %y: f32[N,5])
        %w = const {value=0.5} : f32[4,5]
        %b = const {value=[1.0, 2.0, 3.0, 4.0, 5.0]} : f32[5]
        %0 = fused(%x, %w, %b, %y) {body={
          graph mat_mul_add_mul_relu_add(%x0: f32[N,4], %x1: f32[4,5], %x2: f32[5], %x3: f32[N,5])
            %m = mat_mul(%x0, %x1)
            %a = add(%m, %x2)
            %c = const {value=2.0} : f32[]
            %s = mul(%a, %c)
            %r = relu(%s)
            %o = add(%r, %x3)
            return %o
        }}
        return %0""",
        lambda g, r: fuse(g, r, anything),
        fired=["fuse"],
    )
    assert new.outputs[0].node.loc == ("/fc", "/skip")


MATRICES = "%x: f32[N,4], %w: f32[4,5], %v: f32[5,5]"


def test_a_value_used_elsewhere_ends_the_group():
    new = fused("%m = mat_mul(%x, %w)\n%r = relu(%m)\n%n = mat_mul(%r, %v)\n%0 = add(%n, %r)", MATRICES)
    assert groups(new) == ["mat_mul_relu", "mat_mul_add"]


def test_an_output_ends_the_group():
    new = fused("%m = mat_mul(%x, %w)\n%0 = relu(%m)", MATRICES, result="%m, %0")
    assert groups(new) == ["mat_mul", "relu"]


def test_branches_that_meet_again_are_one_group():
    new = fused("%m = mat_mul(%x, %w)\n%e = exp(%m)\n%s = sigmoid(%m)\n%p = mul(%s, %e)\n%0 = add(%p, %m)", MATRICES)
    assert groups(new) == ["mat_mul_sigmoid_exp_mul_add"]


def test_two_products_meet_in_the_later_one():
    new = fused("%m = mat_mul(%x, %w)\n%n = mat_mul(%m, %v)\n%0 = add(%n, %m)", MATRICES)
    assert groups(new) == ["mat_mul", "mat_mul_add"]


def test_a_circle_cannot_form():
    """The sum waits for a product of the first group's value: it may not join that first group."""
    new = fused(
        "%m = mat_mul(%x, %w)\n%e = exp(%m)\n%n = mat_mul(%e, %v)\n%k = softmax(%n) {axis=1}\n%0 = add(%k, %m)",
        MATRICES,
    )
    assert groups(new) == ["mat_mul", "exp", "mat_mul", "softmax_add"]


def test_a_reduction_takes_what_comes_before():
    new = fused(
        '%a = mul(%x, %x)\n%b = exp(%a)\n%r = reduce(%b) {kind="sum", axes=(1,), keepdims=true}\n%0 = sqrt(%r)',
        "%x: f32[N,4]",
    )
    assert groups(new) == ["mul_exp_reduce_sqrt"]


def test_a_product_goes_before_a_reduction():
    new = fused('%m = mat_mul(%x, %w)\n%e = exp(%m)\n%0 = reduce(%e) {kind="sum", axes=(1,), keepdims=false}', MATRICES)
    assert groups(new) == ["mat_mul_exp", "reduce"]


def test_elementwise_ops_and_movement_form_groups():
    new = fused("%a = exp(%x)\n%t = transpose(%a) {perm=(1, 0)}\n%0 = add(%t, %y)", "%x: f32[N,4], %y: f32[4,N]")
    assert groups(new) == ["exp_add"]


def test_a_small_producer_is_not_computed_for_every_element():
    new = fused("%g = sigmoid(%y)\n%0 = mul(%x, %g)", "%x: f32[N,4], %y: f32[N,1]")
    assert groups(new) == ["sigmoid", "mul"]


def test_attention_reads_and_writes_transposed():
    split = "\n".join(f"%{a}t = transpose(%{a}) {{perm=(0, 2, 1, 3)}}" for a in "qkv")
    new = fused(
        f"{split}\n%o = attention(%qt, %kt, %vt) {{scale=0.5}}\n%0 = transpose(%o) {{perm=(0, 2, 1, 3)}}",
        "%q: f32[2,5,3,4], %k: f32[2,5,3,4], %v: f32[2,5,3,4]",
    )
    assert groups(new) == ["attention"]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_backend_has_the_last_word(most: int):
    def short(op: Op, operands: tuple[Value, ...]) -> bool:
        return isinstance(op, Fused) and len(op.nodes()) <= most

    new = fused("%m = mat_mul(%x, %w)\n%a = exp(%m)\n%b = relu(%a)\n%c = neg(%b)\n%0 = abs(%c)", MATRICES, short)
    expected = {
        1: ["mat_mul", "exp", "relu", "neg", "abs"],
        2: ["mat_mul_exp", "relu", "neg_abs"],
        3: ["mat_mul_exp_relu", "neg_abs"],
    }
    assert groups(new) == expected[most]


def test_the_limit_holds_here_too():
    graph = parse(f"graph f({MATRICES}) %m = mat_mul(%x, %w) %0 = relu(%m) return %0")
    new = fuse_pass(anything).apply(graph, Report(limit=0))
    assert groups(new) == ["mat_mul", "relu"]
    graph = parse(f"graph f({MATRICES}) %m = mat_mul(%x, %w) %r = relu(%m) %n = mat_mul(%r, %v) %0 = exp(%n) return %0")
    new = fuse_pass(anything).apply(graph, Report(limit=1))
    assert groups(new) == ["mat_mul", "relu", "mat_mul_exp"]


def test_it_is_a_pass():
    graph = parse(f"graph f({MATRICES}) %m = mat_mul(%x, %w) %0 = relu(%m) return %0")
    step = fuse_pass(anything)
    assert isinstance(step, Pass)
    assert groups(step.run(graph)) == ["mat_mul_relu"]


def test_attention_splits_heads_by_itself():
    """Heads that lie side by side in wider rows: reshape and transpose are how the kernel reads them."""
    split = "\n".join(
        f"%{a}s = slice(%x) {{starts=(0, 0, {i * 12}), sizes=(2, 5, 12), steps=(1, 1, 1)}}\n"
        f"%{a}r = reshape(%{a}s) {{shape=(2, 5, 3, 4)}}\n%{a}t = transpose(%{a}r) {{perm=(0, 2, 1, 3)}}"
        for i, a in enumerate("qkv")
    )
    new = fused(
        f"{split}\n%o = attention(%qt, %kt, %vt) {{scale=0.5}}\n%t = transpose(%o) {{perm=(0, 2, 1, 3)}}\n"
        "%0 = reshape(%t) {shape=(2, 5, 12)}",
        "%x: f32[2,5,36]",
    )
    assert groups(new) == ["slice", "slice", "slice", "attention", "reshape"]
