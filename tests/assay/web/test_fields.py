"""Values from outside: whatever they are, they are taken as described or refused."""

from __future__ import annotations

import json
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.cases import Lane
from assay.errors import Reason, Refusal
from assay.web.fields import Fields, json_fields

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


class Number(Enum):
    """A choice whose values are not text."""

    ONE = 1


@given(st.binary(max_size=300))
def test_any_bytes_are_an_object_or_refused(content: bytes) -> None:
    reason = None
    try:
        json_fields(content)
    except Refusal as err:
        reason = err.reason
    if reason is None:
        assert isinstance(json.loads(content), dict)
    else:
        assert reason is Reason.INVALID


@given(VALUES)
def test_any_value_is_read_or_refused_with_its_place(value: object) -> None:
    fields = Fields({"a": value}, "body")
    for read, kind in (
        (lambda: fields.text("a", 1, 50), str),
        (lambda: fields.whole("a", 0, 99), int),
        (lambda: fields.choice("a", Lane), Lane),
        (lambda: fields.texts("a", 3), list),
        (lambda: fields.within("a"), Fields),
    ):
        try:
            found: object = read()
        except Refusal as err:
            found = err.message
        is_refused = isinstance(found, str) and found.startswith("body.a is ") and "expected" in found
        assert is_refused or isinstance(found, kind)


@given(st.text(max_size=120))
def test_a_text_is_as_described(text: str) -> None:
    try:
        read = Fields({"a": text}, "body").text("a", 1, 50)
    except Refusal:
        return
    assert read == text.strip()
    assert 1 <= len(read) <= 50
    assert all(c.isprintable() or c in "\n\t" for c in read)


def test_missing_and_given_values_are_told_apart() -> None:
    fields = Fields({"a": 1}, "body")
    assert "a" in fields
    assert "b" not in fields
    assert fields.whole("b", 0, 9, default=4) == 4
    assert fields.choice("a", Number) is Number.ONE
    with pytest.raises(Refusal, match=r"^body\.b is missing; expected one of express, normal$"):
        fields.choice("b", Lane)
    with pytest.raises(Refusal, match=r"^body: unknown field 'a'; there are b, c$"):
        fields.only("b", "c")


@pytest.mark.parametrize(("value", "read"), [("7", 7), (7, 7)])
def test_digits_are_a_number(value: object, read: int) -> None:
    assert Fields({"a": value}, "query").whole("a", 0, 9) == read


@pytest.mark.parametrize("value", ["", "-1", "1.0", "٣", "9" * 30, True, 1.0, None])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(Refusal, match="expected a whole number of 0 to 9"):
        Fields({"a": value}, "query").whole("a", 0, 9)
