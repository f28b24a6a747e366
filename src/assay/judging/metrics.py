"""How well scores and maps do, on cases whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.vision.lens import Floats


class RiskCoverage(NamedTuple):
    """What is risked when only the surest part is decided; both have one value for each distinct confidence."""

    coverage: NDArray[np.float64]  # share of cases decided, ascending
    risk: NDArray[np.float64]  # share of those that are wrong


def auroc(genuine: Sequence[float], altered: Sequence[float]) -> float:
    """The probability that an altered case scores higher than a genuine one; ties count half."""
    assert len(genuine), "no genuine scores"
    assert len(altered), "no altered scores"
    ordered = np.sort(np.asarray(genuine, np.float64))
    below = np.searchsorted(ordered, altered, "left")
    up_to = np.searchsorted(ordered, altered, "right")
    return float((below + up_to).sum() / (2 * len(ordered) * len(altered)))


def risk_coverage(confidences: Sequence[float], is_wrong: Sequence[bool]) -> RiskCoverage:
    """Cases of equal confidence are decided together."""
    assert len(confidences) == len(is_wrong), "one confidence for each case"
    assert len(confidences), "no cases"
    order = np.argsort(-np.asarray(confidences, np.float64), kind="stable")
    ordered = np.asarray(confidences, np.float64)[order]
    errors = np.cumsum(np.asarray(is_wrong, np.float64)[order])
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    decided = (last + 1).astype(np.float64)
    return RiskCoverage(decided / len(ordered), errors[last] / decided)


def pointing_hit(distance_map: Floats, mask: NDArray[np.bool_]) -> bool:
    """Whether the map's peak lies in the mask: the pointing game (Zhang et al., ECCV 2016) without tolerance."""
    assert distance_map.shape == mask.shape, f"a map of {distance_map.shape} and a mask of {mask.shape}"
    return bool(mask.flat[int(np.argmax(distance_map))])
