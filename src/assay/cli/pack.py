"""assay pack: engines for this machine."""

from __future__ import annotations

from pathlib import Path

import typer

from assay.cli.options import DEFAULT_HOME, DEFAULT_MODELS, Home, Models
from assay.packing import pack
from assay.settings import read_settings


def command(home: Home = DEFAULT_HOME, models: Models = DEFAULT_MODELS) -> None:
    """Build the engines for this machine from the trained networks, each verified. What is up to date stays."""
    pack_engines(home, models)


def pack_engines(home: Path, models: Path) -> None:
    engines = read_settings(home).engines
    for packed in pack(models, engines):
        took = "up to date" if packed.build_s is None else f"built and verified in {packed.build_s:.1f} s"
        typer.echo(f"engine {packed.engine.name}: {took}")
