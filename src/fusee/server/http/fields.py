"""Fields of JSON objects that came in, checked. ``where`` begins the message of what is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from fusee.server.errors import invalid
from fusee.server.types import Json
from fusee.server.wire import Buffer

_LARGEST_INT = 2**63 - 1


def parsed(content: Buffer, where: str, depth: int) -> dict[str, Json]:
    """A JSON object, nested up to ``depth``. Raises ServingError, as all here do."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as err:
        raise invalid(f"{where} is no JSON: {err}") from err
    _check_depth(document, depth)
    return checked_object(document, where)


def checked_object(value: Json, where: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise invalid(f"{where} is to be a JSON object")
    return value


def parameters(entry: Mapping[str, Json], where: str) -> dict[str, Json]:
    return checked_object(entry.get("parameters", {}), f"'parameters' of {where}")


def is_scalar(value: Json) -> bool:
    """Whether a parameter of that value goes on to models and repositories."""
    return isinstance(value, (bool, int, float, str))


def whole(value: Json) -> int | None:
    """A JSON number without a fraction that fits into 64 bits, however it is written: 8 and 8.0 are the same number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and abs(value) <= _LARGEST_INT else None


def natural(fields: Mapping[str, Json], name: str, where: str) -> int:
    """A size or count; 0 when missing."""
    value = whole(fields.get(name, 0))
    if value is None or value < 0:
        raise invalid(f"{where}: {name!r} is to be a whole number, 0 or above")
    return value


def flag(fields: Mapping[str, Json], name: str, where: str, default: bool = False) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise invalid(f"{where}: {name!r} is to be true or false")
    return value


def require(fields: Mapping[str, Json], where: str, *names: str) -> None:
    """Refuse an object without a field of each name."""
    for name in names:
        if name not in fields:
            raise invalid(f"{where} has no {name!r}")


def _check_depth(document: Json, limit: int) -> None:
    level, depth = [document], 0
    while level := [v for v in level if isinstance(v, (list, dict))]:
        depth += 1
        if depth > limit:
            raise invalid(f"the JSON is nested more than {limit} deep")
        level = [v for c in level for v in (c.values() if isinstance(c, dict) else c)]
