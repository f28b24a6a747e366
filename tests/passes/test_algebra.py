"""Each rule of algebra once firing and, where it can, once declining."""

from __future__ import annotations

import pytest

from fusee.passes.algebra import ALGEBRA
from passes.rewriting import check_declines, check_rewrite

FIRING = (
    (
        "constant-on-the-right",
        "%c = const {value=2.0} : f32[]\n%0 = mul(%c, %x)",
        "%c = const {value=2.0} : f32[]\n%0 = mul(%x, %c)",
    ),
    ("times-one", "%c = const {value=1.0} : f32[3]\n%r = relu(%x)\n%0 = mul(%r, %c)", "%0 = relu(%x)"),
    ("plus-zero", "%c = const {value=0.0} : f32[]\n%r = exp(%x)\n%0 = add(%r, %c)", "%0 = exp(%x)"),
    (
        "minus-constant",
        "%c = const {value=2.0} : f32[]\n%0 = sub(%x, %c)",
        "%c = const {value=-2.0} : f32[]\n%0 = add(%x, %c)",
    ),
    (
        "divided-by-constant",
        "%c = const {value=4.0} : f32[]\n%0 = div(%x, %c)",
        "%c = const {value=0.25} : f32[]\n%0 = mul(%x, %c)",
    ),
    (
        "constant-minus",
        "%a = const {value=2.0} : f32[]\n%c = const {value=1.0} : f32[]\n%m = mul(%x, %a)\n%0 = sub(%c, %m)",
        "%a = const {value=-2.0} : f32[]\n%m = mul(%x, %a)\n%c = const {value=1.0} : f32[]\n%0 = add(%m, %c)",
    ),
    (
        "scales-merge",
        "%a = const {value=[1.0, 2.0, 3.0]} : f32[3]\n%b = const {value=2.0} : f32[]\n%m = mul(%x, %a)\n"
        "%0 = mul(%m, %b)",
        "%a = const {value=[2.0, 4.0, 6.0]} : f32[3]\n%0 = mul(%x, %a)",
    ),
    (
        "offsets-merge",
        "%a = const {value=[1.0, 2.0, 3.0]} : f32[3]\n%b = const {value=2.0} : f32[]\n%m = add(%x, %a)\n"
        "%0 = add(%m, %b)",
        "%a = const {value=[3.0, 4.0, 5.0]} : f32[3]\n%0 = add(%x, %a)",
    ),
    (
        "scale-before-offset",
        "%w = const {value=5.0} : f32[3,3]\n%r = mat_mul(%x, %w)\n%a = const {value=3.0} : f32[]\n"
        "%m = add(%r, %a)\n%b = const {value=2.0} : f32[]\n%0 = mul(%m, %b)",
        "%w = const {value=5.0} : f32[3,3]\n%r = mat_mul(%x, %w)\n%b = const {value=2.0} : f32[]\n%m = mul(%r, %b)\n"
        "%a = const {value=6.0} : f32[]\n%0 = add(%m, %a)",
    ),
    ("small-power", "%c = const {value=2.0} : f32[]\n%0 = pow(%x, %c)", "%0 = mul(%x, %x)"),
    ("max-with-zero", "%c = const {value=0.0} : f32[]\n%0 = max(%x, %c)", "%0 = relu(%x)"),
    (
        "where-known",
        "%c = const {value=true} : bool[3]\n%r = relu(%x)\n%0 = where(%c, %r, %x)",
        "%0 = relu(%x)",
    ),
)


def graph(lines: str) -> str:
    return f"graph f(%x: f32[N,3])\n{lines}\nreturn %0"


@pytest.mark.parametrize(("name", "before", "after"), FIRING, ids=[f[0] for f in FIRING])
def test_fires(name: str, before: str, after: str):
    check_rewrite(graph(before), graph(after), [r for r in ALGEBRA if r.name == name], fired=[name])


POWERS = ((1.0, "%0 = relu(%r)"), (0.5, "%s = sqrt(%r)\n%0 = relu(%s)"), (-1.0, "%s = reciprocal(%r)\n%0 = relu(%s)"))


@pytest.mark.parametrize(("power", "after"), POWERS)
def test_powers(power: float, after: str):
    before = f"%r = exp(%x)\n%c = const {{value={power}}} : f32[]\n%p = pow(%r, %c)\n%0 = relu(%p)"
    rules = [r for r in ALGEBRA if r.name == "small-power"]
    check_rewrite(graph(before), graph("%r = exp(%x)\n" + after), rules, fired=["small-power"])


def test_a_power_of_minus_half():
    before = "%r = exp(%x)\n%c = const {value=-0.5} : f32[]\n%0 = pow(%r, %c)"
    after = "%r = exp(%x)\n%s = sqrt(%r)\n%0 = reciprocal(%s)"
    check_rewrite(graph(before), graph(after), ALGEBRA, fired=["small-power"])


DECLINING = (
    (
        "times-one at Mul: x is f32[3] and is broadcast to f32[2,3]",
        "%c = const {value=1.0} : f32[2,3]\n%0 = mul(%x, %c)",
    ),
    (
        "plus-zero at Add: x is f32[3] and is broadcast to f32[2,3]",
        "%c = const {value=0.0} : f32[2,3]\n%0 = add(%x, %c)",
    ),
    (
        "divided-by-constant at Div: 1/c of a whole c is rounded",
        "%c = const {value=49.0} : f32[]\n%d = div(%x, %c)\n%0 = floor(%d)",
    ),
    (
        "scale-before-offset at Mul: x comes from Exp, which takes in no scale",
        "%e = exp(%x)\n%c = const {value=0.5} : f32[]\n%a = add(%e, %c)\n%d = const {value=3.0} : f32[]\n"
        "%0 = mul(%a, %d)",
    ),
    (
        "divided-by-constant at Div: 1/c overflows or loses precision",
        "%c = const {value=1e-40} : f32[]\n%0 = div(%x, %c)",
    ),
    (
        "scales-merge at Mul: the merged constant would have 6 elements, from [3, 2]",
        "%a = const {value=[1.0, 2.0, 3.0]} : f32[3]\n%b = const {value=[[2.0], [3.0]]} : f32[2,1]\n"
        "%m = mul(%x, %a)\n%0 = mul(%m, %b)",
    ),
    (
        "offsets-merge at Add: Add is used elsewhere",
        "%a = const {value=3.0} : f32[]\n%b = const {value=2.0} : f32[]\n%m = add(%x, %a)\n%k = add(%m, %b)\n"
        "%0 = div(%m, %k)",
    ),
    ("small-power at Pow: the power is 3.0", "%c = const {value=3.0} : f32[]\n%0 = pow(%x, %c)"),
    (
        "where-known at Where: the chosen operand is f32[3] and is broadcast to f32[2,3]",
        "%c = const {value=true} : bool[2,3]\n%0 = where(%c, %x, %x)",
    ),
)


@pytest.mark.parametrize(("reason", "lines"), DECLINING, ids=[d[0].split(" ")[0] for d in DECLINING])
def test_declines(reason: str, lines: str):
    check_declines(f"graph f(%x: f32[3])\n{lines}\nreturn %0", ALGEBRA, reason)


def test_batch_normalisation_written_out_becomes_one_scale_and_offset():
    """(x - mean) / std * gamma + beta, each a constant of three channels."""
    check_rewrite(
        graph(
            """%mean = const {value=[1.0, 2.0, 3.0]} : f32[3]
            %std = const {value=[2.0, 4.0, 8.0]} : f32[3]
            %gamma = const {value=[4.0, 4.0, 4.0]} : f32[3]
            %beta = const {value=[1.0, 1.0, 1.0]} : f32[3]
            %w = const {value=5.0} : f32[3,3]
            %r = mat_mul(%x, %w)
            %d = sub(%r, %mean)
            %n = div(%d, %std)
            %s = mul(%n, %gamma)
            %0 = add(%s, %beta)"""
        ),
        graph(
            """%w = const {value=5.0} : f32[3,3]
            %r = mat_mul(%x, %w)
            %a = const {value=[2.0, 1.0, 0.5]} : f32[3]
            %s = mul(%r, %a)
            %b = const {value=[-1.0, -1.0, -0.5]} : f32[3]
            %0 = add(%s, %b)"""
        ),
        ALGEBRA,
        fired=[
            "minus-constant",
            "divided-by-constant",
            "scale-before-offset",
            "scale-before-offset",
            "scales-merge",
            "offsets-merge",
        ],
    )
