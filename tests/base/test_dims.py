from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusee.base.dims import (
    Dim,
    ceildiv,
    count_name,
    dim_max,
    dim_min,
    element_name,
    equal,
    evaluate,
    floordiv,
    less,
    lower_bound,
    match,
    mod,
    parse_dim,
    select,
    substitute,
    sym,
    symbols,
)
from fusee.base.errors import InternalError, ParseError

H, W, N = sym("H"), sym("W"), sym("N")


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (2 * H - H - H, "0"),
        (H + 1 - 1, "H"),
        ((H + 4) // 2, "((H)//(2))+2"),
        ((2 * H + 4) // 2, "H+2"),
        ((4 * H + 2) // 8, "((2*H+1)//(4))"),
        ((H // 2) // 2, "((H)//(4))"),
        (N * H * 3 // (N * 3), "H"),
        ((96 * (H // 2) * N + 96 * N) // (N * (H // 2 + 1)), "96"),
        ((N * H * H - N * N) // (H * H - N), "N"),
        ((4 * H + 3) % 4, "3"),
        (dim_max(H, 0), "H"),
        (dim_max(0, (H - 1) // 2), "((H-1)//(2))"),
        (dim_min(H + 1, H), "H"),
        (dim_min(H, 5), "min(H,5)"),
        (less(H, 1), "0"),
        (select(equal(H, H), N, 3), "N"),
        (ceildiv(H, 1), "H"),
    ],
)
def test_arithmetic_reduces_to_one_form(dim: Dim, text: str) -> None:
    assert str(dim) == text
    assert parse_dim(text) == dim


def test_counts_may_be_zero_and_elements_negative() -> None:
    assert lower_bound(sym(count_name("found"))) == 0
    assert lower_bound(sym(element_name("sizes", 0))) is None
    assert str(dim_max(sym(count_name("found")) - 1, 0)) == "max(found__n-1,0)"


def test_what_is_not_a_dimension_is_refused() -> None:
    with pytest.raises(ParseError, match=r"expected a dimension such as 224, N or \(H\+1\)//\(2\), got '3 \+'"):
        parse_dim("3 +")
    with pytest.raises(ParseError, match=r"expected a dimension, got '1\.5'"):
        parse_dim("1.5")


def test_a_name_without_a_value_is_named() -> None:
    with pytest.raises(InternalError, match=r"the size H\+W cannot be computed: W has no value yet"):
        evaluate(H + W, {"H": 3})


def test_match_binds_lone_names_and_checks_the_rest() -> None:
    sizes: dict[str, int] = {}
    assert match((N, 2 * H, H), (4, 6, 3), sizes) == ""
    assert sizes == {"N": 4, "H": 3}
    assert match((N, H), (4, 5), sizes) == "dimension 1 is 5 instead of 3 (H)"
    assert match((3,), (4,), {}) == "dimension 0 is 4 instead of 3"
    assert match((3,), (4, 1), {}) == "rank 2 instead of 1"


_leaf = st.one_of(st.integers(-4, 9), st.sampled_from([H, W, N]))
_binary = st.sampled_from(
    [
        (lambda a, b: a + b, lambda a, b: a + b),
        (lambda a, b: a - b, lambda a, b: a - b),
        (lambda a, b: a * b, lambda a, b: a * b),
        (dim_max, max),
        (dim_min, min),
        (less, lambda a, b: int(a < b)),
        (equal, lambda a, b: int(a == b)),
    ]
)
_division = st.sampled_from([(floordiv, lambda a, b: a // b), (mod, lambda a, b: a % b)])
_divisor = st.one_of(st.integers(1, 9), st.sampled_from([H, W, N, H * N, H + 1, 2 * W]))


@st.composite
def _expressions(draw: st.DrawFn, depth: int = 3) -> tuple[Dim, object]:
    """A dim and the same computation on plain numbers."""
    if depth == 0 or draw(st.booleans()):
        leaf = draw(_leaf)
        return leaf, lambda env: evaluate(leaf, env)
    a, plain_a = draw(_expressions(depth - 1))
    if draw(st.booleans()):
        (symbolic, plain), b = draw(_division), draw(_divisor)
        return symbolic(a, b), lambda env: plain(plain_a(env), evaluate(b, env))
    (symbolic, plain), (b, plain_b) = draw(_binary), draw(_expressions(depth - 1))
    return symbolic(a, b), lambda env: plain(plain_a(env), plain_b(env))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_expressions(), st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_symbolic_arithmetic_agrees_with_numbers(pair: tuple[Dim, object], h: int, w: int, n: int) -> None:
    dim, plain = pair
    env = {"H": h, "W": w, "N": n}
    assert evaluate(dim, env) == plain(env)  # type: ignore[operator]
    assert parse_dim(str(dim)) == dim
    assert symbols(dim) <= env.keys()
    bound = lower_bound(dim)
    assert bound is None or bound <= evaluate(dim, env)
    assert evaluate(substitute(dim, {"H": W + 1}), env) == evaluate(dim, env | {"H": w + 1})
