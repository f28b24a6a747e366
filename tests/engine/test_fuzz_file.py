"""Damaged engine files: an EngineError or the right result, never a crash, never a wrong number."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from fusee.base.errors import EngineError
from fusee.engine.load import read_manifest
from fusee.runtime.engine import load
from runtime.small_engines import engine, linear_expected, linear_plan, weights

X = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("engines") / "linear.fusee"
    engine(linear_plan(), weights()).save(path)
    return path.read_bytes()


def outcome(path: Path) -> str:
    """``error``, or ``right`` when the file still loads and computes what it should."""
    try:
        loaded = load(path)
    except EngineError:
        return "error"
    with loaded.session(1) as session:
        np.testing.assert_allclose(session.run({"x": X})["y"], linear_expected(X, weights()), rtol=1e-5)
    return "right"


def used_ranges(content: bytes) -> list[range]:
    """Header, manifest and sections: everything but the gaps of zeros."""
    manifest = read_manifest(memoryview(content), "whole")
    sections = [range(s.offset, s.offset + s.size_bytes) for s in manifest.sections.values() if s.size_bytes]
    return [range(sections[0].start), *sections]


def test_flipped_bytes(tmp_path: Path, whole: bytes):
    rng, ranges = random.Random(1), used_ranges(whole)
    outcomes: list[str] = []
    for i in range(300):
        changed = bytearray(whole)
        for _ in range(rng.choice((1, 1, 1, 5))):
            at = rng.choice(rng.choice(ranges)) if i % 4 else rng.randrange(len(whole))
            changed[at] ^= 1 << rng.randrange(8)
        path = tmp_path / "changed.fusee"
        path.unlink(missing_ok=True)
        path.write_bytes(changed)
        outcomes.append(outcome(path))
    assert outcomes.count("error") > 200


def test_cut_anywhere(tmp_path: Path, whole: bytes):
    rng, path = random.Random(2), tmp_path / "cut.fusee"
    for length in [*range(0, 200, 7), *[rng.randrange(len(whole)) for _ in range(60)], len(whole) - 1]:
        path.unlink(missing_ok=True)
        path.write_bytes(whole[:length])
        assert outcome(path) == "error"
    path.write_bytes(whole)
    assert outcome(path) == "right"


def test_random_bytes_after_a_right_header(tmp_path: Path, whole: bytes):
    rng, path = random.Random(3), tmp_path / "noise.fusee"
    for keep in (8, 12, 64, 1000):
        path.unlink(missing_ok=True)
        path.write_bytes(whole[:keep] + rng.randbytes(len(whole) - keep))
        assert outcome(path) == "error"
