"""Networks into engines: verified, kept while they are up to date, built anew when something changed."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import fusee
from assay.networks.compare import compare_network
from assay.networks.untrained import write_untrained
from assay.packing import ENGINES, PackingError, pack
from fusee.base.target import AVX2, detect_cpu


@pytest.fixture
def compare_folder(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    models.mkdir()
    onnx.save(compare_network(), models / "compare.onnx")
    return models


def test_both_engines_of_the_application_load(tmp_path: Path):
    write_untrained(tmp_path / "models")
    heard: list[str] = []
    packed = pack(tmp_path / "models", tmp_path / "engines", progress=heard.append)

    assert heard == list(ENGINES)
    assert [p.engine.name for p in packed] == ["photo.fusee", "compare.fusee"]
    assert [i.name for p in packed for i in fusee.load(p.engine).inputs] == ["photo", "patches", "bank"]


def test_an_engine_that_is_up_to_date_is_kept(compare_folder: Path, tmp_path: Path):
    first = pack(compare_folder, tmp_path / "engines", ["compare"])[0]
    again = pack(compare_folder, tmp_path / "engines", ["compare"])[0]

    assert first.build_s is not None
    assert again.build_s is None
    assert again.source_sha256 == first.source_sha256


def test_another_network_is_built_anew(compare_folder: Path, tmp_path: Path):
    first = pack(compare_folder, tmp_path / "engines", ["compare"])[0]
    model = compare_network()
    model.doc_string = "another"
    onnx.save(model, compare_folder / "compare.onnx")
    again = pack(compare_folder, tmp_path / "engines", ["compare"])[0]

    assert again.build_s is not None
    assert again.source_sha256 != first.source_sha256


def test_different_machines_share_an_engine_for_avx2(compare_folder: Path, tmp_path: Path):
    native = pack(compare_folder, tmp_path / "engines", ["compare"])[0]
    shared = pack(compare_folder, tmp_path / "engines", ["compare"], isa="avx2")[0]

    assert native.build_s is not None
    assert (shared.build_s is None) == (detect_cpu().features <= AVX2)
    record = json.loads(shared.engine.with_suffix(".json").read_text())
    assert set(record["machine"]["features"]) <= AVX2
    fusee.load(shared.engine)


def test_another_instruction_set_is_refused(compare_folder: Path, tmp_path: Path):
    with pytest.raises(PackingError, match=r"instruction set 'sse2'; expected native or avx2"):
        pack(compare_folder, tmp_path / "engines", ["compare"], isa="sse2")


@pytest.mark.parametrize("broken", ["compare.fusee", "compare.json"])
def test_a_damaged_engine_or_record_is_built_anew(compare_folder: Path, tmp_path: Path, broken: str):
    engines = tmp_path / "engines"
    pack(compare_folder, engines, ["compare"])
    (engines / broken).write_bytes(b"{")

    assert pack(compare_folder, engines, ["compare"])[0].build_s is not None
    fusee.load(engines / "compare.fusee")


def test_the_same_network_gives_the_same_bytes(compare_folder: Path, tmp_path: Path):
    one = pack(compare_folder, tmp_path / "one", ["compare"])[0]
    two = pack(compare_folder, tmp_path / "two", ["compare"])[0]

    assert one.engine.read_bytes() == two.engine.read_bytes()


def test_a_missing_network_is_named(compare_folder: Path, tmp_path: Path):
    with pytest.raises(PackingError, match=r"photo\.onnx not found; expected the trained networks there"):
        pack(compare_folder, tmp_path / "engines")
