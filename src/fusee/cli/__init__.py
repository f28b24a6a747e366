"""The command line: one file per command, each calls the library and prints.

To add a command: write a function in a file of its own and list it in COMMANDS. Nothing else.
"""

from __future__ import annotations

import sys

import typer

from fusee.base.errors import FuseeError, InternalError, VerifyError
from fusee.cli import bench, build, compare, doctor, inspect, profile, run, serve
from fusee.cli.trtexec import command as trtexec

COMMANDS = (
    ("build", build.command),
    ("run", run.command),
    ("bench", bench.command),
    ("compare", compare.command),
    ("inspect", inspect.command),
    ("profile", profile.command),
    ("serve", serve.command),
    ("doctor", doctor.command),
)

app = typer.Typer(
    help="Compile a trained ONNX model into an engine for this machine, run it, measure it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for name, function in COMMANDS:
    app.command(name)(function)
app.command("exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(trtexec)


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
