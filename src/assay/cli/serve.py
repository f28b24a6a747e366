"""assay serve: the web, and the workers beside it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Annotated

import typer

from assay.app import serve
from assay.cli.options import DEFAULT_HOME, Home
from assay.settings import read_settings


def command(
    home: Home = DEFAULT_HOME,
    host: Annotated[str, typer.Option(help="Address to listen on, in place of the settings' one.")] = "",
    port: Annotated[int, typer.Option(min=-1, max=65535, help="In place of the settings' one; 0: any free.")] = -1,
) -> None:
    """Take cases, judge them, show reports. Everything in one process unless the settings say otherwise."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = read_settings(home)
    settings = replace(settings, host=host or settings.host, port=settings.port if port < 0 else port)
    asyncio.run(serve(settings, lambda address: typer.echo(f"Assay is at {address}")))
