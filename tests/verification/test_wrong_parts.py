"""A kernel or a pass that computes something else is found, named and left out; what stays wrong is not saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import fusee.passes
from fusee.base.errors import VerifyError
from fusee.base.target import detect_cpu
from fusee.build import BuildOptions, Built, bisect, build_artifact
from fusee.cli import app
from fusee.engine.report import kernel_counts
from fusee.ir.graph import Const, Graph
from fusee.ir.passes import Pass
from fusee.ir.rewrite import Report
from fusee.kernels.kernel import Backend
from fusee.ops.activations import Sigmoid
from fusee.ops.binary import Mul, Sub
from fusee.runtime.engine import Engine
from verification.small_builds import Wrong, backend_with, logistic_map, sigmoid_then_product

MODEL, WEIGHTS = sigmoid_then_product()


def use(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusee.build.CPU", backend)


def spoil(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a pass behind all others that scales the first output."""

    def apply(graph: Graph, report: Report) -> Graph:
        value = graph.outputs[0]
        return graph.replace({value: Mul()(value, Const(np.float32(factor))())})

    def spoiled(*arguments: object) -> tuple[Pass, ...]:
        return (*fusee.passes.pipeline(*arguments), Pass("spoil", apply))  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr("fusee.build.pipeline", spoiled)


def built(model: onnx.ModelProto) -> Built:
    return build_artifact(model, BuildOptions(samples=1))


def assert_right(found: Built) -> None:
    x = np.linspace(-3, 3, 80, dtype=np.float32).reshape(2, 40)
    with Engine(found.artifact) as engine:
        np.testing.assert_allclose(engine.run({"x": x})["y"], (1 / (1 + np.exp(-x))) @ WEIGHTS, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factor", [1.001, 2.0, np.nan])
def test_a_wrong_kernel_is_named_and_left_out(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    use(backend_with(Wrong("Wobbly", Sigmoid, factor)), monkeypatch)
    found = built(MODEL)
    (blame,) = found.report.excluded
    assert (blame.kind, blame.kernel) == ("kernel", "Wobbly")
    assert "Sigmoid_1" in str(blame)
    assert "Wobbly" not in kernel_counts(found.artifact.plan)
    assert_right(found)


def test_several_wrong_kernels_are_left_out_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    use(backend_with(Wrong("First", Sigmoid, 2.0), Wrong("Second", Sigmoid, 0.5)), monkeypatch)
    found = built(MODEL)
    assert [b.kernel for b in found.report.excluded] == ["First", "Second"]
    assert_right(found)


def test_a_wrong_pass_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(1.01, monkeypatch)
    found = built(MODEL)
    assert [(b.kind, b.name) for b in found.report.excluded] == [("pass", "spoil")]
    assert "spoil" not in [p.name for p in found.report.passes]
    assert_right(found)


def test_what_nothing_computes_rightly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use(backend_with(*[Wrong(f"Wrong{i}", Sigmoid, 2.0 + i) for i in range(6)]), monkeypatch)
    with pytest.raises(VerifyError, match=r"still wrong after leaving out Wrong0 in kernel .*Wrong3 in .*; not saved"):
        built(MODEL)


def test_a_wrong_kernel_without_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use(backend_with(Wrong("Wobbly", Sigmoid, 2.0), only=True), monkeypatch)
    with pytest.raises(VerifyError, match=r"Wobbly in kernel sigmoid.* no other kernel computes it; not saved"):
        built(MODEL)


def test_the_command_leaves_no_file_of_a_wrong_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(backend_with(*[Wrong(f"Wrong{i}", Sigmoid, 2.0 + i) for i in range(6)]), monkeypatch)
    onnx.save(MODEL, tmp_path / "m.onnx")
    result = CliRunner().invoke(app, ["build", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.fusee"), "-q"])
    assert isinstance(result.exception, VerifyError | SystemExit)
    assert result.exit_code != 0
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_bisection_names_the_pass_else_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bisect(MODEL, BuildOptions(samples=1)) is None
    use(backend_with(Wrong("Wobbly", Sigmoid, 1.01)), monkeypatch)
    step = bisect(MODEL, BuildOptions(samples=1))
    assert step is not None
    assert step.kind == "kernel"
    assert "sigmoid" in step.name
    spoil(1.01, monkeypatch)
    first = bisect(MODEL, BuildOptions(samples=1))
    assert first is not None
    assert (first.kind, first.name) == ("pass", "spoil")


def test_an_ill_conditioned_model_is_judged_by_its_own_noise() -> None:
    """Twenty doublings turn rounding errors to more than the tolerance, in any engine."""
    found = built(logistic_map(20))
    assert found.report.excluded == ()
    (output,) = found.report.certificate["samples"][0]["outputs"]
    assert output["noise"] > 1e-4
    assert output["error"] <= output["tolerance"]


def test_noise_does_not_hide_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a model that amplifies everything, each step alone must still be right."""
    use(backend_with(Wrong("Wobbly", Sub, 1.001)), monkeypatch)
    found = built(logistic_map(20))
    assert {b.kernel for b in found.report.excluded} == {"Wobbly"}


def test_the_certificate_says_what_was_proved() -> None:
    found = build_artifact(MODEL, BuildOptions(samples=1, seed=7))
    record = found.artifact.certificate
    assert record == found.report.certificate
    assert record["judged_by"] == "reference interpreter"
    assert set(record["versions"]) == {"fusee", "numpy", "onnx", "llvmlite"}
    (sample,) = record["samples"]
    assert (sample["seed"], sample["inputs"]) == (7, "x=2x40")
    (output,) = sample["outputs"]
    assert (output["name"], output["dtype"], output["tolerance"]) == ("y", "f32", 1e-4)
    assert 0 <= output["error"] < 1e-5
    assert "noise" not in output


def test_the_engine_of_an_older_level_is_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    use(backend_with(Wrong("Wobbly", Sigmoid, 2.0)), monkeypatch)
    found = build_artifact(MODEL, BuildOptions(detect_cpu().with_isa("avx2"), samples=1))
    assert [b.kernel for b in found.report.excluded] == ["Wobbly"]
