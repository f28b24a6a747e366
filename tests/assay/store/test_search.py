from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.assay.store.making import Bench

from assay.cases import Case, CaseState, Claim, Lane, Verdict
from assay.errors import Reason, Refusal
from assay.store.search import _position


def make(bench: Bench, brand: str, reference: str = "") -> Case:
    return bench.store.cases.create(bench.tenant.id, Claim(brand, "Tote"), Lane.NORMAL, reference)


def found(bench: Bench, **how: object) -> list[str]:
    return [case.id for case in bench.store.cases.find(bench.tenant.id, **how)[0]]


def test_pages_hold_every_case_once_newest_first(bench: Bench) -> None:
    made = [make(bench, "Marlo").id for _ in range(7)]
    pages, cursor = [], ""
    while True:
        cases, cursor = bench.store.cases.find(bench.tenant.id, cursor=cursor, most=3)
        pages.append([case.id for case in cases])
        if not cursor:
            break
    assert pages == [made[:3:-1], made[3:0:-1], made[:1]]


def test_a_full_last_page_has_no_next_one(bench: Bench) -> None:
    make(bench, "Marlo"), make(bench, "Marlo")
    assert bench.store.cases.find(bench.tenant.id, most=2)[1] == ""


def test_cases_that_arrive_meanwhile_shift_nothing(bench: Bench) -> None:
    made = [make(bench, "Marlo").id for _ in range(4)]
    first, cursor = bench.store.cases.find(bench.tenant.id, most=2)
    make(bench, "Marlo"), make(bench, "Marlo")
    second, _ = bench.store.cases.find(bench.tenant.id, cursor=cursor, most=2)
    assert [case.id for case in (*first, *second)] == made[::-1]


def test_cases_of_one_instant_are_paged_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    instant = bench.clock()
    monkeypatch.setattr(bench.store.cases, "_clock", lambda: instant)
    made = {make(bench, "Marlo").id for _ in range(5)}
    first, cursor = bench.store.cases.find(bench.tenant.id, most=3)
    second, _ = bench.store.cases.find(bench.tenant.id, cursor=cursor, most=3)
    assert {case.id for case in (*first, *second)} == made


def test_by_state_and_verdict(bench: Bench) -> None:
    draft, queued = bench.draft([]), bench.queued()
    reported, other = bench.reported(Verdict.NEEDS_PHOTOS), bench.reported(Verdict.CONSISTENT)
    assert found(bench, states=[CaseState.DRAFT, CaseState.QUEUED]) == [queued.id, draft.id]
    assert found(bench, verdict=Verdict.NEEDS_PHOTOS) == [reported.id]
    assert found(bench, states=[CaseState.REPORTED]) == [other.id, reported.id]
    assert found(bench, states=[CaseState.DRAFT], verdict=Verdict.CONSISTENT) == []


def test_by_brand_and_text(bench: Bench) -> None:
    plain, percent = make(bench, "Marlo", "Locker 7"), make(bench, "Marlo & Co", "100% \\ wool_x")
    assert found(bench, brand="marlo") == [plain.id]
    assert found(bench, brand="mar%") == []
    assert found(bench, text="LOCKER") == [plain.id]
    assert found(bench, text="marlo") == [percent.id, plain.id]
    assert found(bench, text="0% \\") == [percent.id]
    assert found(bench, text="l_x") == [percent.id]
    assert found(bench, text="k_r") == []


@pytest.mark.parametrize("text", ["nul \0", "half \ud800"])
def test_text_that_cannot_be_looked_for_is_refused(bench: Bench, text: str) -> None:
    with pytest.raises(Refusal, match="the text to look for holds the character U"):
        bench.store.cases.find(bench.tenant.id, text=text)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_a_cursor_from_elsewhere_is_refused(cursor: str) -> None:
    with pytest.raises(Refusal, match="is not one that a list ended with") as caught:
        _position(cursor)
    assert caught.value.reason is Reason.INVALID


@pytest.mark.parametrize(
    "written", ["[]", "1", '["2026-01-01",5]', '["2026-01-01","case_1"]', '[5,"case_1"]', "[" * 99_999]
)
def test_a_cursor_of_other_json_is_refused(written: str) -> None:
    with pytest.raises(Refusal, match="is not one that a list ended with"):
        _position(base64.urlsafe_b64encode(written.encode()).decode())
