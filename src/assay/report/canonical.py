"""One text for one value: JSON that can be hashed and signed, after RFC 8785 (JSON Canonicalization Scheme)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

from assay.errors import invalid

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

EXACT_INTEGER = 2**53 - 1  # larger ones are not the same in every reader
SIGNIFICANT_DIGITS = 6

_plain = json.JSONEncoder(ensure_ascii=False).encode


def rounded(number: float) -> float:
    """To SIGNIFICANT_DIGITS, so that the last bits of a computation do not show."""
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}")


def canonical(value: Json) -> bytes:
    """UTF-8 without spaces, keys in the order of UTF-16, numbers as ECMAScript writes them.

    Raises Refusal INVALID for what JSON cannot hold: NaN, infinities, integers beyond 2^53 - 1, lone surrogates.
    """
    try:
        return _text(value).encode()
    except UnicodeEncodeError as err:
        raise invalid(f"JSON text with a lone surrogate at {err.start}; expected Unicode characters alone") from err


def _text(value: Json) -> str:
    if value is None or isinstance(value, (bool, str)):
        return _plain(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_text(key)}:{_text(item)}" for key, item in members) + "}"
    return "[" + ",".join(map(_text, value)) + "]"


def _integer(value: int) -> str:
    if abs(value) > EXACT_INTEGER:
        raise invalid(f"JSON integer {value}; expected at most 2^53 - 1 in magnitude: write it as text")
    return str(value)


def _number(value: float) -> str:
    """As ECMAScript's Number::toString, of the shortest digits that read back as ``value``."""
    if not math.isfinite(value):
        raise invalid(f"JSON number {value}; expected a finite one")
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)  # finite
    return "-" * sign + _positional("".join(map(str, digits)), exponent)


def _positional(digits: str, exponent: int) -> str:
    """The number digits * 10^exponent; ``point`` is where the decimal point falls, counted from the first digit."""
    point = len(digits) + exponent
    if len(digits) <= point <= 21:
        return digits + "0" * exponent
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{mantissa}e{point - 1:+d}"
