"""Sessions compute what their plan says, on any number of threads, saved and loaded or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusee.base.errors import EngineError
from fusee.runtime.engine import Engine, load
from runtime.small_engines import add_plan, artifact, chain_plan, engine, linear_expected, linear_plan, weights


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_saved_and_loaded_engine_runs(tmp_path: Path, threads: int):
    engine(linear_plan(), weights()).save(tmp_path / "linear.fusee")
    with load(tmp_path / "linear.fusee").session(threads) as session:
        for n in (1, 3, 64, 3):
            x = np.random.default_rng(n).standard_normal((n, 5)).astype(np.float32)
            np.testing.assert_allclose(session.run({"x": x})["y"], linear_expected(x, weights()), rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_steps_wait_for_each_other(threads: int):
    x = np.arange(997, dtype=np.float32)
    with engine(chain_plan(997, 101)).session(threads) as session:
        for _ in range(50):
            np.testing.assert_array_equal(session.run({"x": x})["y"], x[::-1])


def test_static_plan_runs():
    a, b = np.arange(1000, dtype=np.float32), np.ones(1000, np.float32)
    with engine(add_plan()).session(2) as session:
        np.testing.assert_array_equal(session.run({"a": a, "b": b})["out"], a + 1)


def test_an_engine_just_built_for_another_machine_does_not_run():
    foreign = replace(artifact(add_plan()), features=frozenset({"avx2", "no_such_feature"}))
    with pytest.raises(EngineError) as caught:
        Engine(foreign)
    assert str(caught.value).startswith("add: made for a test's CPU; this machine (")
    assert str(caught.value).endswith(
        "lacks no_such_feature (unknown to this Fusee); build the engine for this machine"
    )


def test_an_empty_tensor():
    with engine(linear_plan(), weights()).session(2) as session:
        assert session.run({"x": np.zeros((0, 5), np.float32)})["y"].shape == (0, 7)
