"""Names of sizes from actual shapes."""

from __future__ import annotations

import pytest

from fusee.base.dims import Dim, parse_dim
from fusee.base.errors import RequestError
from fusee.base.types import TensorType
from fusee.runtime.names import Actual, Names, check_equal, solve_names


def solved(*tensors: tuple[str, str, tuple[int, ...]], known: Names | None = None) -> Names:
    names: Names = dict(known or {})
    solve_names([Actual(label, TensorType.parse(text), shape) for label, text, shape in tensors], names)
    return names


def test_plain_names():
    assert solved(("a", "f32[N,3,H]", (2, 3, 7)), ("b", "f32[N]", (2,))) == {"N": 2, "H": 7}


def test_a_name_within_an_expression_is_found():
    assert solved(("a", "f32[2*N+1]", (9,))) == {"N": 4}


def test_an_expression_of_known_names_is_checked():
    assert solved(("a", "f32[N*H,N]", (6, 2)), ("b", "f32[H]", (3,))) == {"N": 2, "H": 3}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            [("input 'a'", "f32[N,3]", (2, 3)), ("input 'b'", "f32[N]", (4,))],
            "input 'b' is f32[4], expected f32[N]: dimension 0 (N) is 4, but N is 2 by input 'a'",
        ),
        (
            [("input 'a'", "f32[2*N]", (7,))],
            "input 'a' is f32[7], expected f32[2*N]: dimension 0 is 7, expected 6 (2*N with N = 3)",
        ),
        (
            [("input 'a'", "f32[N*H]", (6,))],
            "input 'a' is f32[6], expected f32[H*N]: dimension 0 is 6, which does not tell H and N apart",
        ),
        (
            [("input 'a'", "f32[3]", (4,))],
            "input 'a' is f32[4], expected f32[3]: dimension 0 is 4, expected 3",
        ),
    ],
)
def test_disagreement_is_explained(tensors: list[tuple[str, str, tuple[int, ...]]], message: str):
    with pytest.raises(RequestError) as caught:
        solved(*tensors)
    assert str(caught.value) == message


def test_names_known_before_must_agree():
    with pytest.raises(RequestError, match="N is 5 by the sizes given before"):
        solved(("a", "f32[N]", (4,)), known={"N": 5})


def test_sizes_that_must_be_equal():
    pair: tuple[Dim, Dim] = parse_dim("N+1"), parse_dim("H")
    check_equal([pair], {"N": 2, "H": 3})
    with pytest.raises(RequestError) as caught:
        check_equal([pair], {"N": 2, "H": 4})
    expected = "the model needs N+1 and H to be equal, but they are 3 and 4 (with H = 4, N = 2)"
    assert str(caught.value) == expected
