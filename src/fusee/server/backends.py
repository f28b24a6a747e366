"""What makes a servable of a model, by the name of its backend. To add one: write its factory and list it here."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor

from fusee.server.pipelines.backends import serve_ensemble, serve_python
from fusee.server.pipelines.image_config import image_steps
from fusee.server.pipelines.images import with_images
from fusee.server.plane import Servable
from fusee.server.repository.loading import Backend, LoadContext
from fusee.server.repository.offered import ENGINE, ENSEMBLE, PYTHON
from fusee.server.scheduling.backend import engine_backend


def backends(decoders: Executor) -> Mapping[str, Backend]:
    """The table. Encoded pictures are decoded on ``decoders``, which stays the caller's."""

    def serve_engine(context: LoadContext) -> Servable:
        steps = image_steps(context.config)
        servable = engine_backend(context)
        if steps is None:
            return servable
        return with_images(servable, steps, context.post, decoders, context.settings.limits.image_pixels)

    return {ENGINE: serve_engine, ENSEMBLE: serve_ensemble, PYTHON: serve_python}
