"""What commands share in printing: a progress bar on a terminal, plain lines in a log, JSON when asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

LOG_WIDTH = 200  # of lines that no terminal shows: a log is not to be wrapped


def _console(stream: TextIO, **options: Any) -> Console:
    return Console(highlight=False, width=None if stream.isatty() else LOG_WIDTH, **options)


console = _console(sys.stdout)
errors = _console(sys.stderr, stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output, and nothing else there."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def facts_table(facts: Mapping[str, object], title: str = "") -> Table:
    """Names and values in two columns."""
    table = Table(title=title or None, show_header=False, box=None, title_justify="left", pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in facts.items():
        table.add_row(name, str(value))
    return table


@contextmanager
def stages(title: str, quiet: bool) -> Generator[Any]:
    """A callable ``(stage, share done)`` for a long piece of work: a bar with an ETA, or a line per stage in a log."""
    if quiet:
        yield lambda _stage, _share: None
        return
    if not errors.is_terminal:
        yield lambda stage, share: errors.print(f"{title}: {stage} ({share:.0%} done)")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda stage, share: bar.update(task, completed=share, description=f"{title}: {stage}")
        bar.update(task, completed=1.0)


def mib(size_bytes: float) -> str:
    """Bytes for people; KiB where a MiB is too coarse."""
    return f"{size_bytes / 2**20:.1f} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.1f} KiB"
