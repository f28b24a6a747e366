"""Whether a document is a report that was issued, unchanged and still in force."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from assay.errors import Refusal, invalid
from assay.report.canonical import canonical
from assay.report.signing import ALGORITHM, FORMAT, KEYS_FORMAT, key_id

MEMBERS = {"format", "id", "issued_at", "valid_until", "audit_head", "result", "result_sha256", "stages", "signature"}
TEXT_MEMBERS = ("id", "issued_at", "audit_head", "result_sha256")
SIGNATURE_MEMBERS = {"algorithm", "key", "value"}
SIGNATURE_VALUE = re.compile(r"[0-9a-f]{128}")
KEY_BYTES = 32
MOST_BYTES = 4 * 1024 * 1024  # of a document that is offered for verification


class Check(NamedTuple):
    """One thing that was verified."""

    name: str  # format, digest, key, signature, validity
    passed: bool
    detail: str  # what was found, in a sentence


@dataclass(frozen=True)
class Verified:
    """What there is to say about a document. The fields after ``checks`` are '' when it has no readable format."""

    checks: tuple[Check, ...]
    report_id: str = ""
    issued_at: str = ""
    verdict: str = ""
    result_sha256: str = ""
    key_id: str = ""

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


def verify(
    document: bytes, keys: Mapping[str, bytes], revoked: Collection[str] = (), at: datetime | None = None
) -> Verified:
    """Whether ``document`` is a report, byte for byte as one of ``keys`` (by id) signed it, and still in force.

    ``revoked`` are ids of reports withdrawn; ``at`` is the moment for which a limited validity is judged.
    """
    try:
        content = _read(document)
    except Refusal as err:
        return Verified((Check("format", False, err.message),))
    checks = (
        Check("format", True, f"A report of format {FORMAT}."),
        _digest_check(content),
        _key_check(content, keys),
        _signature_check(content, keys),
        _validity_check(content, revoked, at),
    )
    verdict, signed_by = content["result"]["verdict"], content["signature"]["key"]
    return Verified(checks, content["id"], content["issued_at"], verdict, content["result_sha256"], signed_by)


def read_public_keys(document: bytes) -> dict[str, bytes]:
    """The keys that an issuer published. Raises Refusal INVALID for anything else than ``public_keys_document``."""
    try:
        published = json.loads(document)
        keys = [bytes.fromhex(entry["public_key"]) for entry in published["keys"]]
        named = {entry["id"]: key for entry, key in zip(published["keys"], keys, strict=True)}
    except (ValueError, TypeError, KeyError, RecursionError) as err:
        raise invalid(f"Not a list of keys; expected JSON of format {KEYS_FORMAT} as the issuer publishes it.") from err
    misnamed = [name for name, key in named.items() if len(key) != KEY_BYTES or key_id(key) != name]
    if published.get("format") != KEYS_FORMAT or misnamed:
        found = f"key {misnamed[0]} is not what its id says" if misnamed else f"format {published.get('format')!r}"
        raise invalid(f"The list of keys has {found}; expected format {KEYS_FORMAT} as the issuer publishes it.")
    return named


def reproduces(document: bytes, other: bytes) -> bool:
    """Whether two reports hold the same bytes of result. Raises Refusal INVALID when one is not a report."""
    return canonical(_read(document)["result"]) == canonical(_read(other)["result"])


def _read(document: bytes) -> dict[str, Any]:
    if len(document) > MOST_BYTES:
        raise invalid(f"The document has {len(document)} bytes; a report has at most {MOST_BYTES}.")
    try:
        content = json.loads(document, parse_int=float)  # as in every reader of JSON; the text stays the same
    except (ValueError, RecursionError) as err:
        raise invalid("The document is not JSON; expected the report's JSON file as it was downloaded.") from err
    _expect_members(content)
    try:
        same = canonical(content) == document
    except (Refusal, RecursionError):
        same = False
    if not same:
        raise invalid("The document is written otherwise than it was issued; expected the file as it was downloaded.")
    return content


def _expect_members(content: Any) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise invalid(f"The document is not a report; expected JSON of format {FORMAT}.")
    if content.keys() != MEMBERS:
        odd = sorted(content.keys() ^ MEMBERS)
        raise invalid(f"The document lacks or adds {', '.join(odd)}; expected {', '.join(sorted(MEMBERS))}.")
    for name in TEXT_MEMBERS:
        if not isinstance(content[name], str):
            raise invalid(f"The document's {name} is {type(content[name]).__name__}; expected text.")
    if not isinstance(content["result"], dict) or not isinstance(content["result"].get("verdict"), str):
        raise invalid("The document's result has no verdict.")
    _expect_signature(content["signature"])
    _expect_moment(content["valid_until"])


def _expect_signature(signature: Any) -> None:
    if not isinstance(signature, dict) or signature.keys() != SIGNATURE_MEMBERS:
        raise invalid("The document's signature is malformed; expected algorithm, key and value.")
    value = signature["value"]
    is_well_formed = isinstance(signature["key"], str) and isinstance(value, str) and SIGNATURE_VALUE.fullmatch(value)
    if signature["algorithm"] != ALGORITHM or not is_well_formed:
        raise invalid(f"The document's signature is malformed; expected {ALGORITHM}, a key id and 128 hex digits.")


def _expect_moment(moment: Any) -> None:
    if moment is None:
        return
    try:
        is_aware = isinstance(moment, str) and datetime.fromisoformat(moment).tzinfo is not None
    except ValueError:
        is_aware = False
    if not is_aware:
        raise invalid(f"The document's valid_until is {moment!r}; expected an ISO 8601 time with its zone, or null.")


def _digest_check(content: dict[str, Any]) -> Check:
    stated, computed = content["result_sha256"], hashlib.sha256(canonical(content["result"])).hexdigest()
    if stated == computed:
        return Check("digest", True, f"The result has the stated digest {computed}.")
    return Check("digest", False, f"The result's digest is {computed}; the document states {stated}.")


def _key_check(content: dict[str, Any], keys: Mapping[str, bytes]) -> Check:
    name = content["signature"]["key"]
    if name in keys:
        return Check("key", True, f"Key {name} is one of the issuer's published keys.")
    return Check("key", False, f"Key {name} is not one of the issuer's published keys.")


def _signature_check(content: dict[str, Any], keys: Mapping[str, bytes]) -> Check:
    signature = content["signature"]
    if signature["key"] not in keys:
        return Check("signature", False, "Not checked: the key is unknown.")
    signed = canonical({name: value for name, value in content.items() if name != "signature"})
    try:
        Ed25519PublicKey.from_public_bytes(keys[signature["key"]]).verify(bytes.fromhex(signature["value"]), signed)
    except InvalidSignature:
        return Check("signature", False, "The content was changed after it was signed, or was never signed.")
    return Check("signature", True, "The content is exactly what the key signed.")


def _validity_check(content: dict[str, Any], revoked: Collection[str], at: datetime | None) -> Check:
    if content["id"] in revoked:
        return Check("validity", False, "The issuer has withdrawn this report.")
    until = content["valid_until"]
    if until is not None and at is not None and at > datetime.fromisoformat(until):
        return Check("validity", False, f"The report was valid until {until}.")
    return Check("validity", True, "The report is in force.")
