"""The repository's backend for engines."""

from __future__ import annotations

from fusee.server.repository.loading import LoadContext
from fusee.server.scheduling.servable import EngineServable, serve_engine


def engine_backend(context: LoadContext) -> EngineServable:
    """A servable of the engine that was loaded, measured and ready. Blocking. Raises RequestError."""
    assert context.engine is not None
    threads = context.settings.instance_threads
    return serve_engine(
        context.name, context.version, context.engine, context.config, context.post, context.labels, threads
    )
