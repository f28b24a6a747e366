"""Every environment variable Fusee reads, in one table; nothing else reads the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fusee.base.errors import RequestError


@dataclass(frozen=True)
class Switch:
    """One environment variable: its name, what it does (for the manual), and its value when unset."""

    name: str
    meaning: str
    default: str

    def text(self) -> str:
        return os.environ.get(self.name, self.default)


DEBUG = Switch(
    "FUSEE_DEBUG",
    "what a build prints: 1 stages, 2 steps with kernel and time, 3 rules fired and declined, 4 sources, "
    "5 the graph after each pass",
    "0",
)
DUMP = Switch("FUSEE_DUMP", "folder that receives the graph as text after each stage", "")
CHECK = Switch("FUSEE_CHECK", "1 compares numbers with the reference after each pass, 2 after each step as well", "0")
MAX_REWRITES = Switch(
    "FUSEE_MAX_REWRITES", "stop rewriting after this many rewrites: bisect on it to find the one to blame", ""
)
KEY = Switch("FUSEE_KEY", "key that `fusee bench --server` sends", "")
SWITCHES = (DEBUG, DUMP, CHECK, MAX_REWRITES, KEY)


def _number(switch: Switch) -> int:
    text = switch.text() or "0"
    if not text.isdecimal():
        raise RequestError(f"the environment has {switch.name}={text!r}; expected a whole number")
    return int(text)


def debug_level() -> int:
    return _number(DEBUG)


def check_level() -> int:
    return _number(CHECK)


def dump_folder() -> Path | None:
    return Path(DUMP.text()) if DUMP.text() else None


def max_rewrites() -> int | None:
    return _number(MAX_REWRITES) if MAX_REWRITES.text() else None
