"""A calibration as a file: JSON that carries the SHA-256 of its own content."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, fields, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from assay.errors import Refusal, unavailable
from assay.judging.judgement import Calibration

_SEQUENCES = {"genuine_scores", "altered_scores"}
_TEXTS = {"model_digest", "digest"}


def sealed(calibration: Calibration) -> Calibration:
    """The same with its digest: SHA-256 over the canonical JSON of all other fields, in hex."""
    document = asdict(calibration)
    del document["digest"]
    content = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return replace(calibration, digest=hashlib.sha256(content.encode()).hexdigest())


def write_calibration(file: Path, calibration: Calibration) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=file.parent, prefix=".calibration-", delete=False) as new:
        json.dump(asdict(calibration), new, indent=1, allow_nan=False)
        new.flush()
        os.fsync(new.fileno())
    Path(new.name).replace(file)


def read_calibration(file: Path) -> Calibration:
    """Raises Refusal UNAVAILABLE when there is none, or it is not what was written."""
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError as err:
        raise unavailable(f"{file} is not there; make it with `assay calibrate`") from err
    except ValueError as err:
        raise _damaged(file, f"is not JSON: {err}") from err
    calibration = _from_document(file, document)
    if sealed(calibration).digest != calibration.digest:
        raise _damaged(file, f"has digest {sealed(calibration).digest}, expected {calibration.digest} as it says")
    return calibration


def _from_document(file: Path, document: Any) -> Calibration:
    names = {field.name for field in fields(Calibration)}
    if not isinstance(document, dict) or document.keys() != names:
        raise _damaged(file, f"is no object of {', '.join(sorted(names))}")
    for name in sorted(names):
        if not _fits(name, document[name]):
            raise _damaged(file, f"has a {name} of another type than a calibration's")
    values: dict[str, Any] = document | {name: tuple(document[name]) for name in _SEQUENCES}
    return Calibration(**values)


def _fits(name: str, value: Any) -> bool:
    if name in _TEXTS:
        return isinstance(value, str)
    if name in _SEQUENCES:
        return isinstance(value, list) and all(isinstance(v, float) for v in value)
    return isinstance(value, float)


def _damaged(file: Path, what: str) -> Refusal:
    return unavailable(f"{file} {what}; restore it from a backup, or make it again with `assay calibrate`")
