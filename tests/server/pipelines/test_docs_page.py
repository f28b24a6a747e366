"""What docs/pipelines.md shows is served and asked, as written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusee.server.app import serving
from fusee.server.settings import Settings
from server.pipelines.picture_files import encoded

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/pipelines.md"
DIGITS = ROOT / "models/digits"
BLOCK = re.compile(r"```(?:python)?\n# ([\w/.]+)\n(.*?)```", re.DOTALL)


def written_files(folder: Path) -> dict[str, str]:
    """Write the page's files into a repository beside the digits; gives them all by name."""
    files = dict(BLOCK.findall(PAGE.read_text()))
    for name, text in files.items():
        if "/" in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    (folder / "digits/1").mkdir()
    (folder / "digits/1/model.onnx").write_bytes((DIGITS / "digits.onnx").read_bytes())
    return files


def test_the_page_is_served_as_written(tmp_path: Path):
    pytest.importorskip("tritonclient.http", reason="the page's client is Triton's")
    files = written_files(tmp_path)
    assert set(files) >= {"digits/config.pbtxt", "reader/1/pipeline.py", "photo_to_shares/config.pbtxt", "client.py"}
    with np.load(DIGITS / "digits_test.npz") as held_out:
        image, label = held_out["images"][3, 0], int(held_out["labels"][3])
    settings = Settings((tmp_path,), http_port=0, grpc_port=None, metrics_port=None, allow_python_models=True)
    names: dict[str, Any] = {"photo": encoded((image * 255).round().astype(np.uint8))}
    with serving(settings) as ports:
        names["address"] = f"127.0.0.1:{ports.http}"
        exec(compile(files["client.py"], "client.py", "exec"), names)
    assert names["logits"].argmax() == label
    assert names["digit"].tolist() == [str(label).encode()]
    assert names["shares"].shape == (1, 10)
    assert names["shares"].argmax() == label
    np.testing.assert_allclose(names["shares"].sum(), 1, rtol=1e-5)
