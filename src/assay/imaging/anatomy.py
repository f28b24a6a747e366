"""An encoded picture taken apart without decoding: what its pixels come from, and everything else.

A decoder is shown the first alone. Metadata cannot swell there (a colour profile or a text of a PNG unpacks to a
thousand times its size), and nothing that merely travels with a picture is ever parsed by a library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.errors import Reason, Refusal

MOST_PARTS = 20_000
"""Segments or chunks of one file: 20 MiB in PNG chunks of 4 KiB are 5,000, a phone's JPEG has fewer than 500."""

SAVE_AGAIN = "Save the photo again as JPEG with the phone's gallery, or take it anew."


@dataclass(frozen=True)
class Anatomy:
    """One encoded picture inside a file."""

    media_type: str
    width: int  # pixels, as the header tells them, before EXIF turns the picture
    height: int
    essence: bytes  # the picture again, of what makes its pixels and says which way is up
    asides: Sequence[bytes]  # what was left out, and EXIF
    end: int  # of the picture in the file: what stands behind it is a trailer
    has_previews: bool = False  # it says that more pictures follow (CIPA DC-007, "multi-picture format")
    has_video: bool = False  # it says that a video follows (Android's "motion photo")


def cut_short(kind: str, size_bytes: int) -> Refusal:
    return Refusal(
        Reason.UNREADABLE,
        f"the {kind} breaks off after {size_bytes} bytes, before its end; expected a whole file. Send the photo again.",
    )


def broken(kind: str, at: int, found: str) -> Refusal:
    message = f"the {kind} is damaged at byte {at}: {found}. {SAVE_AGAIN}"
    return Refusal(Reason.UNREADABLE, message)


def animated(kind: str) -> Refusal:
    return Refusal(
        Reason.UNSUPPORTED_MEDIA,
        f"an animated {kind}; expected one still photograph as JPEG, PNG or WebP. {SAVE_AGAIN}",
    )


def check_count(kind: str, parts: int, most: int = MOST_PARTS, of: str = "parts") -> None:
    """Raises Refusal INVALID for a file of more parts than a camera writes."""
    if parts > most:
        raise Refusal(Reason.INVALID, f"the {kind} has more than {most} {of}; no camera writes that. {SAVE_AGAIN}")
