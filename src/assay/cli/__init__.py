"""The command line of Assay: one file per command, each calls the library and prints.

To add a command: write a function ``command`` in a file of its own and list it in COMMANDS. Nothing else.
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from fusee.base.errors import FuseeError

COMMANDS = (
    "init", "pack", "serve", "work", "enroll", "calibrate", "train", "draw", "tenant", "key", "verify", "rerun"
)  # fmt: skip

app = typer.Typer(
    help="Photos of a luxury item in, an evidence-backed authentication report out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for name in COMMANDS:
    app.command(name)(import_module(f"assay.cli.{name}").command)


def main() -> None:
    """Run the command line. A problem of the user's ends in one paragraph and exit code 2."""
    try:
        app()
    except FuseeError as err:
        print(f"assay: {err}", file=sys.stderr)
        sys.exit(2)
