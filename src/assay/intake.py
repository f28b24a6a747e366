"""What photographs are found to be beside others: twice in one case, of an earlier case, of another view.

These findings depend on what lies beside a photograph, which changes while a case is a draft: they are made anew where
they are needed and not kept with the photograph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from assay.cases import Fault, Finding, Photo
from assay.evidence import SAME_PICTURE_BITS
from assay.imaging.hashing import hamming
from assay.views import VIEWS, View
from assay.vision.lens import Floats

LEAST_VIEW_PROBABILITY = 0.5
"""Below it, with another view likelier, a photograph is taken to show the other."""


def repeated(photos: Mapping[View, Photo]) -> dict[View, tuple[Finding, ...]]:
    """One picture given for two views: found with both."""
    found: dict[View, tuple[Finding, ...]] = {}
    for view, other in combinations([view for view in VIEWS if view in photos], 2):
        bits = hamming(photos[view].perceptual_hash, photos[other].perceptual_hash)
        if photos[view].sha256 == photos[other].sha256 or bits <= SAME_PICTURE_BITS:
            found[view] = (*found.get(view, ()), _twice(bits, other))
            found[other] = (*found.get(other, ()), _twice(bits, view))
    return found


def _twice(bits: int, other: View) -> Finding:
    advice = f"This is the same picture as for the {other.title}. Take one of each."
    return Finding(Fault.DUPLICATE_IN_CASE, bits, SAME_PICTURE_BITS, advice)


def reused(earlier: Sequence[tuple[str, View, str]]) -> tuple[Finding, ...]:
    """``earlier``: case, view and how the picture is the same, as the store finds them. Noted, not blocking: an item
    may come a second time."""
    if not earlier:
        return ()
    case_id, view, how = earlier[0]
    advice = f"This picture came before: case {case_id}, {view.title} ({how}). Take a new one of this item."
    return (Finding(Fault.REUSED, len(earlier), 0, advice, is_blocking=False),)


def wrong_view(view: View, seen: Floats) -> tuple[Finding, ...]:
    """``seen`` are the probabilities of the views, as the photo engine gives them."""
    likeliest = VIEWS[int(seen.argmax())]
    probability = float(seen[VIEWS.index(view)])
    if likeliest is view or probability >= LEAST_VIEW_PROBABILITY:
        return ()
    advice = f"This looks like the {likeliest.title}. Here we need the {view.title}."
    return (Finding(Fault.WRONG_VIEW, probability, LEAST_VIEW_PROBABILITY, advice),)
