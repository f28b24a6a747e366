from __future__ import annotations

import pytest
from tests.assay.store.making import Bench

from assay.cases import Verdict
from assay.errors import Reason, Refusal

CONSISTENT, NOT_CONSISTENT, INCONCLUSIVE = Verdict.CONSISTENT, Verdict.NOT_CONSISTENT, Verdict.INCONCLUSIVE


def actions(bench: Bench, case_id: str) -> list[str]:
    said = bench.store.audit.entries(bench.tenant.id, subject=case_id)
    return [entry.action for entry in said if entry.action.startswith("review.")]


def test_the_riskiest_case_comes_first(bench: Bench) -> None:
    ids = [bench.reported(risk=risk).id for risk in (0.2, 0.9, 0.0, 0.5)]
    waiting = bench.store.reviews.waiting(bench.tenant.id)
    assert [review.case_id for review in waiting] == [ids[1], ids[3], ids[0]], "no risk, no review"
    assert len(bench.store.reviews.waiting(bench.tenant.id, most=1)) == 1


class TestClaiming:
    def test_two_reviewers_get_two_cases(self, bench: Bench) -> None:
        low, high = bench.reported(risk=0.2), bench.reported(risk=0.9)
        assert bench.store.reviews.claim(bench.tenant.id, "ana").case_id == high.id
        assert bench.store.reviews.claim(bench.tenant.id, "bo").case_id == low.id
        assert bench.store.reviews.claim(bench.tenant.id, "cy") is None

    def test_a_reviewer_keeps_the_case_until_it_is_done(self, bench: Bench) -> None:
        low = bench.reported(risk=0.2)
        bench.store.reviews.claim(bench.tenant.id, "ana")
        bench.reported(risk=0.9)
        assert bench.store.reviews.claim(bench.tenant.id, "ana").case_id == low.id
        assert actions(bench, low.id) == ["review.claimed"]

    def test_a_claim_ends_after_half_an_hour(self, bench: Bench) -> None:
        case = bench.reported(risk=0.2)
        bench.store.reviews.claim(bench.tenant.id, "ana")
        with pytest.raises(Refusal, match="is with another reviewer until") as caught:
            bench.store.reviews.opine(bench.tenant.id, case.id, "bo", CONSISTENT)
        assert caught.value.reason is Reason.CONFLICT
        bench.clock.advance(minutes=31)
        assert bench.store.reviews.waiting(bench.tenant.id)[0].claimed_by == ""
        assert bench.store.reviews.claim(bench.tenant.id, "bo").claimed_by == "bo"

    def test_who_gave_an_opinion_does_not_get_the_case_again(self, bench: Bench) -> None:
        case = bench.reported(risk=0.2)
        bench.store.reviews.claim(bench.tenant.id, "ana")
        bench.store.reviews.opine(bench.tenant.id, case.id, "ana", CONSISTENT)
        assert bench.store.reviews.claim(bench.tenant.id, "ana") is None
        assert bench.store.reviews.claim(bench.tenant.id, "bo").case_id == case.id


class TestDeciding:
    def test_two_that_agree_with_the_report_confirm_it(self, bench: Bench) -> None:
        case = bench.reported(NOT_CONSISTENT, risk=0.9)
        assert bench.store.reviews.opine(bench.tenant.id, case.id, "ana", NOT_CONSISTENT).verdict is None
        assert bench.store.reviews.opine(bench.tenant.id, case.id, "bo", NOT_CONSISTENT).verdict is NOT_CONSISTENT
        assert actions(bench, case.id) == ["review.opinion", "review.opinion", "review.confirmed"]
        assert bench.store.reviews.waiting(bench.tenant.id) == []

    def test_two_that_agree_override_the_report_and_leave_it_as_it_is(self, bench: Bench) -> None:
        bench.store.tenants.update(bench.tenant.id, webhook_url="https://x.test")
        case = bench.reported(NOT_CONSISTENT, risk=0.9)
        before = bench.store.reports.get(bench.tenant.id, case.id)
        for reviewer in ("ana", "bo"):
            bench.store.reviews.opine(bench.tenant.id, case.id, reviewer, CONSISTENT)
        assert bench.store.cases.get(bench.tenant.id, case.id).verdict is CONSISTENT
        assert bench.store.reports.get(bench.tenant.id, case.id) == before
        public = bench.store.reports.by_id(case.report_id)
        assert (public.verdict, public.present_verdict) == (NOT_CONSISTENT, CONSISTENT)
        last = bench.store.audit.entries(bench.tenant.id, subject=case.id)[-1]
        assert (last.actor, last.action) == ("bo", "review.overridden")
        assert last.details == {"verdict": "CONSISTENT", "report_verdict": "NOT CONSISTENT"}
        assert [delivery.event for delivery in bench.store.webhooks.due()] == ["case.reported", "case.reviewed"]

    def test_of_two_that_differ_a_third_decides(self, bench: Bench) -> None:
        case = bench.reported(INCONCLUSIVE, risk=0.9)
        bench.store.reviews.opine(bench.tenant.id, case.id, "ana", CONSISTENT)
        assert bench.store.reviews.opine(bench.tenant.id, case.id, "bo", NOT_CONSISTENT).verdict is None
        assert bench.store.reviews.opine(bench.tenant.id, case.id, "cy", NOT_CONSISTENT).verdict is NOT_CONSISTENT
        assert [opinion.ordinal for opinion in bench.store.reviews.history(bench.tenant.id, case.id)] == [1, 2, 3]

    def test_nobody_has_two_opinions(self, bench: Bench) -> None:
        case = bench.reported(risk=0.9)
        bench.store.reviews.opine(bench.tenant.id, case.id, "ana", CONSISTENT)
        with pytest.raises(Refusal, match="another person has to"):
            bench.store.reviews.opine(bench.tenant.id, case.id, "ana", CONSISTENT)

    def test_what_is_decided_stays_decided(self, bench: Bench) -> None:
        case = bench.reported(risk=0.9)
        for reviewer in ("ana", "bo"):
            bench.store.reviews.opine(bench.tenant.id, case.id, reviewer, CONSISTENT)
        with pytest.raises(Refusal, match="is decided: CONSISTENT"):
            bench.store.reviews.opine(bench.tenant.id, case.id, "cy", NOT_CONSISTENT)

    def test_a_case_without_risk_is_not_up_for_review(self, bench: Bench) -> None:
        with pytest.raises(Refusal, match="is not up for review"):
            bench.store.reviews.opine(bench.tenant.id, bench.reported().id, "ana", CONSISTENT)


def test_the_second_person_does_not_see_the_first_opinion(bench: Bench) -> None:
    case = bench.reported(risk=0.9)
    history = bench.store.reviews.history
    bench.store.reviews.opine(bench.tenant.id, case.id, "ana", CONSISTENT, "the stamp is deep")
    assert history(bench.tenant.id, case.id, "bo") == ()
    assert [opinion.note for opinion in history(bench.tenant.id, case.id, "ana")] == ["the stamp is deep"]
    assert bench.store.reviews.claim(bench.tenant.id, "bo").opinions == 1
    bench.store.reviews.opine(bench.tenant.id, case.id, "bo", CONSISTENT)
    assert [opinion.reviewer for opinion in history(bench.tenant.id, case.id, "bo")] == ["ana", "bo"]


def test_notes_are_not_written_to_the_audit_log(bench: Bench) -> None:
    case = bench.reported(risk=0.9)
    bench.store.reviews.opine(bench.tenant.id, case.id, "ana", CONSISTENT, "belongs to Mrs Smith")
    assert "Smith" not in str(bench.store.audit.entries(bench.tenant.id))
