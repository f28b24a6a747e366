"""assay init: a new installation."""

from __future__ import annotations

from typing import Annotated

import typer

from assay.cases import Scope
from assay.cli.options import DEFAULT_HOME, DEFAULT_MODELS, Home, Models
from assay.cli.pack import pack_home
from assay.errors import invalid
from assay.installation import utc_now
from assay.settings import read_settings
from assay.store import Store

FIRST_KEY = "first key"


def command(
    home: Home = DEFAULT_HOME,
    models: Models = DEFAULT_MODELS,
    tenant: Annotated[str, typer.Option(help="Name of the first tenant, whose key may do everything.")] = "Atelier",
) -> None:
    """Make an installation: engines for this machine, thresholds, a first tenant and its key, which is shown once."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = read_settings(home)
    pack_home(home, models)
    store = Store(settings, utc_now)
    try:
        if store.tenants.all():
            raise invalid(f"{home} has tenants already; make more with `assay tenant`, and keys with `assay key`")
        made = store.tenants.create(tenant)
        _, secret = store.tenants.create_key(made.id, FIRST_KEY, list(Scope))
    finally:
        store.close()
    typer.echo(f"tenant {made.name}: {made.id}\nkey, shown once: {secret}")
