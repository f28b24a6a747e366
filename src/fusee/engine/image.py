"""Compiled code as data: position-independent bytes, ready to be mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class CodeImage:
    """Machine code, then from the next page on read-only data; it runs wherever it is mapped.

    ``code_bytes`` is the length of the part that is mapped executable, a whole number of 4 KiB pages. ``symbols``
    maps function names to offsets in that part.
    """

    data: bytes | memoryview
    code_bytes: int
    symbols: Mapping[str, int]
