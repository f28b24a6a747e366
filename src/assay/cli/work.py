"""assay work: workers alone."""

from __future__ import annotations

import asyncio
import logging

import typer

from assay.app import work
from assay.cli.options import DEFAULT_HOME, Home
from assay.settings import read_settings


def command(home: Home = DEFAULT_HOME) -> None:
    """Judge cases that a web on another machine, or in another process, takes in."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(work(read_settings(home), lambda workers: typer.echo(f"Assay works, with {workers} worker(s)")))
