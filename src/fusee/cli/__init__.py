"""The command line: one file per command, each calls the library and prints.

To add a command: write a function ``command`` in a file of its own and list it in COMMANDS. Nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer

from fusee.base.errors import FuseeError, InternalError, RequestError, VerifyError

COMMANDS = ("build", "run", "bench", "compare", "inspect", "profile", "serve", "doctor")
COMPILE_HALF = ("onnx", "llvmlite")
"""Packages that a machine which only runs and serves engines has no need of."""
ANY_WORDS = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    help="Compile a trained ONNX model into an engine for this machine, run it, measure it, serve it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _add(name: str, module: str, settings: dict[str, Any] | None = None) -> None:
    """Add a command; where it needs the compile half and that is not installed, one that says so."""
    try:
        app.command(name, context_settings=settings)(import_module(f"fusee.cli.{module}").command)
    except ImportError as err:
        if err.name not in COMPILE_HALF:
            raise
        app.command(name, context_settings=ANY_WORDS, help="Not installed here: fusee[cpu].")(_absent(name, err.name))


def _absent(name: str, package: str) -> Callable[[], None]:
    def command() -> None:
        raise RequestError(
            f"fusee {name} needs the package {package!r}, with which models are built: pip install 'fusee[cpu]'"
        )

    return command


for each in COMMANDS:
    _add(each, each)
_add("exec", "trtexec", ANY_WORDS)


def main() -> None:
    """Run the command line. A problem of the user's ends in one paragraph and exit code 2, one of ours in 1."""
    try:
        app()
    except FuseeError as err:
        print(f"fusee: {err}", file=sys.stderr)
        sys.exit(1 if isinstance(err, (InternalError, VerifyError)) else 2)
    except OSError as err:
        where = f"{err.filename}: " if err.filename else ""
        print(f"fusee: {where}{err.strerror or err}", file=sys.stderr)
        sys.exit(2)
    except MemoryError as err:
        print(f"fusee: out of memory: {err or 'the model or its inputs are too large'}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("fusee: interrupted", file=sys.stderr)
        sys.exit(130)
