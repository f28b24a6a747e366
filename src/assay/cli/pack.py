"""assay pack: engines for this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import DEFAULT_HOME, DEFAULT_MODELS, Home, Models
from assay.packing import NATIVE, pack
from assay.settings import read_settings
from assay.vision.engines import serving_folder


def command(
    home: Home = DEFAULT_HOME,
    models: Models = DEFAULT_MODELS,
    isa: Annotated[str, typer.Option(help="native for this machine, or avx2 for any x86-64 with AVX2.")] = NATIVE,
) -> None:
    """Make what judges: engines from the trained networks, each verified, a repository of them for `fusee serve`, and
    the thresholds shipped, where there are none. What is up to date stays."""
    pack_home(home, models, isa)


def pack_home(home: Path, models: Path, isa: str = NATIVE) -> None:
    settings = read_settings(home)
    for packed in pack(models, settings.engines, isa=isa):
        took = "up to date" if packed.build_s is None else f"built and verified in {packed.build_s:.1f} s"
        typer.echo(f"engine {packed.engine.name}: {took}")
    serving_folder(settings.engines)
    shipped = models / settings.calibration.name
    if not settings.calibration.exists() and shipped.exists():
        shutil.copyfile(shipped, settings.calibration)
        typer.echo(f"thresholds: those of {shipped}")
