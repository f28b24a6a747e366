"""The standard's node cases, each built, verified and run: the numbers we promise, and the page that tells them."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest

from conformance.cases import node_cases
from conformance.outcome import NATIVE, REFUSED, Outcome
from conformance.suite import ONNXRUNTIME_PASSES, PAGE, page, run_all


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return run_all()


def test_every_case_runs_or_is_refused_with_a_reason(outcomes: list[Outcome]) -> None:
    assert len(outcomes) == len(node_cases())
    bad = [f"{o.kind} {o.name}: {o.detail}" for o in outcomes if not o.passed and o.kind != REFUSED]
    assert not bad, "\n".join(bad)
    assert all(o.detail for o in outcomes if o.kind == REFUSED)


def test_more_cases_pass_than_in_onnx_runtime(outcomes: list[Outcome]) -> None:
    counts = Counter(o.kind for o in outcomes)
    assert onnx.__version__ == "1.23.2", "the promised numbers are for the cases of this version"
    assert sum(o.passed for o in outcomes) >= max(1500, ONNXRUNTIME_PASSES)
    assert counts[NATIVE] >= 1100


def test_the_page_tells_what_happens(outcomes: list[Outcome]) -> None:
    assert PAGE.read_text() == page(outcomes), "run `python -m conformance.suite` in tests/"
