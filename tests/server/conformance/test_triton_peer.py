"""The real Triton is found, or said to be absent, and installed once."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.serving.setup_triton import CLIENT, PACKAGES, install
from benchmarks.serving.triton_peer import triton_home


def test_a_folder_that_was_not_filled_is_no_triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRITON_HOME", str(tmp_path))
    assert triton_home() is None


def test_what_is_installed_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stamp = tmp_path / ".installed"
    stamp.write_text("\n".join((*PACKAGES, CLIENT)))
    install(tmp_path)
    assert "is ready" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [stamp]
    monkeypatch.setenv("TRITON_HOME", str(tmp_path))
    assert triton_home() == tmp_path
