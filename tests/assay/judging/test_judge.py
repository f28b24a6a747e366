"""The gates in their order, the verdicts, and what is said of them."""

from __future__ import annotations

import pytest
from tests.assay.judging.bench import CLAIM, ITEMS, SNAPSHOT, CaseOf, everywhere, near_other

from assay.cases import Claim, Fault, Finding, Verdict
from assay.errors import Reason, Refusal
from assay.judging import calibrate
from assay.views import VIEWS, View

BLURRED = Finding(Fault.BLURRED, 3.0, 10.0, "Hold the camera still.")


def test_a_genuine_item_is_consistent() -> None:
    found = CaseOf().judged()
    assert found.verdict is Verdict.CONSISTENT
    assert found.score == pytest.approx(0.0, abs=1e-4)
    assert found.confidence == pytest.approx(1 - 1 / 201)
    assert found.meaning == (
        "Of altered items like those of the calibration set, at most 5 in 1000 look as consistent as this."
    )
    assert found.reasons[0].startswith("All photographs look as those of genuine Aurelle Cabas do; the ")
    assert tuple(found.views) == VIEWS
    assert found.missing == ()
    assert found.not_checked


def test_one_altered_view_is_enough() -> None:
    case = CaseOf(one_class={View.STITCHING: 60.0}, metric={View.STITCHING: 12.0}, hot=(150, 20))
    found = case.judged()
    assert found.verdict is Verdict.NOT_CONSISTENT
    said = found.views[View.STITCHING].score
    expected = f"The stitching photograph is {said:.1f} deviations from genuine ones; hottest at the left third."
    assert found.reasons == (expected,)
    assert found.views[View.STITCHING].hottest == pytest.approx((20.5 / 320, 150.5 / 320))
    assert found.confidence == pytest.approx(1 - 1 / 201)
    assert "at most 5 in 1000 look as far from the references as this" in found.meaning


def test_reasons_come_weightiest_first() -> None:
    found = CaseOf(one_class={View.LOGO: 40.0, View.LINING: 400.0}, metric={View.LOGO: 6.0, View.LINING: 10.0}).judged()
    assert [reason.split(" photograph")[0] for reason in found.reasons] == ["The lining", "The logo"]


def test_between_the_thresholds_a_person_has_to_look() -> None:
    found = CaseOf(one_class=everywhere(2.0), metric=everywhere(2.0)).judged()
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.score == pytest.approx(1.6, abs=0.2)
    assert "between 1.0 (consistent) and 3.0 (not consistent): a person has to look." in found.reasons[0]
    assert found.confidence is not None
    assert found.meaning.startswith("Neither is shown: ")


def test_missing_and_unusable_photographs_come_first() -> None:
    found = CaseOf(missing=(View.LINING,), findings={View.LOGO: (BLURRED,)}, snapshot=None).judged()
    assert found.verdict is Verdict.NEEDS_PHOTOS
    assert found.reasons == (
        "The photograph of the lining is missing.",
        "Photograph of the logo: Hold the camera still.",
    )
    assert found.missing == (View.LINING,)
    assert (found.score, found.confidence) == (None, None)
    assert found.findings == {View.LOGO: (BLURRED,)}


def test_what_was_compared_is_kept_when_a_photograph_is_missing() -> None:
    found = CaseOf(missing=(View.LINING,)).judged()
    assert found.verdict is Verdict.NEEDS_PHOTOS
    assert tuple(found.views) == VIEWS[:-1]


def test_findings_that_do_not_block_are_only_noted() -> None:
    note = Finding(Fault.TOO_DARK, 3.0, 10.0, "Turn the light on.", is_blocking=False)
    found = CaseOf(findings={View.LOGO: (note,)}).judged()
    assert found.verdict is Verdict.CONSISTENT
    assert found.findings == {View.LOGO: (note,)}


def test_a_photograph_of_another_view_has_to_be_taken_again() -> None:
    found = CaseOf(seen_as={View.LOGO: (View.HARDWARE, 0.95)}).judged()
    assert found.verdict is Verdict.NEEDS_PHOTOS
    (finding,) = found.findings[View.LOGO]
    assert finding.fault is Fault.WRONG_VIEW
    assert (finding.measured, finding.limit) == (pytest.approx(0.01), 0.5)
    assert finding.advice == "This looks like the hardware. Here we need the logo."


@pytest.mark.parametrize("seen_as", [(View.LOGO, 0.55), (View.LOGO, 0.3)])
def test_a_doubtful_view_is_let_pass(seen_as: tuple[View, float]) -> None:
    assert CaseOf(seen_as={View.LOGO: seen_as}).judged().verdict is Verdict.CONSISTENT


def test_a_view_finding_is_not_said_twice() -> None:
    known = Finding(Fault.WRONG_VIEW, 0.9, 0.9, "Known already.")
    found = CaseOf(seen_as={View.LOGO: (View.HARDWARE, 0.95)}, findings={View.LOGO: (BLURRED, known)}).judged()
    assert found.findings[View.LOGO] == (BLURRED, known)


def test_a_model_that_is_not_enrolled() -> None:
    found = CaseOf(snapshot=None).judged()
    assert found.verdict is Verdict.NOT_SUPPORTED
    assert found.reasons == ("There are no references of Aurelle Cabas; enrol genuine photographs of it first.",)
    assert (found.score, found.confidence, found.views) == (None, None, {})


def test_photographs_unlike_anything_calibrated() -> None:
    found = CaseOf(metric=everywhere(20.0)).judged()
    assert found.verdict is Verdict.NOT_SUPPORTED
    assert "no case of the calibration set was from 4.0 on" in found.reasons[0]
    assert (found.score, found.confidence) == (None, None)
    assert tuple(found.views) == VIEWS


def test_three_strange_views_are_altered_ones_and_four_another_model() -> None:
    three, four = dict.fromkeys(VIEWS[:3], 20.0), dict.fromkeys(VIEWS[:4], 20.0)
    assert CaseOf(metric=three, one_class=three).judged().verdict is Verdict.NOT_CONSISTENT
    assert CaseOf(metric=four, one_class=four).judged().verdict is Verdict.NOT_SUPPORTED


def test_an_item_that_is_clearly_of_another_enrolled_model() -> None:
    found = CaseOf(neighbours=dict(near_other(0.2, views=4))).judged()  # its own nearest are 0.3 away
    assert found.verdict is Verdict.NOT_SUPPORTED
    assert found.reasons == (
        "In 4 of 6 photographs the item looks clearly more like Brionne Sac 24 than like Aurelle Cabas. Submit it as "
        "that model if it is one.",
    )


@pytest.mark.parametrize(
    ("distance", "views", "claim"),
    [(0.2, 3, Claim("Brionne", "Sac 24")), (0.25, 6, Claim("Brionne", "Sac 24")), (0.1, 6, CLAIM)],
)
def test_a_resemblance_that_is_not_clear_changes_nothing(distance: float, views: int, claim: Claim) -> None:
    assert CaseOf(neighbours=dict(near_other(distance, views, claim))).judged().verdict is Verdict.CONSISTENT


def test_thresholds_of_another_network_are_refused() -> None:
    scores = [float(i) for i in range(149)]
    with pytest.raises(
        Refusal, match="the thresholds: made with network younger, but the references of Aurelle Cabas with network;"
    ) as refused:
        CaseOf(calibration=calibrate(scores, scores, [1.0], "younger")).judged()
    assert refused.value.reason is Reason.UNAVAILABLE


def test_neighbours_are_the_nearest_of_the_claimed_model() -> None:
    found = CaseOf(neighbours=dict(near_other(0.29, 6))).judged().views[View.LOGO].neighbours
    assert [n.claim for n in found] == [CLAIM] * 3
    assert found[0].photo.item == "item 0"
    assert found[0].distance == pytest.approx(0.3, abs=1e-6)
    assert [n.distance for n in found] == sorted(n.distance for n in found)


def test_the_same_case_gives_the_same_judgement() -> None:
    case = CaseOf(one_class={View.LOGO: 3.0}, metric=everywhere(0.7))
    assert case.judged() == case.judged()
    assert len(SNAPSHOT.views[View.LOGO].photos) == ITEMS
