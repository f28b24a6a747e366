"""What every run begins with: engines, references of one model, thresholds, and photographs to submit."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from assay.cases import Claim
from assay.installation import opened, utc_now
from assay.judging import calibrate
from assay.judging.calibration_file import write_calibration
from assay.references import EnrolmentPhoto, enrol
from assay.settings import Settings
from assay.synthetic import draw_case, draw_style, encode
from assay.views import View

STYLE = 30_001  # seed of the invented model
SIDE_PX = 512
FIRST_SUBMITTED = 100  # items before it are references
Photos = Mapping[View, bytes]


@dataclass(frozen=True)
class Template:
    """A folder that a run's home is copied from, with the photographs beside it."""

    home: Path
    claim: Claim
    cases: tuple[Photos, ...]

    def new_home(self, folder: Path) -> Path:
        return Path(shutil.copytree(self.home, folder))


def prepared(folder: Path, engines: Path, references: int, cases: int) -> Template:
    """In ``folder``: made once, then found there. ``references`` and ``cases`` count the items that are drawn."""
    style = draw_style(STYLE)
    claim = Claim(style.brand, style.model)
    asked = {"engines": _engines_sha256(engines), "references": references, "cases": cases, "side_px": SIDE_PX}
    record = folder / "template.json"
    if not record.exists() or json.loads(record.read_text()) != asked:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _make(folder, engines, claim, references, cases)
        record.write_text(json.dumps(asked))
    read = [_read(folder / "photos" / str(FIRST_SUBMITTED + number)) for number in range(cases)]
    return Template(folder / "home", claim, tuple(read))


def _make(folder: Path, engines: Path, claim: Claim, references: int, cases: int) -> None:
    numbers = [*range(references), *range(FIRST_SUBMITTED, FIRST_SUBMITTED + cases)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_draw, ((folder / "photos" / str(number), number) for number in numbers)))
    home = folder / "home"
    shutil.copytree(engines, home / "engines")
    photos = [
        EnrolmentPhoto(str(number), view, content)
        for number in range(references)
        for view, content in _read(folder / "photos" / str(number)).items()
    ]
    asyncio.run(_enrol(Settings(home), claim, photos))
    for database in home.glob("*.sqlite*"):
        database.unlink()


async def _enrol(settings: Settings, claim: Claim, photos: list[EnrolmentPhoto]) -> None:
    """The thresholds are invented: which verdict a case gets plays no role here."""
    async with opened(settings) as services:
        await enrol(claim, photos, services.lens, services.comparer, services.references, utc_now)
        rates = {"false_accept_rate": 0.3, "false_reject_rate": 0.3, "assurance": 0.5}
        made = calibrate([0.1, 0.2, 0.3], [2.0, 3.0, 4.0], [100.0], services.lens.identity.model_digest, **rates)
        write_calibration(settings.calibration, made)


def _draw(place: tuple[Path, int]) -> None:
    folder, number = place
    folder.mkdir(parents=True)
    for view, shot in draw_case(draw_style(STYLE), 1000 * STYLE + number, size_px=SIDE_PX).items():
        (folder / f"{view.value}.jpg").write_bytes(encode(shot))


def _read(folder: Path) -> dict[View, bytes]:
    return {view: (folder / f"{view.value}.jpg").read_bytes() for view in View}


def _engines_sha256(engines: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(engines.glob("*.fusee")))).hexdigest()
