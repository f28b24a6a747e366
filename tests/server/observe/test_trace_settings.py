"""The trace extension's state: what holds for a model, what may be changed, which requests are taken."""

from __future__ import annotations

from typing import Any

import pytest

from fusee.server.errors import Reason, ServingError
from fusee.server.observe.trace_settings import Rates, TraceSettings

TIMESTAMPS = {"trace_level": ["TIMESTAMPS"]}


@pytest.fixture
def settings() -> TraceSettings:
    return TraceSettings("chrome", "trace.json")


def test_what_a_fresh_server_says():
    """As Triton 2.51 answers, but for the mode's name."""
    assert TraceSettings("").document("") == {
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_file": "",
        "trace_mode": "chrome",
    }


def test_a_model_follows_all_models_until_it_is_told_otherwise(settings: TraceSettings):
    settings.update("", {"trace_rate": "7", **TIMESTAMPS})
    settings.update("digits", {"trace_rate": "5"})
    assert settings.document("digits")["trace_rate"] == "5"
    assert settings.document("digits")["trace_level"] == ["TIMESTAMPS"]
    assert settings.document("other")["trace_rate"] == "7"
    settings.update("", {"log_frequency": "3"})
    assert settings.document("digits")["log_frequency"] == "3"


@pytest.mark.parametrize("cleared", [None, []])
def test_clearing_goes_back_one_level(settings: TraceSettings, cleared: Any):
    settings.update("", {"trace_rate": "7"})
    settings.update("digits", {"trace_rate": "5"})
    settings.update("digits", {"trace_rate": cleared})
    assert settings.document("digits")["trace_rate"] == "7"
    settings.update("", {"trace_rate": cleared})
    assert settings.document("digits")["trace_rate"] == "1000"


def test_all_models_go_back_to_what_the_server_was_started_with():
    settings = TraceSettings("opentelemetry", initial=Rates(frozenset(("TIMESTAMPS",)), rate=2))
    assert settings.is_on
    settings.update("", {"trace_level": "OFF", "trace_rate": "9"})
    assert not settings.is_on
    settings.update("", {"trace_level": None, "trace_rate": None})
    assert (settings.document("")["trace_level"], settings.document("")["trace_rate"]) == (["TIMESTAMPS"], "2")


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        ({"trace_file": "x"}, Reason.UNSUPPORTED, "'trace_file' is fixed when the server starts"),
        ({"trace_mode": "triton"}, Reason.UNSUPPORTED, "'trace_mode' is fixed when the server starts"),
        ({"trace_level": ["TENSORS"]}, Reason.UNSUPPORTED, "tensors are not recorded"),
        ({"trace_level": ["STEPS"]}, Reason.UNSUPPORTED, "this server times no steps"),
        ({"trace_level": ["FOO"]}, Reason.INVALID, "trace level 'FOO' is unknown; expected OFF, TIMESTAMPS, STEPS"),
        ({"trace_rate": "x"}, Reason.INVALID, "'trace_rate' is 'x', expected a whole number, 0 or above"),
        ({"trace_rate": "٣"}, Reason.INVALID, "expected a whole number"),
        ({"trace_rate": "9" * 5000}, Reason.INVALID, "expected a whole number"),
        ({"trace_rate": 5}, Reason.INVALID, "'trace_rate' is 5, expected a string or a list of strings"),
        ({"trace_rate": ["1", "2"]}, Reason.INVALID, "takes one value, found ['1', '2']"),
        ({"trace_count": "-2"}, Reason.INVALID, "'trace_count' is '-2', expected a whole number, -1 or above"),
        ({"tracing": "1"}, Reason.INVALID, "'tracing' is unknown; expected trace_level, trace_rate, trace_count"),
    ],
)
def test_what_is_refused_changes_nothing(settings: TraceSettings, change: Any, reason: Reason, said: str):
    before = settings.document("")
    with pytest.raises(ServingError) as caught:
        settings.update("", {"log_frequency": "4", **change})
    assert caught.value.reason is reason
    assert said in caught.value.message
    assert settings.document("") == before


def test_levels_need_somewhere_to_go():
    with pytest.raises(ServingError, match="nowhere to write traces: start the server with a trace file"):
        TraceSettings("").update("", TIMESTAMPS)
    TraceSettings("").update("", {"trace_level": ["OFF"]})


def test_one_request_of_so_many_is_taken(settings: TraceSettings):
    settings.update("", {"trace_rate": "3", **TIMESTAMPS})
    assert [settings.takes("a") for _ in range(7)] == [True, False, False, True, False, False, True]
    assert settings.takes("b"), "models are counted apart"


def test_the_count_runs_out(settings: TraceSettings):
    settings.update("", {"trace_rate": "1", "trace_count": "2", **TIMESTAMPS})
    settings.update("own", {"trace_count": "1"})
    for model in ("a", "own", "a"):
        assert settings.takes(model)
        settings.took(model)
    assert not settings.takes("a")
    assert not settings.takes("own")
    assert not settings.is_on
    assert settings.document("")["trace_count"] == "0"


def test_off_when_no_model_is_on(settings: TraceSettings):
    settings.update("digits", {**TIMESTAMPS})
    assert settings.is_on
    assert not settings.takes("other")
    settings.update("digits", {"trace_rate": "0"})
    assert not settings.is_on
