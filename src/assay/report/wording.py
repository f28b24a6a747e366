"""What reports say in words: the verdicts, the limits, the way to appeal, and how to take each photograph."""

from __future__ import annotations

from typing import NamedTuple

from assay.cases import Fault, Verdict
from assay.views import View


class Phrase(NamedTuple):
    """A verdict as a person reads it."""

    headline: str
    meaning: str
    tone: str  # names a colour of the renderings


PHRASES = {
    Verdict.CONSISTENT: Phrase(
        "Consistent with the genuine references",
        "Nothing in the photographs sets this item apart from genuine examples of the claimed model by more than "
        "genuine examples differ among themselves.",
        "consistent",
    ),
    Verdict.INCONCLUSIVE: Phrase(
        "No conclusion from the photographs alone",
        "The photographs lie between what genuine examples show and what altered ones show. A specialist has to look "
        "at the item before anything is concluded.",
        "inconclusive",
    ),
    Verdict.NOT_CONSISTENT: Phrase(
        "Not consistent with the genuine references",
        "The photographs differ from genuine examples of the claimed model by more than those differ among "
        "themselves. That is a reason to examine the item; repair, wear, an unknown edition or the photography can "
        "also cause it. It is not a finding about where the item comes from.",
        "not-consistent",
    ),
    Verdict.NOT_SUPPORTED: Phrase(
        "This model cannot be judged here",
        "There are no suitable genuine references for the claimed model, or the photographs are unlike anything the "
        "thresholds were set with. Nothing is said about the item.",
        "not-supported",
    ),
    Verdict.NEEDS_PHOTOS: Phrase(
        "More photographs are needed",
        "Some photographs are missing or cannot be used. Nothing is said about the item; take the photographs named "
        "below and submit again.",
        "needs-photos",
    ),
}

LIMITS = (
    "This report compares photographs with enrolled photographs of genuine items and states how unusual the "
    "differences are. It is an opinion formed with statistical error, at the rates stated under Evidence, for items "
    "like those the thresholds were set with. It is not a valuation, a legal finding or a warranty of origin, and it "
    "holds for the photographed item as photographed."
)

APPEAL = (
    "Anyone affected may ask for a review by people: send this report's number to the business that issued it, with "
    "reasons, further photographs or papers. Reviewers judge independently of one another, a third decides where two "
    "disagree, and their decision replaces the automatic verdict. Review and decision are recorded."
)

ASSISTANCE = "AI-assisted: a program compared the photographs. People can review every verdict."

UNIT = "Scores count in standard deviations of genuine photographs: 0 is a usual genuine one."

GUIDANCE = {
    View.EXTERIOR: "The whole item from the front, upright, filling most of the picture, on a plain background.",
    View.LOGO: "The brand stamp or logo, straight from above, filling at least half of the picture.",
    View.STITCHING: "A straight run of stitches, about ten of them, from a hand's breadth, in even daylight.",
    View.HARDWARE: "One buckle, lock or zip pull, engraving in view, with the light from the side and no flash.",
    View.DATE_CODE: "The date code or serial tag, flat and sharp, every character readable.",
    View.LINING: "The inside lining with its weave or print, opened wide, with enough light.",
}

FAULTS = {
    Fault.TOO_SMALL: "Too few pixels",
    Fault.BLURRED: "Not sharp",
    Fault.TOO_DARK: "Too dark",
    Fault.TOO_BRIGHT: "Too bright",
    Fault.GLARE: "Glare",
    Fault.SUBJECT_TOO_SMALL: "Subject too small in the picture",
    Fault.WRONG_VIEW: "Shows another view",
    Fault.DUPLICATE_IN_CASE: "Same picture given twice",
    Fault.REUSED: "Picture seen in an earlier case",
}
