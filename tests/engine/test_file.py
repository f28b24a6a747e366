"""Engine files: what is saved comes back, and every way a file can be wrong has its own message."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusee.base.errors import EngineError
from fusee.base.target import CpuTarget
from fusee.engine.artifact import Artifact
from fusee.engine.file import HEADER, MAGIC, SECTIONS, save
from fusee.engine.image import CodeImage
from fusee.engine.load import load
from fusee.engine.plan import Plan
from fusee.engine.weights import Weights
from runtime.small_engines import artifact, linear_plan, target, weights


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("engines") / "linear.fusee"
    save(some_artifact(), path)
    return path.read_bytes()


def some_artifact() -> Artifact:
    made = artifact(linear_plan(), weights())
    return Artifact(
        made.plan,
        made.code,
        made.weights,
        made.features,
        "a test's CPU",
        "graph linear()",
        b"portable",
        {"seed": 1},
        {"matmul": [1.5]},
    )


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "changed.fusee"
    path.write_bytes(content)
    return path


def message(path: Path, machine: CpuTarget | None = None) -> str:
    with pytest.raises(EngineError) as caught:
        load(path, machine or target())
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def resealed(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with a changed manifest, its checksum right again: what a faulty or hostile writer makes."""
    fields = list(HEADER.unpack_from(content))
    manifest = json.loads(content[HEADER.size : HEADER.size + fields[2]])
    change(manifest)
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode().ljust(fields[2])
    assert len(text) == fields[2], "the manifest must not grow"
    fields[4] = hashlib.sha256(text).digest()
    return HEADER.pack(*fields) + text + content[HEADER.size + len(text) :]


def place(content: bytes, name: str) -> dict[str, Any]:
    fields = HEADER.unpack_from(content)
    manifest = json.loads(content[HEADER.size : HEADER.size + fields[2]])
    return next(s for s in manifest["sections"] if s["name"] == name)


def test_everything_comes_back(tmp_path: Path, whole: bytes):
    made, read = some_artifact(), load(written(tmp_path, whole), target())
    assert read.plan == made.plan
    assert bytes(read.code.data) == bytes(made.code.data)
    assert read.code.symbols == made.code.symbols
    assert read.weights.table == made.weights.table
    np.testing.assert_array_equal(read.weights.data, made.weights.data)
    assert not read.weights.data.flags.writeable
    assert (read.features, read.built_for, read.graph) == (made.features, made.built_for, made.graph)
    assert bytes(read.graph_weights) == made.graph_weights
    assert (read.certificate, read.tuning) == ({"seed": 1}, {"matmul": [1.5]})


def test_the_same_engine_gives_the_same_bytes(tmp_path: Path, whole: bytes):
    save(some_artifact(), tmp_path / "again.fusee")
    assert (tmp_path / "again.fusee").read_bytes() == whole


def test_code_and_weights_can_be_mapped(whole: bytes):
    assert place(whole, "code")["offset"] % 65536 == 0
    assert place(whole, "weights")["offset"] % 65536 == 0


def test_saving_replaces_a_file_and_leaves_nothing_else(tmp_path: Path, whole: bytes):
    (tmp_path / "linear.fusee").write_text("an older engine")
    save(some_artifact(), tmp_path / "linear.fusee")
    assert (tmp_path / "linear.fusee").read_bytes() == whole
    assert os.listdir(tmp_path) == ["linear.fusee"]


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "linear.fusee").write_text("an older engine")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(some_artifact(), tmp_path / "linear.fusee")
    assert os.listdir(tmp_path) == ["linear.fusee"]
    assert (tmp_path / "linear.fusee").read_text() == "an older engine"


def test_a_plan_whose_functions_are_missing_is_not_saved(tmp_path: Path):
    made = some_artifact()
    code = CodeImage(made.code.data, made.code.code_bytes, {"fusee_run": 0})
    with pytest.raises(EngineError, match=r"code: the plan calls add, fusee_stop, .* which the code does not define"):
        save(Artifact(made.plan, code, made.weights, made.features), tmp_path / "x.fusee")
    assert os.listdir(tmp_path) == []


def test_an_empty_file_is_not_an_engine(tmp_path: Path):
    assert message(written(tmp_path, b"")).startswith("not a Fusee engine: it starts with b''")


def test_another_file_is_not_an_engine(tmp_path: Path):
    assert message(written(tmp_path, b"PK\x03\x04" + bytes(1000))) == (
        "not a Fusee engine: it starts with b'PK\\x03\\x04\\x00\\x00\\x00\\x00', expected b'\\x89FUSEE\\r\\n'; "
        "engines are made by `fusee build model.onnx`"
    )


def test_a_file_cut_within_its_header(tmp_path: Path, whole: bytes):
    expected = "truncated: 20 bytes, less than the header; copy it again from its source, or build it again"
    assert message(written(tmp_path, whole[:20])) == expected


def test_a_truncated_file(tmp_path: Path, whole: bytes):
    expected = f"truncated: 5000 of {len(whole)} bytes are there; copy it again from its source, or build it again"
    assert message(written(tmp_path, whole[:5000])) == expected


def test_trailing_garbage(tmp_path: Path, whole: bytes):
    expected = f"7 bytes of trailing garbage after the engine's {len(whole)}; copy it again from its source, or build"
    assert message(written(tmp_path, whole + b"garbage")).startswith(expected)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (2, "format version 2 is newer than this Fusee reads (1); update Fusee"),
        (0, "format version 0 is older than this Fusee reads (1); build the engine again with this Fusee"),
    ],
)
def test_another_format_version(tmp_path: Path, whole: bytes, version: int, expected: str):
    assert message(written(tmp_path, MAGIC + version.to_bytes(4, "little") + whole[12:])) == expected


@pytest.mark.parametrize("name", SECTIONS)
def test_a_damaged_section_is_named(tmp_path: Path, whole: bytes, name: str):
    changed = bytearray(whole)
    changed[place(whole, name)["offset"]] ^= 1
    expected = f"damaged: section {name} does not match its checksum; copy it again from its source, or build it again"
    assert message(written(tmp_path, bytes(changed))) == expected


def test_a_damaged_manifest(tmp_path: Path, whole: bytes):
    changed = bytearray(whole)
    changed[HEADER.size + 5] ^= 1
    assert message(written(tmp_path, bytes(changed))).startswith("damaged: header or manifest do not match")


def test_a_machine_that_lacks_features(tmp_path: Path, whole: bytes):
    machine = CpuTarget(frozenset({"avx2"}), 2, model="an older CPU")
    path = written(tmp_path, whole)
    assert message(path, machine) == (
        "made for a test's CPU; this machine (an older CPU) lacks f16c (conversion between f16 and f32), "
        f"fma (fused multiply-add); it carries its model: `fusee build {path} -o here.fusee` builds it for this machine"
    )


def test_an_engine_can_be_looked_at_on_any_machine(tmp_path: Path, whole: bytes):
    assert load(written(tmp_path, whole), None).plan.name == "linear"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("arch", "arm", "made for cpu on arm, this Fusee runs engines for cpu on x86-64"),
        ("abi", 7, "its code follows call layout 7, this Fusee has 1; build the engine again with this Fusee"),
        ("code_bytes", 1, "manifest: 1 bytes of code, expected pages within"),
        ("sections", [], "manifest: sections are , expected ('plan',"),
        ("features", 5, "manifest: TypeError 'int' object is not iterable: a field is missing or wrong"),
    ],
)
def test_a_manifest_that_says_something_else(tmp_path: Path, whole: bytes, key: str, value: Any, expected: str):
    path = written(tmp_path, resealed(whole, lambda manifest: manifest.update({key: value})))
    assert message(path).startswith(expected)


@pytest.mark.parametrize("offset", [0, -64, 1 << 16, "1"])
def test_sections_outside_their_place(tmp_path: Path, whole: bytes, offset: Any):
    def move(manifest: dict[str, Any]) -> None:
        manifest["sections"][1]["offset"] = offset
        manifest["built_for"] = ""  # makes room for a longer number

    text = message(written(tmp_path, resealed(whole, move)))
    assert re.match(r"manifest: section (certificate|tuning) (takes bytes|has no whole numbers)", text)


def test_a_function_outside_the_code_is_refused(tmp_path: Path):
    made = some_artifact()
    code = CodeImage(made.code.data, made.code.code_bytes, {**made.code.symbols, "add": made.code.code_bytes})
    with pytest.raises(EngineError, match=r"code: function add is at .*, outside the .* bytes of code"):
        save(Artifact(Plan("p", (), (), (), ()), code, Weights(), made.features), tmp_path / "x.fusee")
