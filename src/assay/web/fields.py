"""Fields of JSON bodies and of query strings, read with errors that say where and what was expected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from assay.errors import Refusal, invalid

E = TypeVar("E", bound=Enum)
TEXT_MOST = 200


class Fields:
    """Named values that came from outside. Every reader raises Refusal INVALID."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self._where = where

    def only(self, *names: str) -> Fields:
        """Refuses fields of other names: a misspelt one is not ignored."""
        unknown = sorted(self._values.keys() - set(names))
        if unknown:
            raise invalid(f"{self._where}: unknown field {unknown[0][:60]!r}; there are {', '.join(names)}")
        return self

    def within(self, name: str) -> Fields:
        """An object inside."""
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return Fields(value, f"{self._where}.{name}")

    def text(self, name: str, least: int = 0, most: int = TEXT_MOST, default: str = "") -> str:
        """Without spaces around it, one line or several, no control characters but line breaks and tabs."""
        value = self._values.get(name, default)
        expected = f"text of {least} to {most} characters"
        if not isinstance(value, str):
            raise self._wrong(name, expected)
        value = value.strip()
        if not least <= len(value) <= most or any(not (c.isprintable() or c in "\n\t") for c in value):
            raise self._wrong(name, expected)
        return value

    def choice(self, name: str, kind: type[E], default: E | None = None) -> E:
        value = self._values.get(name, default.value if default else None)
        for member in kind:
            if member.value == value:
                return member
        raise self._wrong(name, f"one of {', '.join(str(m.value) for m in kind)}")

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number, or its digits as text."""
        value = self._values.get(name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, f"a whole number of {least} to {most}")
        return value

    def texts(self, name: str, most: int) -> list[str]:
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > most or not all(isinstance(text, str) for text in value):
            raise self._wrong(name, f"a list of at most {most} texts")
        return value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def _wrong(self, name: str, expected: str) -> Refusal:
        found = repr(self._values[name])[:60] if name in self._values else "missing"
        return invalid(f"{self._where}.{name} is {found}; expected {expected}")


def json_fields(content: bytes) -> Fields:
    """The fields of a JSON object. Raises Refusal INVALID."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as err:
        raise invalid(f"the body is not JSON ({err}); expected an object") from err
    if not isinstance(values, dict):
        raise invalid(f"the body is JSON of type {type(values).__name__}; expected an object")
    return Fields(values, "body")
