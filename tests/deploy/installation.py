"""An installation as compose.yaml describes it, its secrets in a folder of the test."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy/assay"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SECRETS = "/run/secrets/"


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
    return {
        name: str(secrets / value.removeprefix(SECRETS)) if value.startswith(SECRETS) else value
        for name, value in given.items()
    }
