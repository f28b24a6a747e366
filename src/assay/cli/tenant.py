"""assay tenant: another customer."""

from __future__ import annotations

from typing import Annotated

import typer

from assay.cli.options import DEFAULT_HOME, Home
from assay.installation import utc_now
from assay.settings import read_settings
from assay.store import Store


def command(
    name: Annotated[str, typer.Argument()],
    home: Home = DEFAULT_HOME,
    retention_days: Annotated[int, typer.Option(help="Photographs and reports are erased after.")] = 365,
) -> None:
    """Make a tenant: one customer, who sees nothing of any other."""
    store = Store(read_settings(home), utc_now)
    try:
        made = store.tenants.create(name, retention_days)
    finally:
        store.close()
    typer.echo(f"tenant {made.name}: {made.id}")
