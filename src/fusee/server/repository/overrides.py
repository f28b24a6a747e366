"""What a load call may carry: a configuration, or a whole model, in place of what lies in the repository."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.repository.config import parse_config_json
from fusee.server.repository.layout import Source, is_version
from fusee.server.settings import Settings
from fusee.server.types import Json

_FILE = re.compile(r"file:([0-9]+)/([A-Za-z0-9_-][A-Za-z0-9._-]{0,127})")


class Override(NamedTuple):
    """What a load call says; None leaves it to the repository."""

    config: ModelConfig | None = None
    source: Source | None = None


NOTHING = Override()


class Overrides:
    """Takes them, where the settings allow it. Files are kept until the server stops."""

    def __init__(self, settings: Settings) -> None:
        self._is_allowed = settings.allow_load_override
        self._folders: list[tempfile.TemporaryDirectory[str]] = []

    def take(self, name: str, parameters: Mapping[str, Json]) -> Override:
        """The parameters of a load call. Raises ServingError."""
        if not parameters:
            return NOTHING
        if not self._is_allowed:
            raise ServingError(
                Reason.FORBIDDEN,
                f"load of {name!r} carries {', '.join(sorted(parameters))}: this server takes configuration and files "
                "from its repository alone; start it with --allow-load-override",
            )
        config, files = None, dict[tuple[str, str], bytes]()
        for key, value in parameters.items():
            if not isinstance(value, str):
                raise invalid(f"load of {name!r}: parameter {key!r} is to be a string")
            if key == "config":
                config = parse_config_json(value, f"load of {name!r}: config")
            elif found := _FILE.fullmatch(key):
                files[_version(found[1], key), found[2]] = _content(key, value)
            else:
                raise invalid(
                    f"load of {name!r}: parameter {key!r} is unknown; there are config and file:<version>/<name>"
                )
        if files and config is None:
            raise invalid(f"load of {name!r}: files are given without config, which must come with them")
        return Override(config, self._written(name, files) if files else None)

    def close(self) -> None:
        """Delete the files."""
        while self._folders:
            self._folders.pop().cleanup()

    def _written(self, name: str, files: Mapping[tuple[str, str], bytes]) -> Source:
        folder = tempfile.TemporaryDirectory(prefix="fusee-load-")
        self._folders.append(folder)
        model = Path(folder.name) / name
        for (version, file_name), content in files.items():
            place = model / version
            place.mkdir(parents=True, exist_ok=True)
            (place / file_name).write_bytes(content)
        versions = sorted({version for version, _ in files}, key=int)
        return Source(name, Path(folder.name), model, {v: model / v for v in versions})


def _version(text: str, key: str) -> str:
    if not is_version(text):
        raise invalid(f"{key!r}: {text} is no version; expected a number from 1, without leading zeros")
    return text


def _content(key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as err:
        raise invalid(f"{key!r}: is not base64: {err}") from err
