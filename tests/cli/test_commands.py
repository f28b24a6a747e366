"""Each command on a small model: what it prints, what its JSON holds, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.conftest import Fusee, expected


def test_build_says_what_it_did(cli: Fusee, linear_onnx: Path):
    ended = cli("build", linear_onnx, "-o", "made.fusee")
    assert ended.code == 0
    assert "building linear.onnx: compile (60% done)" in ended.err
    lines = {line.split()[0]: line for line in ended.out.splitlines()}
    assert list(lines) == ["engine", "nodes", "rules", "steps", "kernels", "memory", "build", "verified"]
    assert "2 as imported" in lines["nodes"]
    assert "against the reference on 2 set(s) of inputs" in lines["verified"]
    assert Path("made.fusee").stat().st_size > 0


def test_build_names_the_engine_after_the_model(cli: Fusee, linear_onnx: Path):
    ended = cli("build", linear_onnx, "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert Path("linear.fusee").is_file()


def test_build_as_json(cli: Fusee, linear_onnx: Path):
    ended = cli("build", linear_onnx, "--json", "--isa", "avx2", "--shapes", "x:7x4")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["nodes"]["before"] == 2
    assert found["memory"]["at"] == {"N": 7}
    assert found["size_bytes"] == Path("linear.fusee").stat().st_size
    assert found["excluded"] == []
    assert found["certificate"]["samples"][0]["inputs"] == "x=7x4"
    assert "avx512f" not in json.loads(cli("inspect", "linear.fusee", "--json").out)["features"]


def test_run_on_an_array(cli: Fusee, linear_engine: Path, x_npy: Path):
    ended = cli("run", linear_engine, "--input", f"x={x_npy}", "--output", "y.npz", "--json", "--threads", 1)
    assert ended.code == 0
    wanted = expected(np.load(x_npy))
    found = json.loads(ended.out)["y"]
    assert found["shape"] == [2, 3]
    assert found["dtype"] == "float32"
    np.testing.assert_allclose(found["values"], wanted, rtol=1e-5, atol=1e-6)
    assert found["top"][0][0]["index"] == int(wanted[0].argmax())
    with np.load("y.npz") as saved:
        np.testing.assert_allclose(saved["y"], wanted, rtol=1e-5, atol=1e-6)


def test_run_builds_a_model_first(cli: Fusee, linear_onnx: Path, x_npy: Path):
    np.savez("inputs.npz", x=np.load(x_npy))
    ended = cli("run", linear_onnx, "-i", "inputs.npz", "--top", 1)
    assert ended.code == 0
    assert ended.out.startswith("y: float32 2x3\n")
    assert "top 1: " in ended.out


def test_inspect(cli: Fusee, linear_engine: Path):
    ended = cli("inspect", linear_engine, "--steps")
    assert ended.code == 0
    assert "x: f32[N,4]" in ended.out
    assert "y: f32[N,3]" in ended.out
    assert "fc" in ended.out
    found = json.loads(cli("inspect", linear_engine, "--json", "--shapes", "x:5x4").out)
    assert found["inputs"] == {"x": "f32[N,4]"}
    assert found["memory"]["at"] == {"N": 5}
    assert found["steps"]["host"] == 0
    assert len(found["plan"]) == found["steps"]["native"]


def test_profile(cli: Fusee, linear_engine: Path):
    rows = json.loads(cli("profile", linear_engine, "--runs", 2, "--threads", 1, "--json").out)
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert any("fc" in row["from"] for row in rows)
    table = cli("profile", linear_engine, "--runs", 2, "--top", 1)
    assert table.code == 0
    assert "GFLOP/s" in table.out
    assert f"in {len(rows)} steps" in table.out


def test_compare(cli: Fusee, linear_onnx: Path):
    pytest.importorskip("onnxruntime", reason="the peer is not installed")
    ended = cli("compare", linear_onnx, "--samples", 1, "--bisect")
    assert ended.code == 0
    assert ended.out.count("equal from") == 2
    assert "blame: every pass and every step alone is right" in ended.out
    found = json.loads(cli("compare", linear_onnx, "--samples", 1, "--json").out)
    assert found["equal"] is True
    assert {row["judge"] for row in found["differences"]} == {"reference", "ONNX Runtime"}


def test_doctor(cli: Fusee):
    ended = cli("doctor")
    assert ended.code == 0
    assert "ready" in ended.out
    found = json.loads(cli("doctor", "--json").out)
    assert found["problems"] == []
    assert found["packages"]["numpy"] == np.__version__
    assert "avx2" in found["cpu"]["features"]


def test_a_process_of_its_own(linear_engine: Path, x_npy: Path):
    command = [sys.executable, "-m", "fusee", "run", str(linear_engine), "-i", str(x_npy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("y: float32 2x3\n")


def test_no_command_shows_help(cli: Fusee):
    assert "Compile a trained ONNX model" in cli("--help").out
    assert cli("unknown").code == 2


SHARED = Path(__file__).parents[3] / "shared"


def test_a_photograph(cli: Fusee, tmp_path: Path):
    model, photo = SHARED / "models/classify/SqueezeNet_fp16.onnx", SHARED / "data/imagenet/n02120505_grey_fox.JPEG"
    if not (model.is_file() and photo.is_file()):
        pytest.skip("needs SqueezeNet and a photograph under shared/, beside the repository")
    rows = (SHARED / "data/imagenet/labels_all1000.csv").read_text().splitlines()
    (tmp_path / "labels.txt").write_text("\n".join(row.split(",")[0] for row in rows[1:]))
    trained_on = ("--resize", "crop", "--bgr", "--scale", 1, "--mean", "104,117,123")
    words = (*trained_on, "--labels", "labels.txt", "--top", 3, "--json")
    ended = cli("run", model, "--input", photo, *words)
    assert ended.code == 0, ended.err
    top = next(iter(json.loads(ended.out).values()))["top"]
    assert any("fox" in row["label"] for row in top[0]), top


@pytest.mark.parametrize("words", [(), ("--bgr", "--resize", "fit")])
def test_an_image_fills_an_input(cli: Fusee, tmp_path: Path, words: tuple[str, ...]):
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y])), tmp_path / "same.onnx")
    Image.new("RGB", (12, 8), (255, 51, 0)).save(tmp_path / "flat.png")
    assert cli("run", "same.onnx", "-i", "flat.png", "-o", "y.npz", "--mean", "0,0.2,0", *words).code == 0
    with np.load("y.npz") as saved:
        channels = saved["y"].max((0, 2, 3))
    np.testing.assert_allclose(channels, [0, 0, 1] if words else [1, 0, 0], atol=1e-6)


def test_bench(cli: Fusee, linear_engine: Path):
    words = ("--iterations", 5, "--duration", 0, "--warmup", 0, "--threads", 1)
    found = json.loads(cli("bench", linear_engine, *words, "--export-times", "times.json", "--json").out)
    assert found["queries"] == len(json.loads(Path("times.json").read_text())) == 5
    assert list(found["latency_ms"])[:4] == ["min", "max", "mean", "median"]
    assert found["throughput_qps"] > 0
    assert "5 runs in " in cli("bench", linear_engine, *words).out


def test_bench_with_peers_takes_a_model(cli: Fusee, linear_engine: Path, linear_onnx: Path):
    ended = cli("bench", linear_engine, "--vs", "onnxruntime")
    message = f"--vs needs the ONNX model that all engines load, not {linear_engine}"
    assert (ended.code, ended.err) == (2, f"fusee: {message}\n")
    ended = cli("bench", linear_onnx, "--vs", "tensorflow")
    assert (ended.code, ended.err) == (2, "fusee: --vs tensorflow: unknown; it takes onnxruntime, openvino\n")


@pytest.mark.parametrize("name", ["FUSEE_DEBUG", "FUSEE_CHECK", "FUSEE_MAX_REWRITES"])
def test_a_switch_that_is_no_number(cli: Fusee, linear_onnx: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "much")
    ended = cli("build", linear_onnx, "--quiet")
    assert (ended.code, ended.err) == (2, f"fusee: the environment has {name}='much'; expected a whole number\n")
