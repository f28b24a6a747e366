"""A graph that was written is read back, constants of every kind included."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from fusee.base.errors import ParseError
from fusee.ir.dump import dump, read_graph, write_graph
from fusee.ir.graph import Const, Graph
from fusee.ir.text import print_graph
from ir.toys import TOYS, Twice


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.int64, np.bool_])
def test_round_trip(tmp_path: Path, dtype: type):
    array = (np.arange(60) % 7).reshape(3, 20).astype(dtype)
    graph = Graph("f", (), (Twice()(Const(array)(), loc=("/a",)),))
    write_graph(graph, tmp_path / "graph.txt")
    again = read_graph(tmp_path / "graph.txt", TOYS)
    assert print_graph(again, loc=True) == print_graph(graph, loc=True)
    found = again.outputs[0].operands[0].op.value
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_a_constant_without_a_type(tmp_path: Path):
    write_graph(Graph("f", (), (Const(np.arange(60))(),)), tmp_path / "graph.txt")
    (file,) = (tmp_path / "constants").iterdir()
    file.rename(file.with_name("abc.q7.npy"))
    with pytest.raises(ParseError, match="found no element type 'q7'"):
        read_graph(tmp_path / "graph.txt", TOYS)


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    graph = Graph("f", (), (Const(np.arange(60))(),))
    monkeypatch.delenv("FUSEE_DUMP", raising=False)
    dump(graph, "00_start")
    monkeypatch.setenv("FUSEE_DUMP", str(tmp_path / "folder"))
    dump(graph, "00_start")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "00_start.txt").exists()
