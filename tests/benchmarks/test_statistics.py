"""Medians, ratios, geometric means and differences of outputs, on numbers worked out by hand."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from fusee.peers.statistics import Ratio, difference, fastest, geometric_mean, ratio_of_rounds, round_medians


def test_a_round_is_worth_its_median_not_its_mean() -> None:
    assert round_medians([[1.0, 2.0, 90.0], [4.0, 6.0]]) == (2.0, 5.0)


def test_ratios_are_formed_inside_rounds() -> None:
    # The machine is half as fast in the second round: for both alike, so the ratio does not move.
    assert ratio_of_rounds([30.0, 60.0, 33.0], [20.0, 40.0, 20.0]) == Ratio(median=1.5, low=1.5, high=1.65)


@pytest.mark.parametrize(("theirs", "ours"), [([1.0], [1.0, 2.0]), ([], [])])
def test_ratios_of_different_rounds_are_refused(theirs: list[float], ours: list[float]) -> None:
    message = f"ratios need the same rounds on both sides: theirs has {len(theirs)}, ours has {len(ours)}"
    with pytest.raises(ValueError, match=f"^{message}$"):
        ratio_of_rounds(theirs, ours)


def test_the_fastest_is_judged_by_its_median_round() -> None:
    assert fastest({"steady": [5.0, 5.0, 5.0], "lucky": [1.0, 9.0, 9.0]}) == "steady"
    assert fastest({}) is None


def test_the_geometric_mean_of_a_gain_and_the_same_loss_is_one() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert geometric_mean([0.9, 1.2, 1.0]) == pytest.approx(1.08 ** (1 / 3))


def test_the_geometric_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the geometric mean of no values$"):
        geometric_mean([])


def test_difference_is_a_share_of_each_outputs_own_range() -> None:
    reference = {"small": np.array([0.0, 1.0], np.float32), "large": np.array([0.0, 1000.0], np.float32)}
    found = {"small": np.array([0.0, 1.25], np.float32), "large": np.array([1.0, 1000.0], np.float32)}
    assert difference(reference, found) == pytest.approx(0.25)
    assert difference(reference, reference) == 0.0


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"y": np.zeros(3)},
        {"y": np.array([0.0, np.nan])},
        {"y": np.array([0.0, np.inf])},
    ],
    ids=["missing", "shape", "nan", "infinity"],
)
def test_wrong_outputs_differ_without_bound(found: dict[str, np.ndarray]) -> None:
    assert difference({"y": np.array([0.0, 1.0])}, found) == inf


def test_a_constant_output_must_be_met_exactly() -> None:
    assert difference({"y": np.full(3, 7.0)}, {"y": np.full(3, 7.0)}) == 0.0
    assert difference({"y": np.full(3, 7.0)}, {"y": np.full(3, 7.1)}) == inf
