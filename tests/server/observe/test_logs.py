"""Log lines for people and for machines, without secrets, and the settings that callers may change."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from fusee.server.errors import Reason, ServingError
from fusee.server.observe.logs import LogSettings, log_access, said

LOG = logging.getLogger("fusee.server.repository")


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def settings(stream: io.StringIO) -> Iterator[LogSettings]:
    found = LogSettings(stream=stream)
    found.open()
    yield found
    found.close()


def test_what_a_fresh_server_says():
    """As Triton 2.51 answers."""
    assert LogSettings().document() == {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "default",
    }


def test_a_line_for_people(settings: LogSettings, stream: io.StringIO):
    LOG.info("model %s", "ready", extra=said(model="digits", version="3", took="0.4 s"))
    line = stream.getvalue()
    assert line[0] == "I"
    assert line.endswith(' model ready model=digits version=3 took="0.4 s"\n')


def test_iso_times(settings: LogSettings, stream: io.StringIO):
    settings.update({"log_format": "ISO8601"})
    LOG.warning("slow")
    time, kind, message = stream.getvalue().split()
    assert (time[10], time[-1], kind, message) == ("T", "Z", "W", "slow")


def test_a_line_for_machines(stream: io.StringIO):
    settings = LogSettings(log_json=True, stream=stream)
    settings.open()
    LOG.error("no engine", extra=said(model="digits", message="hidden", request_id="r-7"))
    settings.close()
    found = json.loads(stream.getvalue())
    assert (found["level"], found["message"], found["model"], found["request_id"]) == (
        "error", "no engine", "digits", "r-7",
    )  # fmt: skip
    assert found["logger"] == "fusee.server.repository"


def test_an_exception_comes_along(settings: LogSettings, stream: io.StringIO):
    for form in ("default", "json"):
        settings.update({"log_format": form})
        try:
            raise ValueError("the cause")
        except ValueError:
            LOG.exception("failed")
    plain, machine = stream.getvalue().rsplit("\n", 2)[:2]
    assert "ValueError: the cause" in plain
    assert "ValueError: the cause" in json.loads(machine)["exception"]


@pytest.mark.parametrize("form", ["default", "ISO8601", "json"])
def test_secrets_are_not_written(settings: LogSettings, stream: io.StringIO, form: str):
    settings.update({"log_format": form})
    LOG.info("asked", extra=said(**{"Authorization": "Bearer hush", "x-api-key": "hush", "caller": "camera-7"}))
    assert "hush" not in stream.getvalue()
    assert "camera-7" in stream.getvalue()


@pytest.mark.parametrize("form", ["default", "ISO8601", "json"])
def test_what_callers_send_stays_on_its_line(settings: LogSettings, stream: io.StringIO, form: str):
    settings.update({"log_format": form})
    LOG.info("unknown model %s", "x\nE0101 forged\x1b[31m", extra=said(request_id="a\nb"))
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"log_info": False}, ["warned", "failed"]),
        ({"log_warning": False}, ["said", "failed"]),
        ({"log_error": False}, ["said", "warned"]),
        ({"log_verbose_level": 1}, ["debugged", "said", "warned", "failed"]),
    ],
)
def test_kinds_are_switched_one_by_one(settings: LogSettings, stream: io.StringIO, change: Any, left: list[str]):
    settings.update(change)
    assert settings.document().items() >= change.items()
    LOG.debug("debugged")
    LOG.info("said")
    LOG.warning("warned")
    LOG.error("failed")
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == left


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        ({"log_file": "x"}, Reason.UNSUPPORTED, "log_file cannot be set by a call"),
        ({"log_info": 1}, Reason.INVALID, "'log_info' is 1, expected true or false"),
        ({"log_verbose_level": -1}, Reason.INVALID, "'log_verbose_level' is -1, expected a whole number, 0 or above"),
        ({"log_verbose_level": True}, Reason.INVALID, "'log_verbose_level' is True"),
        ({"log_format": "xml"}, Reason.INVALID, "'log_format' is 'xml', expected one of default, ISO8601, json"),
        ({"log_format": ["json"]}, Reason.INVALID, "expected one of"),
        ({"logs": True}, Reason.INVALID, "'logs' is unknown"),
    ],
)
def test_what_is_refused_changes_nothing(change: Any, reason: Reason, message: str):
    settings = LogSettings()
    before = settings.document()
    with pytest.raises(ServingError) as caught:
        settings.update({"log_warning": False, **change})
    assert caught.value.reason is reason
    assert message in caught.value.message
    assert settings.document() == before


def test_the_access_log_is_off_until_asked_for(settings: LogSettings, stream: io.StringIO):
    log_access("http", "infer", 200, 512, "camera-7", "r-7")
    assert stream.getvalue() == ""
    settings.close()
    other = LogSettings(stream=stream, has_access=True)
    other.open()
    log_access("http", "infer", 200, 512, "camera-7", "r-7")
    other.close()
    fields = "door=http operation=infer code=200 duration_us=512 caller=camera-7 request_id=r-7"
    assert stream.getvalue().endswith(f" answered {fields}\n")


def test_closing_gives_the_log_back(stream: io.StringIO, caplog: pytest.LogCaptureFixture):
    settings = LogSettings(stream=stream)
    settings.open()
    settings.close()
    settings.close()
    LOG.warning("after")
    assert stream.getvalue() == ""
    assert "after" in caplog.text
