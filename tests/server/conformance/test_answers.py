"""Every case, asked of Fusee and of the real Triton where one is installed, beside Triton's answers as written down."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest

from server.conformance.answers import CASES, Triton, ask, read
from server.conformance.case import Case
from server.conformance.clients import Addresses
from server.conformance.differences import DIFFERENCES, FATAL_TO_TRITON, reasons
from server.conformance.records import Record, differences
from server.conformance.table import PAGE, page

TRITON = read()


class Asked(NamedTuple):
    """A case with one of its clients."""

    case: Case
    form: str


ASKED = [Asked(case, form) for case in CASES for form in case.forms]
COMPARED = [asked for asked in ASKED if asked.case.name not in FATAL_TO_TRITON]
every_case = pytest.mark.parametrize("asked", COMPARED, ids=lambda asked: f"{asked.case.name}-{asked.form}")
Fusee = Callable[[Asked], Record]


@pytest.fixture(scope="module")
def fusee(fusee_server: Addresses) -> Fusee:
    """What Fusee answers; each case is asked once."""
    return cache(lambda asked: ask(asked.case, asked.form, fusee_server))


@every_case
def test_fusee_answers_as_triton_does(asked: Asked, fusee: Fusee):
    ours, theirs = fusee(asked), TRITON[asked.case.name][asked.form]
    found = differences(ours, theirs)
    assert {f: found[f] for f, why in reasons(asked.case.name, ours, theirs).items() if why is None} == {}, (
        "Fusee, Triton"
    )


@pytest.mark.parametrize("name", FATAL_TO_TRITON)
def test_fusee_answers_what_ends_triton(name: str, fusee: Fusee):
    for asked in (a for a in ASKED if a.case.name == name):
        record = fusee(asked)
        statuses = {record["error"]["status"]} if "error" in record else set()
        refused = {"400", "StatusCode.INVALID_ARGUMENT"} if FATAL_TO_TRITON[name].is_refused else set()
        assert bool(statuses & refused) == FATAL_TO_TRITON[name].is_refused, record
        assert statuses <= refused, record


def test_every_difference_in_the_table_is_there(fusee: Fusee):
    seen = {
        why
        for asked in COMPARED
        for why in reasons(asked.case.name, fusee(asked), TRITON[asked.case.name][asked.form]).values()
    }
    assert [each for each in DIFFERENCES if each not in seen] == []


def test_the_page_tells_this(fusee: Fusee):
    assert page(lambda case, form: fusee(Asked(case, form)), TRITON) == PAGE.read_text(), (
        "docs/serving-conformance.md is out of date: python -m server.conformance.table, in tests/"
    )


def test_the_cases_are_many_and_named_once():
    names = [case.name for case in CASES]
    assert len(names) >= 100
    assert len(set(names)) == len(names)
    assert set(TRITON) == set(names) - set(FATAL_TO_TRITON), "python -m server.conformance.answers, in tests/"


@pytest.mark.triton
@every_case
def test_the_real_triton_answers_as_written_down(asked: Asked, triton_server: Triton):
    record = triton_server.ask(asked.case, asked.form)
    assert differences(record, TRITON[asked.case.name][asked.form]) == {}, "Triton now, Triton as written down"
