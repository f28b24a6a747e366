"""assay verify: is this report ours, and untouched?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import DEFAULT_HOME, Home
from assay.errors import Refusal, invalid
from assay.report.signing import Signer
from assay.report.verification import read_public_keys, verify
from assay.settings import read_settings


def command(
    report: Annotated[Path, typer.Argument(help="The JSON file.")],
    keys: Annotated[
        Path | None, typer.Option(help="As /.well-known/assay-keys.json has them; else home's own.")
    ] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Check a report's format, digest and signature, each by itself; needs no database and no network."""
    if not report.is_file():
        raise invalid(f"{report} is no file; expected a report in JSON")
    known = Signer(read_settings(home).signing_key).keys if keys is None else _keys(keys)
    verified = verify(report.read_bytes(), known)
    for check in verified.checks:
        typer.echo(f"{'ok    ' if check.passed else 'FAILED'} {check.name}: {check.detail}")
    raise typer.Exit(0 if verified.passed else 2)


def _keys(file: Path) -> dict[str, bytes]:
    try:
        return read_public_keys(file.read_bytes())
    except (OSError, Refusal) as err:
        raise invalid(f"{file}: {err}") from err
