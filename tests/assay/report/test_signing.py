import hashlib
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.cases import Verdict
from assay.errors import Refusal
from assay.report.canonical import canonical
from assay.report.document import Stage
from assay.report.result import result
from assay.report.signing import Signer, issue, key_id, public_keys_document
from assay.report.verification import read_public_keys, reproduces, verify

LATER = datetime(2027, 1, 1, tzinfo=UTC)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def keyed(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.dictionaries(st.sampled_from(["format", "keys", "id", "public_key"]), values)


def failed(document: bytes, signer: Signer, **circumstances) -> list[str]:
    return [check.name for check in verify(document, signer.keys, **circumstances).failures]


@pytest.mark.parametrize("verdict", Verdict)
def test_every_report_is_of_the_schema_and_verifies(reported, signer, verdict) -> None:
    document = reported(verdict).document
    schema = json.loads((files("assay.report") / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(document), schema)
    verified = verify(document, signer.keys)
    assert verified.passed
    assert [check.name for check in verified.checks] == ["format", "digest", "key", "signature", "validity"]
    assert (verified.report_id, verified.verdict, verified.key_id) == ("rep-01", verdict.value, signer.key_id)


def test_the_result_does_not_depend_on_when_it_was_issued_nor_by_whom(reported, key_file) -> None:
    first = reported(Verdict.NOT_CONSISTENT)
    again = issue(first.findings, "rep-02", LATER, [Stage("look", 9.9)], Signer(key_file), "77")
    assert reproduces(first.document, again)
    assert canonical(result(first.findings)) == canonical(json.loads(again)["result"])
    assert not reproduces(first.document, reported(Verdict.CONSISTENT).document)


def test_the_result_holds_no_times(reported) -> None:
    assert b"2026" not in canonical(result(reported().findings))


def test_the_stated_digest_is_that_of_the_canonical_result(reported) -> None:
    report = json.loads(reported().document)
    assert report["result_sha256"] == hashlib.sha256(canonical(report["result"])).hexdigest()


@settings(deadline=None)
@given(st.data())
def test_a_changed_byte_is_found(reported, signer, data) -> None:
    document = bytearray(reported().document)
    place = data.draw(st.integers(0, len(document) - 1))
    document[place] ^= data.draw(st.integers(1, 255))
    assert not verify(bytes(document), signer.keys).passed


@settings(deadline=None)
@given(st.data())
def test_a_changed_field_is_found(reported, signer, data) -> None:
    report = json.loads(reported().document)
    holder, key = data.draw(st.sampled_from(list(places(report))))
    holder[key] = data.draw(st.sampled_from([None, "", "x", 0, 1.5, [], {}]).filter(lambda other: other != holder[key]))
    assert not verify(canonical(report), signer.keys).passed


def places(value):
    """Every (holder, key) of a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_anything_else_is_said_not_to_be_a_report(signer, content) -> None:
    assert failed(content, signer) == ["format"]


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"format":"assay-report/1"}', b"null", b"1" * 5_000, b"\xff\xfe"]
)
def test_odd_documents_are_refused_in_a_sentence(signer, content) -> None:
    (check,) = verify(content, signer.keys).failures
    assert check.name == "format"
    assert check.detail.startswith("The document")


def test_a_document_written_otherwise_is_refused(reported, signer) -> None:
    spaced = json.dumps(json.loads(reported().document)).encode()
    (check,) = verify(spaced, signer.keys).failures
    assert "written otherwise than it was issued" in check.detail


def test_each_check_fails_by_itself(reported, signer, key_file) -> None:
    report = json.loads(reported().document)
    assert failed(canonical(report | {"id": "rep-09"}), signer) == ["signature"]
    altered = report | {"result": report["result"] | {"verdict": "INCONCLUSIVE"}}
    assert failed(canonical(altered), signer) == ["digest", "signature"]
    assert failed(reported().document, Signer(key_file)) == ["key", "signature"]
    assert failed(reported().document, signer, revoked={"rep-01"}) == ["validity"]


def test_a_limited_validity_ends(reported, signer) -> None:
    document = issue(reported().findings, "rep-03", LATER, (), signer, valid_until=LATER + timedelta(days=365))
    assert failed(document, signer, at=LATER) == []
    assert failed(document, signer, at=LATER + timedelta(days=366)) == ["validity"]


def test_the_key_is_made_once_for_the_owner_alone(key_file: Path) -> None:
    signer = Signer(key_file)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert Signer(key_file).public_key == signer.public_key
    assert signer.key_id == key_id(signer.public_key) == hashlib.sha256(signer.public_key).hexdigest()[:16]
    assert list(key_file.parent.iterdir()) == [key_file]


def test_signers_that_begin_together_share_one_key(key_file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        signers = list(pool.map(lambda _: Signer(key_file), range(16)))
    assert len({signer.key_id for signer in signers}) == 1


def test_a_place_where_no_key_can_be_is_refused(tmp_path: Path) -> None:
    said = r"gone/signing.key: the signing key can be neither read nor made there: No such file.*signing_key_path"
    with pytest.raises(Refusal, match=said):
        Signer(tmp_path / "gone" / "signing.key")


def test_a_key_file_with_something_else_is_refused(key_file: Path) -> None:
    key_file.write_text("not a key")
    with pytest.raises(Refusal, match=r"signing.key: not a signing key; expected 32 bytes in hexadecimal"):
        Signer(key_file)


def test_the_published_keys_verify(reported, signer, key_file) -> None:
    replaced = Signer(key_file)
    keys = read_public_keys(public_keys_document(signer, replaced.keys))
    assert keys == replaced.keys | signer.keys
    assert verify(reported().document, keys).passed


def test_a_key_under_another_id_is_refused(signer) -> None:
    published = public_keys_document(signer).replace(signer.key_id.encode(), b"00ff00ff00ff00ff")
    with pytest.raises(Refusal, match="key 00ff00ff00ff00ff is not what its id says"):
        read_public_keys(published)


@settings(deadline=None)
@given(st.binary(max_size=80) | st.recursive(st.none() | st.text(), lambda v: st.lists(v) | keyed(v)).map(as_json))
def test_what_is_no_list_of_keys_is_refused(content) -> None:
    with pytest.raises(Refusal, match=r"expected (JSON of )?format assay-keys/1"):
        read_public_keys(content)
