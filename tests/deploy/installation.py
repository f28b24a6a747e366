"""An installation as compose.yaml describes it, its secrets in a folder of the test."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy/assay"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())


def make_secrets(folder: Path, suffix: str = "") -> Path:
    """What secrets.sh makes. Raises ChildProcessError with what it said."""
    command = ["sh", str(FOLDER / "secrets.sh"), str(folder), suffix]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChildProcessError(done.stderr)
    return folder


def environment_of(service: str, secrets: Path) -> dict[str, str]:
    """Of one of compose's services; its secrets lie in the folder."""
    given: dict[str, str] = COMPOSE["services"][service]["environment"]
    places = places_of(secrets)
    return {name: places.get(value, value) for name, value in given.items()}


def places_of(secrets: Path) -> dict[str, str]:
    """Where containers find the secrets, and where they are here."""
    named: dict[str, dict[str, str]] = COMPOSE["secrets"]
    return {f"/run/secrets/{name}": str(secrets / Path(kept["file"]).name) for name, kept in named.items()}
