"""Names that the store gives, and text that it takes."""

from __future__ import annotations

import secrets

from assay.errors import invalid

MOST_CHARACTERS = 500


def new_id(kind: str) -> str:
    """Not to be guessed, nor to collide: 96 random bits after the kind."""
    return f"{kind}_{secrets.token_hex(12)}"


def is_id(text: str) -> bool:
    """Whether it can be an id at all. What cannot is not asked for: PostgreSQL refuses some characters."""
    return 0 < len(text) <= 64 and text.isascii() and text.isprintable()


def check_text(what: str, text: str, most: int = MOST_CHARACTERS) -> str:
    """The text, if both databases can keep it. Raises Refusal INVALID."""
    if len(text) > most:
        raise invalid(f"{what} has {len(text)} characters; expected at most {most}")
    strange = next((c for c in text if c == "\0" or 0xD800 <= ord(c) < 0xE000), None)
    if strange is not None:
        raise invalid(f"{what} holds the character U+{ord(strange):04X}; expected text")
    return text
