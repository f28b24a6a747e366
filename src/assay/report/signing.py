"""Issuing reports: the installation's key, and the document it signs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assay.errors import invalid
from assay.report.canonical import Json, canonical, rounded
from assay.report.document import Findings, Stage
from assay.report.result import result

FORMAT = "assay-report/1"
KEYS_FORMAT = "assay-keys/1"
ALGORITHM = "Ed25519"


class Signer:
    """The installation's Ed25519 key, made at first use in a file that its owner alone can read.

    Raises Refusal INVALID when the file holds something else, cannot be read, or cannot be made.
    """

    def __init__(self, key_file: Path) -> None:
        try:
            self._key = _read_key(key_file) if key_file.exists() else _make_key(key_file)
        except OSError as err:
            raise invalid(
                f"{key_file}: the signing key can be neither read nor made there: {err.strerror}; put the "
                "installation's key there, or name its place by the setting signing_key_path"
            ) from err

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        return key_id(self.public_key)

    @property
    def keys(self) -> dict[str, bytes]:
        """What ``verify`` asks for."""
        return {self.key_id: self.public_key}

    def sign(self, content: bytes) -> bytes:
        return self._key.sign(content)


def key_id(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()[:16]


def _read_key(key_file: Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key_file.read_text()))
    except ValueError as err:
        raise invalid(
            f"{key_file}: not a signing key; expected 32 bytes in hexadecimal: restore the file from a backup, "
            "or remove it to begin with a new key"
        ) from err


def _make_key(key_file: Path) -> Ed25519PrivateKey:
    """A new key, unless another process has just made one: written aside, then linked, so that no reader ever meets
    half a key and only one of them becomes the key."""
    key = Ed25519PrivateKey.generate()
    descriptor, written = mkstemp(prefix=f"{key_file.name}.", dir=key_file.parent)  # for the owner alone: mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(key.private_bytes_raw().hex())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(written, key_file)
    except FileExistsError:
        return _read_key(key_file)
    finally:
        os.unlink(written)
    return key


def public_keys_document(signer: Signer, earlier: Mapping[str, bytes] | None = None) -> bytes:
    """The keys that reports are verified with, for publication; ``earlier`` are those of replaced signers."""
    keys = {**(earlier or {}), **signer.keys}
    entries = [{"id": name, "algorithm": ALGORITHM, "public_key": keys[name].hex()} for name in sorted(keys)]
    return canonical({"format": KEYS_FORMAT, "keys": entries})


def issue(
    findings: Findings,
    report_id: str,
    issued_at: datetime,
    stages: Sequence[Stage],
    signer: Signer,
    audit_head: str = "",
    valid_until: datetime | None = None,
) -> bytes:
    """The signed report, in canonical JSON. ``audit_head`` is the hash of the last audit entry before it."""
    found = result(findings)
    content: dict[str, Json] = {
        "format": FORMAT,
        "id": report_id,
        "issued_at": issued_at.isoformat(),
        "valid_until": None if valid_until is None else valid_until.isoformat(),
        "audit_head": audit_head,
        "result": found,
        "result_sha256": hashlib.sha256(canonical(found)).hexdigest(),
        "stages": [{"name": stage.name, "ms": rounded(stage.ms)} for stage in stages],
    }
    signature = signer.sign(canonical(content)).hex()
    return canonical(content | {"signature": {"algorithm": ALGORITHM, "key": signer.key_id, "value": signature}})
