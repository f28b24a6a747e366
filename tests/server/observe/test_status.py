"""The status page: what its JSON says, that its policy fits it, and how a browser draws it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusee.server.door import DoorCounts, Page
from fusee.server.observe.sources import Sources
from fusee.server.observe.status import document, page_html, pages, quantile
from fusee.server.operations import Scope
from fusee.server.statistics import Histogram

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=4000",
    "--window-size=1240,1500",
)
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def test_a_models_entry(model: Any):
    found = document(Sources(lambda: [model]))
    (entry,) = found["models"]
    record = entry["record"]
    assert (entry["name"], entry["version"], entry["state"]) == ("digits", "3", "READY")
    assert (record["succeeded"], record["failures"], record["rejections"]) == (4, {"REJECTED": 1}, {"overloaded": 1})
    assert (record["queue_depth"], record["pending"], record["batches"]) == (1, 2, {"1": 0, "2": 0, "3–4": 2})
    assert record["stages_s"]["queue"] == pytest.approx(100e-6)
    assert record["latency"]["p50"] == pytest.approx(0.0025)
    assert record["waits"]["reasons"] == {"nothing more fits into the batch": 1}
    assert record["waits"]["latest"][0]["waited_us"] == 120.0
    json.dumps(found, allow_nan=False)


def test_what_does_not_answer_says_why(model: Any):
    index = [
        {"name": "digits", "version": "3", "state": "READY"},
        {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "engine.fusee: not an engine"},
        {"name": "idle"},
    ]
    models = document(Sources(lambda: [model], index=lambda: index))["models"]
    assert [(m["name"], m["state"], m["reason"], m["record"] is None) for m in models] == [
        ("broken", "UNAVAILABLE", "engine.fusee: not an engine", True),
        ("digits", "READY", "", False),
        ("idle", "UNAVAILABLE", "", True),
    ]


def test_doors_comparisons_and_processes(comparison: Any):
    doors = DoorCounts()
    doors.answered("http", 200)
    found = document(Sources(tuple, comparisons=lambda: [comparison], doors=doors))
    assert found["doors"] == [{"door": "http", "code": 200, "count": 1}]
    assert found["comparisons"] == [comparison]
    assert found["processes"][0]["resident_bytes"] > 1e6


def test_pages_need_the_read_scope(model: Any):
    html, state = pages(Sources(lambda: [model]))
    assert [(p.path, p.scope) for p in (html, state)] == [("/status", Scope.READ), ("/status.json", Scope.READ)]
    assert asyncio.run(html.render()).content_type == "text/html; charset=utf-8"
    content = asyncio.run(state.render())
    assert content.content_type == "application/json"
    assert json.loads(content.body)["models"][0]["name"] == "digits"


def test_the_page_needs_nothing_from_elsewhere_and_its_policy_says_so():
    text = page_html().decode()
    policy = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)[0]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for element in ("script", "style"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert not re.findall(r"(?:src|href)\s*=", text), "no resource is referred to"
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert set(re.findall(r"https?://[^\"']+", text)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([0.5], 0.5, 0.5), ([1.5] * 4, 0.5, 1.5), ([0.5, 1.5], 0.5, 1.0), ([9.0] * 3, 0.99, 4.0)],
)
def test_quantiles(values: list[float], share: float, expected: float | None):
    histogram = Histogram((1.0, 2.0, 4.0))
    for value in values:
        histogram.add(value)
    assert quantile(histogram, share) == expected


@given(st.lists(st.floats(0.0, 3.9), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_that_rank(values: list[float], share: float):
    histogram = Histogram((1.0, 2.0, 4.0))
    for value in values:
        histogram.add(value)
    found = quantile(histogram, share)
    assert found is not None
    assert sum(v <= found for v in values) <= len(values)
    upper = next(b for b in histogram.bounds if found <= b)
    assert sum(v <= upper for v in values) >= share * len(values) - 1e-9


@contextmanager
def serving(pages: Sequence[Page]) -> Iterator[str]:
    """The pages behind a plain HTTP server, by its address."""
    by_path = {page.path: page for page in pages}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = by_path.get(self.path)
            if page is None:
                self.send_error(404)
                return
            content = asyncio.run(page.render())
            self.send_response(200)
            self.send_header("content-type", content.content_type)
            self.end_headers()
            self.wfile.write(content.body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def drawn_by_chromium(address: str, profile: Path) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", f"{address}/status"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_draws_it_and_runs_nothing_of_what_it_shows(model: Any, stand: Any, comparison: Any, tmp_path: Path):
    hostile = stand(HOSTILE, "1")
    index = [{"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": HOSTILE}]
    sources = Sources(lambda: [model, hostile], index=lambda: index, comparisons=lambda: [comparison])
    with serving(pages(sources)) as address:
        dom = drawn_by_chromium(address, tmp_path)
    body = re.sub(r"<script>.*?</script>", "", dom, flags=re.DOTALL)
    assert '<span class="live" id="live">live</span>' in body
    assert "<title>Fusee</title>" in body
    assert "<img" not in body
    assert body.count("&lt;img src=x onerror=") == 2
    for words in (
        "digits",
        "version 3",
        "nothing more fits into the batch",
        "overloaded",
        "Batch assembly",
        "98.00 %",
        "canary, 10 %",
    ):
        assert words in body
