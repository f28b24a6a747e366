import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import Refusal
from assay.report.canonical import canonical, rounded

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (1e21, "1e+21"), (1e20, "100000000000000000000"),
        (1e-6, "0.000001"), (1e-7, "1e-7"), (1.25e-7, "1.25e-7"), (333333333.33333329, "333333333.3333333"),
        (4.5, "4.5"), (2e-3, "0.002"), (1e30, "1e+30"), (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_ecmascript_does(number: float, text: str) -> None:
    assert canonical(number) == text.encode()


def test_keys_are_sorted_by_utf16_and_text_is_not_escaped_without_need() -> None:
    assert canonical({"\ufb33": 1, "\U0001f600": 2, "é": "\r\x7f€", "a": [True, None]}) == (
        '{"a":[true,null],"é":"\\r\x7f€","\U0001f600":2,"\ufb33":1}'.encode()
    )


@settings(deadline=None)
@given(VALUES)
def test_the_text_reads_back_as_the_value_and_is_a_fixed_point(value: object) -> None:
    text = canonical(value)
    read = json.loads(text, parse_int=float)
    assert read == value
    assert canonical(read) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, "\ud800", {"\udfff": 1}])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(Refusal, match="expected"):
        canonical({"value": value})


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_rounding_keeps_six_digits(number: float) -> None:
    assert math.isclose(rounded(number), number, rel_tol=5.0001e-6)
    assert rounded(rounded(number)) == rounded(number)
