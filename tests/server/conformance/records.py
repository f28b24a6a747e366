"""What a client got, in a form that can be written down and compared: JSON without what changes from run to run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Record = Any  # what json.loads gives
SHOWN_BYTES = 64  # of an array; larger ones are written as their digest


def array_record(array: np.ndarray | None) -> Record:
    """An array, bit by bit."""
    if array is None:
        return None
    if array.dtype == object:
        values = [v.decode("latin1") if isinstance(v, bytes) else str(v) for v in array.reshape(-1)]
        return {"type": "bytes", "shape": list(array.shape), "values": values}
    content = np.ascontiguousarray(array).tobytes()
    shown = content.hex() if len(content) <= SHOWN_BYTES else hashlib.sha256(content).hexdigest()
    return {"type": array.dtype.name, "shape": list(array.shape), "values": shown}


def error_record(status: str | None, message: str | None, names: tuple[str, ...]) -> Record:
    """An error: its status, and which of ``names`` its message contains. The words are each server's own."""
    text = (message or "").lower()
    return {"error": {"status": status, "names": {name: True for name in names if name.lower() in text}}}


def flat(record: Record, path: str = "") -> Iterator[tuple[str, Record]]:
    """The leaves of a record with their paths; an empty list or object is a leaf."""
    if isinstance(record, Mapping) and record:
        for key, value in record.items():
            yield from flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(record, list) and record:
        for index, value in enumerate(record):
            yield from flat(value, f"{path}.{index}")
    else:
        yield path, record


def differences(ours: Record, theirs: Record) -> dict[str, tuple[Record, Record]]:
    """The leaves in which two records differ, by path; None where one lacks it. A message of ours may name more."""
    left, right = dict(flat(ours)), dict(flat(theirs))
    return {
        path: (left.get(path), right.get(path))
        for path in sorted({*left, *right})
        if (left.get(path) != right.get(path) or (path in left) != (path in right)) and not _names_more(path, right)
    }


def _names_more(path: str, theirs: Mapping[str, Record]) -> bool:
    return (".names." in path and path not in theirs) or path.endswith("error.names")
