"""A whole installation in a folder, made and served by the commands that a user types."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from assay.cases import Claim, Scope
from assay.installation import utc_now
from assay.judging import calibrate, write_calibration
from assay.settings import Settings
from assay.store import Store
from assay.synthetic import draw_case, draw_style, encode
from assay.views import View
from assay.vision.engines import PHOTO, identity_of

MODELS = Path(__file__).parents[2] / "models/assay"
STYLE_SEED = 20_001  # of the model that is enrolled: training had others
REFERENCE_SEED, CASE_SEED = 20_001_000, 7_000_000
REFERENCE_PX = 512
STOP_S = 60.0


class Photographs(NamedTuple):
    """JPEG files by view: of each genuine item to enrol, and of each case."""

    claim: Claim
    references: Sequence[Mapping[View, bytes]]
    cases: Sequence[Mapping[View, bytes]]


class Serving(NamedTuple):
    """``assay serve`` as it runs."""

    address: str
    pid: int


def draw(references: int, cases: int) -> Photographs:
    """Of one invented model. Half of the cases show altered items, so that all of a report is made."""
    style = draw_style(STYLE_SEED)
    enrolled = [(REFERENCE_SEED + n, False, REFERENCE_PX) for n in range(references)]
    submitted = [(CASE_SEED + n, n % 2 == 1, 768) for n in range(cases)]
    with ProcessPoolExecutor() as pool:
        drawn = list(pool.map(_draw, *zip(*enrolled, *submitted, strict=True)))
    return Photographs(Claim(style.brand, style.model), drawn[:references], drawn[references:])


def _draw(seed: int, is_altered: bool, size_px: int) -> dict[View, bytes]:
    shots = draw_case(draw_style(STYLE_SEED), seed, None if is_altered else (), size_px=size_px)
    return {view: encode(shot) for view, shot in shots.items()}


def install(home: Path, drawn: Photographs) -> str:
    """Engines, thresholds and one enrolled model in ``home``; the key that may do everything."""
    printed = _assay(home, "init", "--models", str(MODELS))
    settings = Settings(home)
    if not settings.calibration.exists():
        _invent_calibration(settings)
    for number, item in enumerate(drawn.references):
        folder = home / "drawn" / f"item {number:02}"
        folder.mkdir(parents=True)
        for view, content in item.items():
            (folder / f"{view.value}.jpg").write_bytes(content)
    _assay(home, "enroll", drawn.claim.brand, drawn.claim.model, str(home / "drawn"))
    found = re.search(r"shown once: (\S+)", printed)
    assert found is not None, printed
    return found[1]


def _invent_calibration(settings: Settings) -> None:
    """Times do not depend on thresholds: those of a network that nobody calibrated are as good."""
    genuine, altered = [n / 100 for n in range(200)], [3 + n / 50 for n in range(200)]
    network = identity_of(settings.engines, PHOTO).model_digest
    write_calibration(settings.calibration, calibrate(genuine, altered, [-1.0, 1e6], network))


def new_key(store: Store, name: str) -> str:
    """Of a tenant of its own: what it submits, no other case had before."""
    tenant = store.tenants.create(name)
    _, secret = store.tenants.create_key(tenant.id, name, [Scope.SUBMIT])
    return secret


def opened_store(home: Path) -> Store:
    return Store(Settings(home), utc_now)


@contextmanager
def serving(home: Path, environment: Mapping[str, str] | None = None) -> Generator[Serving]:
    """``assay serve`` on a free port with the settings' defaults, but for ``environment``."""
    command = [sys.executable, "-m", "assay", "serve", "--home", str(home), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise RuntimeError("assay serve ended before it was ready; what it printed is above")
        yield Serving(found[0], process.pid)
    finally:
        process.terminate()
        process.wait(STOP_S)


def _assay(home: Path, *words: str) -> str:
    """Run a command; what it printed."""
    command = [sys.executable, "-m", "assay", *words, "--home", str(home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"assay {' '.join(words)} ended with {done.returncode}: {done.stdout}")
    return done.stdout
