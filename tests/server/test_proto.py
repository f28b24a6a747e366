"""The generated protocol files are those of their .proto files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
FOLDER = SOURCE / "fusee/server/proto"


def test_generated_files_are_up_to_date(tmp_path: Path):
    protos = sorted(str(path.relative_to(SOURCE)) for path in FOLDER.glob("*.proto"))
    assert len(protos) == 3
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*command, *protos], cwd=SOURCE, check=True)
    for fresh in sorted(tmp_path.rglob("*_pb2.py*")):
        kept = SOURCE / fresh.relative_to(tmp_path)
        assert fresh.read_text() == kept.read_text(), f"{kept.name}: python -m grpc_tools.protoc, as this test does"
