"""The comparison: engines in their own processes, failures that stay visible, and the page of results."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from benchmarks.compare import Options
from benchmarks.machine import busy_core_s, machine_facts
from benchmarks.models import MODELS
from benchmarks.results import Case, Comparison, markdown, save, summaries

from benchmarks import compare
from fusee.peers import process as peer_process
from fusee.peers.contest import PeerResult
from fusee.peers.process import Loading, Memory, PeerFailure, PeerProcess, last_words, process_core_s

DIGITS = Path(__file__).parents[2] / "models" / "digits" / "digits.onnx"
SMALL = "retinaface_mnet025"


def _needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed: pip install {name}")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    path = tmp_path / "inputs.npz"
    np.savez(path, image=np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32))
    return path


@pytest.mark.parametrize("peer", [pytest.param(name, marks=_needs(name)) for name in ("onnxruntime", "openvino")])
def test_an_engine_answers_from_its_own_process(peer: str, scans: Path, tmp_path: Path) -> None:
    process = PeerProcess(peer, DIGITS, 1, scans)
    try:
        times = process.run(7)
        outputs = process.outputs(tmp_path / "outputs.npz")
        memory = process.memory()
    finally:
        process.close()
    assert len(times) == 7
    assert min(times) > 0
    assert outputs["logits"].shape == (3, 10)
    assert 0 < process.loading.load_s <= process.loading.first_answer_s
    assert 0 < memory.after_import <= memory.now <= memory.peak


@_needs("onnxruntime")
def test_an_engine_that_cannot_load_says_why(scans: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(PeerFailure, match=r"^onnxruntime ended with status 1: .*InvalidProtobuf.*broken\.onnx failed"):
        PeerProcess("onnxruntime", broken, 1, scans)


@_needs("onnxruntime")
def test_an_engine_that_dies_between_turns_says_how(scans: Path) -> None:
    process = PeerProcess("onnxruntime", DIGITS, 1, scans)
    process._child.kill()
    process._child.wait()
    with pytest.raises(PeerFailure, match=r"^onnxruntime was killed by signal 9: it wrote nothing$"):
        process.run(1)


def test_an_engine_that_falls_silent_is_stopped(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_process, "PATIENCE_S", 0.0)
    with pytest.raises(PeerFailure, match=r"^onnxruntime said nothing for 0 s and was stopped$"):
        PeerProcess("onnxruntime", DIGITS, 1, scans)


def test_last_words_name_no_folder_of_this_machine() -> None:
    text = f'first\n  File "{Path.cwd()}/src/x.py"\n\nValueError: no\n'
    assert last_words(text) == 'File "src/x.py" /  / ValueError: no'


@pytest.mark.parametrize("name", [SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in MODELS if n != SMALL)])
@_needs("onnxruntime")
@_needs("openvino")
def test_onnxruntime_and_openvino_agree_on_every_network(name: str) -> None:
    options = Options((name,), ("openvino", "onnxruntime"), (1,), rounds=2, turn_s=0.01)
    (case,) = compare.compare(options, lambda _: None)
    assert case.reference == "onnxruntime"
    ours, theirs = case.results
    assert ours.failure is None
    assert theirs.failure is None
    assert ours.difference is not None
    assert ours.difference < 1e-3
    assert len(ours.medians_us) == len(theirs.medians_us) == 2
    ratio = case.best_ratio()
    assert ratio is not None
    assert 0.0 <= case.others_cores < (os.cpu_count() or 1) + 1
    assert ratio.low <= ratio.median <= ratio.high


@_needs("onnxruntime")
def test_an_engine_that_cannot_build_is_reported_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_build", lambda peer, graph: PeerFailure("build ended with status 2: no such op"))
    options = Options((SMALL,), ("fusee", "onnxruntime"), (1,), rounds=1, turn_s=0.01)
    (case,) = compare.compare(options, lambda _: None)
    assert [result.failure for result in case.results] == ["build ended with status 2: no such op", None]
    assert case.best_ratio() is None
    page = markdown(_comparison(case))
    assert f"- {SMALL}, 1 thread(s), fusee: build ended with status 2: no such op" in page
    assert re.search(rf"^\| {SMALL} \| failed \| [0-9.]+ \| - \|", page, re.MULTILINE)


def test_the_page_and_the_summary_tell_ratios_with_their_spread(tmp_path: Path) -> None:
    fast, slow = _case("resnet50", (10e3, 20e3)), _case("swin_t", (40e3, 20e3))
    (row,) = summaries([fast, slow])
    assert (row.measured, row.models, row.least_model) == (2, 2, "swin_t")
    assert row.least == pytest.approx(0.75)
    assert row.geometric_mean == pytest.approx((1.5 * 0.75) ** 0.5)
    page = markdown(_comparison(fast, slow))
    assert "| resnet50 | 15.00 | 20.00 | 27.50 | 1.50 (1.00 .. 2.00) | 2.00 (1.50 .. 2.50) | 1.0e-06 | 0.25 |" in page
    assert "- Load average before the start: 0.50." in page
    assert "geometric mean 1.061, least 0.750 (swin_t)." in page
    data, text = save(_comparison(fast, slow), tmp_path)
    assert (data.name, text.name) == ("2026-01-02-name.json", "2026-01-02-name.md")
    assert json.loads(data.read_text())["summary"][0]["least_model"] == "swin_t"
    assert text.read_text() == page


def test_a_failed_side_is_counted_out_of_the_mean_and_said() -> None:
    case = _case("resnet50", (10e3, 20e3))
    failed = replace(case, model="swin_t", results=(PeerResult("fusee", failure="no"), *case.results[1:]))
    (row,) = summaries([case, failed])
    assert (row.measured, row.models) == (1, 2)
    assert "1 of 2 models" in markdown(_comparison(case, failed))


def test_a_name_that_does_not_exist_ends_with_what_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare.main(["--models", "resnet51"])
    assert f"there is no model 'resnet51'; there are: {', '.join(MODELS)}" in capsys.readouterr().err


def test_machine_facts_name_the_processor_and_versions_but_no_machine() -> None:
    facts = machine_facts()
    assert facts["cores"] >= 1
    assert facts["versions"]["onnx"] == onnx.__version__
    assert set(facts) == {
        "cpu", "family", "isa", "cores", "caches", "memory_gib", "system", "python", "versions",
    }  # fmt: skip


def test_a_busy_loop_shows_in_its_process_and_in_the_whole() -> None:
    process, whole = process_core_s(os.getpid()), busy_core_s()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert process_core_s(os.getpid()) - process >= 0.15
    assert busy_core_s() - whole >= 0.15


def _case(model: str, ours_us: tuple[float, ...]) -> Case:
    """A case whose peers take 20, then 20 ms, and 25, then 30 ms."""
    loading, memory = Loading("1", 0.1, 0.2, 0.3), Memory(1, 2, 3)
    results = (
        PeerResult("fusee", None, ours_us, min(ours_us), 9, 1e-6, loading, memory, 1.5),
        PeerResult("onnxruntime", None, (20e3, 20e3), 20e3, 9, None, loading, memory),
        PeerResult("openvino", None, (25e3, 30e3), 25e3, 9, 0.0, loading, memory),
    )
    return Case(model, 1, 1.5, "onnxruntime", 0.25, results)


def _comparison(*cases: Case) -> Comparison:
    return Comparison("name", "2026-01-02", "python -m benchmarks.compare", 2, 0.5, machine_facts(), cases)
