"""The command line of Assay: one file per command, each calls the library and prints.

To add a command: write a function ``command`` in a file of its own and list it in COMMANDS. Nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import typer

from assay.errors import invalid
from fusee.base.errors import FuseeError

COMMANDS = (
    "init", "pack", "serve", "work", "enroll", "calibrate", "train", "draw", "tenant", "key", "verify", "rerun"
)  # fmt: skip
COMPILE_HALF = ("onnx", "llvmlite")
"""Packages that a machine which only judges has no need of."""
ANY_WORDS = {"allow_extra_args": True, "ignore_unknown_options": True}


def application(commands: Sequence[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands: what others need is not imported."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")

    @app.callback()
    def _about() -> None:
        """Photos of a luxury item in, an evidence-backed authentication report out."""

    for name in commands:
        _add(app, name)
    return app


def main() -> None:
    """Run the command line. A problem of the user's ends in one paragraph and exit code 2."""
    asked = sys.argv[1:2]
    try:
        application(asked if set(asked) & set(COMMANDS) else COMMANDS)()
    except FuseeError as err:
        print(f"assay: {err}", file=sys.stderr)
        sys.exit(2)


def _add(app: typer.Typer, name: str) -> None:
    """Add a command; where it needs the compile half and that is not installed, one that says so."""
    try:
        app.command(name)(import_module(f"assay.cli.{name}").command)
    except ImportError as err:
        if err.name not in COMPILE_HALF:
            raise
        settings: dict[str, Any] = ANY_WORDS
        app.command(name, context_settings=settings, help="Not installed here: fusee[cpu].")(_absent(name, err.name))


def _absent(name: str, package: str) -> Callable[[], None]:
    def command() -> None:
        raise invalid(f"assay {name} needs the package {package!r}, which builds engines: pip install 'fusee[cpu]'")

    return command
