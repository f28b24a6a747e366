"""assay key: another key of a tenant."""

from __future__ import annotations

from typing import Annotated

import typer

from assay.cases import Scope
from assay.cli.options import DEFAULT_HOME, Home
from assay.installation import utc_now
from assay.settings import read_settings
from assay.store import Store


def command(
    tenant_id: Annotated[str, typer.Argument()],
    name: Annotated[str, typer.Argument(help="Whose it is: 'Ana, reviewer'. Audit entries and reviews say so.")],
    scope: Annotated[list[Scope], typer.Option(help="What it allows; repeatable.")] = [Scope.SUBMIT],  # noqa: B006
    home: Home = DEFAULT_HOME,
) -> None:
    """Make a key, which is shown once."""
    store = Store(read_settings(home), utc_now)
    try:
        key_id, secret = store.tenants.create_key(tenant_id, name, scope)
    finally:
        store.close()
    typer.echo(f"key {key_id}, shown once: {secret}")
