"""Watches the repositories, and loads what is new or changed, and unloads what is gone.

A model is taken when two looks in a row saw the same files, so that one being copied is left alone until it is whole.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from fusee.server.errors import ServingError
from fusee.server.repository.layout import (
    CONFIG_FILE,
    Source,
    Stamp,
    file_stamps,
    find_models,
    folder_stamp,
    version_stamp,
)
from fusee.server.repository.lifecycle import Lifecycle
from fusee.server.settings import Settings

_log = logging.getLogger("fusee.server.repository")
Seen = dict[str, tuple[Stamp, ...]]


def look(roots: tuple[Path, ...]) -> Seen:
    """The state of every model's files; a model that cannot be read has none."""
    return {name: _stamps(found) if isinstance(found, Source) else () for name, found in find_models(roots).items()}


def _stamps(source: Source) -> tuple[Stamp, ...]:
    try:
        config = file_stamps(source.root, [source.folder / CONFIG_FILE] if source.config_path else [])
        return config, folder_stamp(source), *(version_stamp(source, v) for v in source.versions)
    except (ServingError, OSError):  # it changes right now, or the load says what is wrong with it
        return ()


class Poller:
    """Compares looks, on the loop's thread; looks on another."""

    def __init__(self, lifecycle: Lifecycle, settings: Settings) -> None:
        self._lifecycle = lifecycle
        self._settings = settings
        self._taken: Seen = {}
        self._before: Seen = {}

    async def begin(self) -> None:
        """The first look: what it sees is about to be loaded by others."""
        self._before = await self._look()
        self._taken = dict(self._before)

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(self._settings.poll_s)
            await self.once()

    async def once(self) -> None:
        """One look, and what follows from it."""
        now = await self._look()
        for name in [n for n in self._taken if n not in now and n not in self._before]:
            del self._taken[name]
            model = self._lifecycle.models.get(name)
            if model is not None:
                await self._lifecycle.unload(model)
        for name, stamps in now.items():
            if self._before.get(name) == stamps != self._taken.get(name):
                self._taken[name] = stamps
                await self._load(name)
        self._before = now

    async def _load(self, name: str) -> None:
        try:
            await self._lifecycle.load(name, is_explicit=True)
        except ServingError as err:
            _log.error("%s: %s", name, err.message)

    async def _look(self) -> Seen:
        return await self._lifecycle.read(look, self._settings.repository)
