"""Threads come and go with their sessions, and any number of callers may share an engine."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.runtime.session import Session
from runtime.small_engines import chain_plan, engine, linear_expected, linear_plan, weights

TESTS = Path(__file__).parents[1]


def fusee_threads() -> list[str]:
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("fusee-"))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test begins with none, whatever ran before, and ends with as many."""
    gc.collect()
    before = fusee_threads()
    assert before == [], "an earlier test keeps a session open"
    yield
    gc.collect()
    assert fusee_threads() == before


def test_a_closed_session_has_no_threads_and_does_not_run():
    session = engine(chain_plan(10, 3)).session(4)
    assert len(fusee_threads()) == 3
    session.close()
    session.close()
    assert fusee_threads() == []
    with pytest.raises(RequestError, match=r"this session is closed; make a new one with engine.session\(\)"):
        session.run({"x": np.zeros(10, np.float32)})


def test_a_forgotten_session_gives_its_threads_back_at_once():
    gc.collect()
    gc.disable()
    try:
        session = engine(chain_plan(10, 3)).session(3)
        session.run({"x": np.zeros(10, np.float32)})
        alive = weakref.ref(session)
        del session
        assert alive() is None
        assert fusee_threads() == []
    finally:
        gc.enable()


def test_many_sessions_leave_nothing():
    made = engine(chain_plan(100, 5))
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        with made.session(3) as session:
            session.run({"x": np.zeros(100, np.float32)})
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_sessions_side_by_side_do_not_disturb_each_other():
    made = engine(chain_plan(1001, 31))
    x = np.arange(1001, dtype=np.float32)

    def work(seed: int) -> bool:
        with made.session(1 + seed % 2) as session:
            return all(np.array_equal(session.run({"x": x + i})["y"], (x + i)[::-1]) for i in range(seed, seed + 60))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [True] * 4


def test_callers_of_one_engine():
    made = engine(linear_plan(), weights())

    def work(n: int) -> bool:
        x = np.full((1 + n % 5, 5), n, np.float32)
        return np.allclose(made.run({"x": x})["y"], linear_expected(x, weights()), rtol=1e-5)

    with made, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


def test_callers_of_one_session_take_turns():
    with engine(linear_plan(), weights()).session(2) as session, ThreadPoolExecutor(4) as pool:

        def work(n: int) -> bool:
            x = np.full((1 + n % 7, 5), n, np.float32)
            return np.allclose(session.run({"x": x})["y"], linear_expected(x, weights()), rtol=1e-5)

        assert all(pool.map(work, range(300)))


def test_run_async():
    with engine(linear_plan(), weights()).session(2) as session:
        inputs = [np.full((2, 5), i, np.float32) for i in range(20)]
        futures = [session.run_async({"x": x}) for x in inputs]
        for x, future in zip(inputs, futures, strict=True):
            np.testing.assert_allclose(future.result(10)["y"], linear_expected(x, weights()), rtol=1e-5)
        with pytest.raises(RequestError, match="input 'x' missing"):
            session.run_async({}).result(10)


def test_closing_waits_for_runs_under_way():
    session = engine(chain_plan(20_000, 50)).session(2)
    x = np.arange(20_000, dtype=np.float32)
    future = session.run_async({"x": x})
    session.close()
    try:
        np.testing.assert_array_equal(future.result(10)["y"], x)
    except RequestError as err:
        assert "closed" in str(err)  # noqa: PT017 - closing may come before the run begins


def test_the_number_of_threads_is_checked():
    with pytest.raises(RequestError, match="threads is 0, expected 1 to 1024"):
        engine(chain_plan(10, 3)).session(0)
    with pytest.raises(RequestError, match="device 'gpu' is unknown; this Fusee has cpu"):
        engine(chain_plan(10, 3)).session(device="gpu")


def run_forever(session: Session, inputs: dict[str, Array]) -> None:
    while True:
        session.run(inputs)


def test_control_c_reaches_the_caller_and_the_session_goes_on():
    x = np.arange(100_000, dtype=np.float32)
    with engine(chain_plan(100_000, 60)).session(2) as session:
        session.run({"x": x})
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            run_forever(session, {"x": x})
        timer.join()
        np.testing.assert_array_equal(session.run({"x": x})["y"], x)


SCRIPTS = {
    "a session open at exit": "session.run(inputs)",
    "a run under way at exit": "session.run_async(inputs)",
    "an engine's own sessions at exit": "made.run(inputs)",
}


def run_script(body: str) -> str:
    """Run lines in a new process, after making an engine and a session; gives what they print."""
    script = "\n".join(
        [
            "import numpy as np, os, sys",
            "from runtime.small_engines import chain_plan, engine",
            "made = engine(chain_plan(1000, 5))",
            "session = made.session(3)",
            "inputs = {'x': np.arange(1000, dtype=np.float32)}",
            body,
            "print('end')",
        ]
    )
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_process_ends_cleanly(name: str):
    assert run_script(SCRIPTS[name]) == "end\n"


def test_after_a_fork_the_child_needs_a_session_of_its_own():
    body = """
session.run(inputs)
made.run(inputs)
child = os.fork()
if child == 0:
    try:
        session.run(inputs)
    except Exception as err:
        print(type(err).__name__, err)
    with made.session(2) as own:
        print(own.run(inputs)['y'][0], made.run(inputs)['y'][0], flush=True)
    del session
    made.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
session.run(inputs)"""
    expected = (
        "RequestError this session was made before the process forked, and its threads did not come along; "
        "make a new session in the child process\n999.0 999.0\nend\n"
    )
    assert run_script(body) == expected
