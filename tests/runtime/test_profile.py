"""Profiles list every step with a time, in order."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.small_engines import engine, linear_plan, weights
from runtime.test_host_steps import compress_plan


@pytest.mark.parametrize("threads", [1, 2])
def test_native_steps_are_timed_and_sized(threads: int):
    with engine(linear_plan(), weights()).session(threads) as session:
        steps = session.profile({"x": np.ones((64, 5), np.float32)}, runs=3)
    assert [s.op for s in steps] == ["matmul", "add", "reverse"]
    assert [s.flops for s in steps] == [64, 448, 448]
    assert all(s.time_us > 0 for s in steps)
    assert steps[0].loc == ("/matmul",)
    assert steps[0].kernel == "by hand"


def test_host_steps_are_timed():
    inputs = {"x": np.ones(8, np.float32), "mask": np.ones(8, np.bool_)}
    with engine(compress_plan()).session(1) as session:
        steps = session.profile(inputs, runs=2)
    assert [(s.op, s.kernel) for s in steps] == [("add", "by hand"), ("compress", ""), ("reverse", "by hand")]
    assert all(s.time_us > 0 for s in steps)
