"""Thresholds on the disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import Reason, Refusal
from assay.judging import calibrate, read_calibration, write_calibration
from assay.judging.calibration_file import sealed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = calibrate([0.1 * i / 3 for i in range(149)], [5 + 0.7 * i for i in range(149)], [2.5], "f" * 64)
    write_calibration(tmp_path / "home" / "calibration.json", made)
    return tmp_path / "home" / "calibration.json"


def test_comes_back_as_it_was(file: Path) -> None:
    made = calibrate([0.1 * i / 3 for i in range(149)], [5 + 0.7 * i for i in range(149)], [2.5], "f" * 64)
    assert read_calibration(file) == made
    assert len(made.digest) == 64
    assert [entry.name for entry in file.parent.iterdir()] == ["calibration.json"]


@pytest.mark.parametrize("name", ["accept_below", "reject_above", "unknown_above", "false_accept_rate", "assurance"])
def test_a_threshold_that_somebody_changed(file: Path, name: str) -> None:
    document = json.loads(file.read_text())
    document[name] += 0.001
    file.write_text(json.dumps(document))
    with pytest.raises(Refusal, match=r"has digest .*, expected .* as it says; restore it") as refused:
        read_calibration(file)
    assert refused.value.reason is Reason.UNAVAILABLE


def test_the_digest_is_over_all_other_fields(file: Path) -> None:
    made = read_calibration(file)
    assert sealed(replace(made, digest="")).digest == made.digest
    assert sealed(replace(made, altered_scores=made.altered_scores[:-1])).digest != made.digest
    assert sealed(replace(made, model_digest="e")).digest != made.digest


def test_there_is_none_yet(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="is not there; make it with `assay calibrate`") as refused:
        read_calibration(tmp_path / "calibration.json")
    assert refused.value.reason is Reason.UNAVAILABLE


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_other_content_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any-calibration.json"
    file.write_bytes(content)
    with pytest.raises(Refusal, match=r"any-calibration\.json"):
        read_calibration(file)


@given(st.sampled_from(["accept_below", "genuine_scores", "model_digest", "digest"]), JSON)
def test_fields_of_other_types_are_refused(tmp_path_factory: pytest.TempPathFactory, name: str, value: Any) -> None:
    made = calibrate([0.0] * 149, [1.0] * 149, [2.5], "f" * 64)
    file = tmp_path_factory.getbasetemp() / "odd-calibration.json"
    write_calibration(file, made)
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(Refusal, match=r"odd-calibration\.json"):
        read_calibration(file)
