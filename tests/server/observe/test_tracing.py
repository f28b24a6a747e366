"""A traced request becomes spans with its recorded times, in its caller's trace, beside those it was batched with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from fusee.base.errors import RequestError
from fusee.runtime.profile import StepTime
from fusee.server.errors import Reason, ServingError
from fusee.server.observe.chrome import ChromeFile
from fusee.server.observe.otlp import Otlp, open_otlp
from fusee.server.observe.spans import Span, remote, wall_clock_offset_ns
from fusee.server.observe.tracing import LONGEST_BACKLOG, Tracer
from fusee.server.types import InferRequest, InferResponse, Timing

TRACE_ID, CALLER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{CALLER_SPAN}-01", f"00-{TRACE_ID}-{CALLER_SPAN}-00"


class Kept:
    """A span writer that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.is_closed = False

    def write(self, spans: Sequence[Span], traces_per_file: int = 0) -> None:
        self.spans += spans

    def close(self) -> None:
        self.is_closed = True

    def named(self, name: str) -> list[Span]:
        return [s for s in self.spans if s.name == name]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def tracer(kept: Kept) -> Tracer:
    found = Tracer(writer=kept)
    found.settings.update("", {"trace_rate": "1"})
    return found


def asked(timing: Timing, traceparent: str = "", request_id: str = "") -> InferRequest:
    return InferRequest("digits", "", request_id, (), traceparent=traceparent, timing=timing)


ANSWER = InferResponse("digits", "3", "", ())


def test_stages_are_children_with_the_recorded_times(tracer: Tracer, kept: Kept, passing: Callable[..., Timing]):
    request = asked(passing(1000), SAMPLED, "r-7")
    tracer.finished(request, ANSWER, batch_size=4)
    tracer.close()
    (infer,) = kept.named("infer")
    assert infer.context.trace_id == TRACE_ID
    assert infer.parent == remote(SAMPLED).context  # pyright: ignore
    assert infer.attributes == {"model_name": "digits", "model_version": "3", "request_id": "r-7"}
    children = [s for s in kept.spans if s.parent == infer.context]
    assert [s.name for s in children] == ["queue", "compute_input", "compute_infer", "compute_output"]
    assert [s.end_ns - s.start_ns for s in children] == [100_000, 10_000, 820_000, 20_000]
    assert children[0].start_ns - infer.start_ns == 50_000
    assert abs(infer.start_ns - (request.timing.received_ns + wall_clock_offset_ns())) < 10**9
    assert kept.named("batch")[0].attributes["batch_size"] == 4
    assert kept.is_closed


def test_members_of_a_batch_and_the_batch_link_to_each_other(
    tracer: Tracer, kept: Kept, passing: Callable[..., Timing]
):
    together = [asked(passing(1000)) for _ in range(3)]
    alone = asked(passing(1000, queue_us=700))
    for request in (*together, alone):
        tracer.finished(request, ANSWER)
    tracer.close()
    batches = sorted(kept.named("batch"), key=lambda s: len(s.links))
    assert [len(b.links) for b in batches] == [1, 3]
    assert [b.attributes["requests"] for b in batches] == [1, 3]
    for batch in batches:
        members = [s for s in kept.named("infer") if s.context in batch.links]
        assert len(members) == len(batch.links)
        assert all(m.links == (batch.context,) for m in members)
    assert len({s.context.trace_id for s in kept.named("infer")}) == 4


def test_a_watched_request_passes_its_answer_on(tracer: Tracer, kept: Kept, passing: Callable[..., Timing]):
    answers: list[Any] = []
    request = asked(passing(1000), SAMPLED)
    done = tracer.watching(request, answers.append)
    parts = [InferResponse("digits", "3", "", (), final=False), ANSWER]
    for part in parts:
        done(part)
    assert answers == parts
    tracer.close()
    (infer,) = kept.named("infer")
    assert request.traceparent == f"00-{TRACE_ID}-{infer.context.span_id}-01", "what it calls in turn hangs below it"


def test_a_failure_ends_in_the_stage_where_it_was(tracer: Tracer, kept: Kept):
    timing = Timing(received_ns=1000, queued_ns=2000)
    tracer.finished(asked(timing), ServingError(Reason.EXPIRED, "waited 5 ms, its queue allows 2"))
    tracer.close()
    (infer,) = kept.named("infer")
    assert (infer.error, infer.attributes["error.type"]) == ("waited 5 ms, its queue allows 2", "expired")
    assert infer.links == ()
    assert [s.name for s in kept.spans] == ["infer", "queue"]
    assert kept.named("queue")[0].end_ns == infer.end_ns


def test_the_callers_decision_holds(tracer: Tracer, kept: Kept, passing: Callable[..., Timing]):
    tracer.settings.update("", {"trace_rate": "1000"})
    tracer.finished(asked(passing(1000)), ANSWER)  # the first of a thousand
    tracer.finished(asked(passing(1000)), ANSWER)
    tracer.finished(asked(passing(1000), SAMPLED), ANSWER)
    tracer.finished(asked(passing(1000), UNSAMPLED), ANSWER)
    tracer.close()
    assert [s.parent is not None for s in kept.named("infer")] == [False, True]


def test_off_costs_nothing_and_keeps_nothing(kept: Kept, passing: Callable[..., Timing]):
    tracer = Tracer(writer=kept)
    tracer.settings.update("", {"trace_level": ["OFF"]})
    assert not tracer.is_on
    done = lambda answer: None  # noqa: E731
    assert tracer.watching(asked(passing(1000), SAMPLED), done) is done
    tracer.close()
    assert kept.spans == []


def test_without_a_destination_it_is_off():
    tracer = Tracer()
    assert not tracer.is_on
    tracer.close()
    tracer.close()


def test_more_than_can_be_written_is_dropped_and_said(
    kept: Kept, passing: Callable[..., Timing], caplog: pytest.LogCaptureFixture
):
    tracer = Tracer(writer=kept)
    tracer.settings.update("", {"trace_rate": "1"})
    tracer._start = lambda: None  # pyright: ignore  # nothing is written meanwhile
    for _ in range(LONGEST_BACKLOG + 3):
        tracer.finished(asked(Timing()), ANSWER)
    tracer.close()
    assert len(kept.named("infer")) == LONGEST_BACKLOG
    assert "dropped the traces of 3 requests" in caplog.text


def test_engine_steps_share_the_time_of_the_engine(kept: Kept, passing: Callable[..., Timing]):
    steps = [StepTime("conv", "ConvKernel", (), 300.0), StepTime("softmax", "", (), 100.0)]
    asked_for: list[tuple[str, str]] = []

    def steps_of(model: str, version: str) -> Sequence[StepTime]:
        asked_for.append((model, version))
        return steps

    tracer = Tracer(writer=kept, steps=steps_of)
    tracer.settings.update("", {"trace_rate": "1", "trace_level": ["TIMESTAMPS", "STEPS"]})
    tracer.finished(asked(passing(1000)), ANSWER)
    tracer.close()
    (infer,) = kept.named("compute_infer")
    conv, softmax = (s for s in kept.spans if s.parent == infer.context)
    assert asked_for == [("digits", "3")]
    assert (conv.name, conv.attributes["kernel"], conv.attributes["usual_us"]) == ("conv", "ConvKernel", 300.0)
    assert (conv.start_ns, softmax.end_ns) == (infer.start_ns, infer.end_ns)
    assert conv.end_ns == softmax.start_ns
    assert (conv.end_ns - conv.start_ns) / (infer.end_ns - infer.start_ns) == pytest.approx(0.75, rel=1e-3)


def test_exemplars_are_by_bucket(tracer: Tracer, passing: Callable[..., Timing]):
    for request_us in (900, 950, 30_000):
        tracer.finished(asked(passing(request_us), SAMPLED), ANSWER)
    tracer.finished(asked(passing(1000)), ServingError(Reason.INTERNAL, "no"))
    exemplars = tracer.exemplars()["digits", "3"]
    assert sorted(e.value for e in exemplars.values()) == pytest.approx([0.00095, 0.03])
    assert {e.trace_id for e in exemplars.values()} == {TRACE_ID}
    tracer.close()


@pytest.mark.parametrize(
    "traceparent",
    ["", "00", f"00-{TRACE_ID}-{CALLER_SPAN}", f"ff-{TRACE_ID}-{CALLER_SPAN}-01", f"00-{'0' * 32}-{CALLER_SPAN}-01",
     f"00-{TRACE_ID}-{'0' * 16}-01", f"00-{TRACE_ID.upper()}-{CALLER_SPAN}-01", f"{SAMPLED}-more"],
)  # fmt: skip
def test_a_wrong_traceparent_is_none(traceparent: str):
    assert remote(traceparent) is None


def test_later_versions_of_traceparent_are_read():
    found = remote(f"01-{TRACE_ID}-{CALLER_SPAN}-03-more")
    assert found is not None
    assert found.is_sampled
    assert (found.context.trace_id, found.context.span_id) == (TRACE_ID, CALLER_SPAN)


@given(st.text())
def test_any_text_is_read(text: str):
    remote(text)


def test_a_chrome_file(tmp_path: Path, passing: Callable[..., Timing]):
    path = tmp_path / "trace.json"
    tracer = Tracer(trace_file=path)
    tracer.settings.update("", {"trace_rate": "1"})
    assert tracer.settings.document("")["trace_file"] == str(path)
    tracer.finished(asked(passing(1000), SAMPLED), ANSWER)
    tracer.flush()
    json.loads(path.read_text() + "]")  # readable while it grows: only its end is missing
    tracer.finished(asked(passing(2000)), ServingError(Reason.INTERNAL, "no <numbers>"))
    tracer.close()
    events = json.loads(path.read_text())
    assert {e["ph"] for e in events} == {"X"}
    infer = next(e for e in events if e["name"] == "infer")
    inside = [e for e in events if e["args"].get("parent_id") == infer["args"]["span_id"]]
    assert [e["tid"] for e in inside] == [infer["tid"]] * 4
    assert all(infer["ts"] <= e["ts"] and e["ts"] + e["dur"] <= infer["ts"] + infer["dur"] + 1 for e in inside)
    assert [e["args"]["error"] for e in events if "error" in e["args"]] == ["no <numbers>"]


def test_chrome_files_of_so_many_traces(tmp_path: Path, passing: Callable[..., Timing]):
    tracer = Tracer(trace_file=tmp_path / "trace.json")
    tracer.settings.update("", {"trace_rate": "1", "log_frequency": "2"})
    for _ in range(5):
        tracer.finished(asked(passing(1000)), ANSWER)
    tracer.close()
    counts = {p.name: sum(e["name"] == "infer" for e in json.loads(p.read_text())) for p in sorted(tmp_path.iterdir())}
    assert counts == {"trace.json": 2, "trace.json.1": 2, "trace.json.2": 1}


def test_chrome_files_are_bounded(passing: Callable[..., Timing], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Of many traces the latest are kept, in files that are whole."""
    tracer = Tracer(writer=ChromeFile(tmp_path / "trace.json", most_file_bytes=2000, most_bytes=10_000))
    tracer.settings.update("", {"trace_rate": "1"})
    for number in range(100):
        tracer.finished(asked(passing(1000, queue_us=100 + number), request_id=str(number)), ANSWER)
    tracer.close()
    files = sorted(tmp_path.iterdir(), key=lambda p: int(p.suffix[1:]))
    assert sum(p.stat().st_size for p in files) <= 12_000, "but for the trace that is written when it is noticed"
    events = [e for p in files for e in json.loads(p.read_text())]
    kept = [int(e["args"]["request_id"]) for e in events if e["name"] == "infer"]
    assert kept == list(range(kept[0], 100))
    assert "the oldest are removed" in caplog.text


def test_a_batch_waits_for_its_last_request(kept: Kept, passing: Callable[..., Timing]):
    """A batch that is being answered when spans are written is written the next time, in one piece."""
    tracer = Tracer(writer=kept)
    tracer.settings.update("", {"trace_rate": "1"})
    tracer._start = lambda: None  # pyright: ignore  # nothing is written but here
    alone, *together = asked(passing(1000, queue_us=700)), *(asked(passing(1000)) for _ in range(2))
    tracer.finished(alone, ANSWER)
    tracer.finished(together[0], ANSWER)
    tracer.flush(is_last=False)
    assert len(kept.named("batch")) == 1
    tracer.finished(together[1], ANSWER)
    tracer.close()
    assert [len(b.links) for b in kept.named("batch")] == [1, 2]


def test_an_empty_chrome_file_is_json(tmp_path: Path):
    Tracer(trace_file=tmp_path / "trace.json").close()
    assert json.loads((tmp_path / "trace.json").read_text()) == []


def test_a_chrome_file_that_cannot_be_written(tmp_path: Path):
    with pytest.raises(RequestError, match="cannot be written: No such file or directory"):
        Tracer(trace_file=tmp_path / "nowhere" / "trace.json")
    with pytest.raises(RequestError, match="give one of them"):
        Tracer("http://collector:4318/v1/traces", tmp_path / "trace.json")


def test_opentelemetry_gets_the_same_spans(passing: Callable[..., Timing]):
    memory = InMemorySpanExporter()
    tracer = Tracer(writer=Otlp(memory))
    tracer.settings.update("", {"trace_rate": "1"})
    tracer.finished(asked(passing(1000), SAMPLED), ANSWER)
    tracer.finished(asked(Timing(queued_ns=1)), ServingError(Reason.EXPIRED, "too late"))
    tracer.close()
    spans = memory.get_finished_spans()
    failed, infer = sorted((s for s in spans if s.name == "infer"), key=lambda s: s.status.is_ok)
    assert f"{infer.context.trace_id:032x}" == TRACE_ID
    assert (f"{infer.parent.span_id:016x}", infer.parent.is_remote) == (CALLER_SPAN, True)
    assert infer.kind is SpanKind.SERVER
    assert infer.resource.attributes["service.name"] == "fusee"
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "too late")
    (batch,) = (s for s in spans if s.name == "batch")
    assert batch.links[0].context.span_id == infer.context.span_id
    (queue,) = (s for s in spans if s.name == "queue" and s.parent.span_id == infer.context.span_id)
    assert queue.end_time - queue.start_time == 100_000


def test_the_exporter_takes_an_address():
    open_otlp("http://127.0.0.1:9/v1/traces").close()
    with pytest.raises(RequestError, match="expected an address as http://host:4318/v1/traces"):
        open_otlp("collector")


def test_without_opentelemetry_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(RequestError, match=r"not installed: pip install 'fusee\[otel\]'"):
        Tracer("http://collector:4318/v1/traces")
