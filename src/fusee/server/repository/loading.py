"""From a folder to a servable: what a load reads, decides and hands to the backend. Blocking, on loader threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fusee.base.errors import FuseeError
from fusee.runtime.engine import Engine, load
from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.plane import Lookup, Post, Servable
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.repository.building import Builder
from fusee.server.repository.completion import complete_defaults, complete_engine, complete_pipeline
from fusee.server.repository.config import read_config
from fusee.server.repository.layout import (
    CONFIG_FILE,
    Source,
    Stamp,
    folder_stamp,
    inside,
    member,
    model_file,
    version_stamp,
)
from fusee.server.repository.offered import ENGINE, ENSEMBLE, PYTHON, backend_of, check_batching, check_offered
from fusee.server.repository.versions import Choice, choose
from fusee.server.settings import Settings

_MOST_LABEL_BYTES = 16 << 20


@dataclass(frozen=True)
class LoadContext:
    """What a backend makes a servable of. ``file`` is the version's own (none for an ensemble), ``folder`` the
    model's; ``engine`` is there for the backend of engines alone."""

    name: str
    version: str
    folder: Path
    file: Path | None
    config: ModelConfig
    labels: Mapping[str, tuple[str, ...]]
    settings: Settings
    post: Post
    lookup: Lookup
    engine: Engine | None = None


Backend = Callable[[LoadContext], Servable]
"""Makes a servable that is ready to answer. Blocking, called on a loader thread. Raises FuseeError."""


@dataclass(frozen=True)
class Prepared:
    """A model as its folder is now: what to load, before anything is loaded."""

    source: Source
    config: ModelConfig  # as written
    backend: str
    choice: Choice
    labels: Stamp  # of the files beside the versions, but for the configuration
    versions: Mapping[str, Stamp]

    @property
    def composing(self) -> tuple[str, ...]:
        """The models that an ensemble asks."""
        return tuple(dict.fromkeys(step.model_name for step in self.config.ensemble_scheduling.step))

    @property
    def where(self) -> str:
        """The configuration, for messages."""
        return f"{self.source.name}/{CONFIG_FILE}"


@dataclass(frozen=True)
class Loaded:
    """One version, ready."""

    servable: Servable
    stamp: Stamp
    file: Path | None
    engine: Engine | None


def prepare(source: Source, settings: Settings, config: ModelConfig | None = None) -> Prepared:
    """Read and judge the configuration (the given one, else the folder's own). Raises ServingError."""
    where = f"{source.name}/{CONFIG_FILE}"
    if config is None:
        path = source.config_path
        config = read_config(inside(source.root, path), where) if path else ModelConfig()
    try:
        check_offered(config, where)
        backend = backend_of(config, where)
        if not source.versions and backend == ENSEMBLE:
            source = Source(source.name, source.root, source.folder, {"1": source.folder})
        if not source.versions:
            raise invalid(f"{source.name}: has no version; expected a folder {source.name}/1 with the model's file")
        choice = choose(config, tuple(source.versions), where)
        _refuse_triton_python(source, choice.stable)
        backend = backend or _backend_of_file(source, choice.stable)
        if backend == PYTHON and not settings.allow_python_models:
            raise ServingError(
                Reason.UNSUPPORTED,
                f"{source.name}: is a Python pipeline, and this server runs none; start it with --allow-python-models",
            )
        stamps = {v: () if backend == ENSEMBLE else version_stamp(source, v) for v in choice.versions}
        return Prepared(source, config, backend, choice, folder_stamp(source), stamps)
    except OSError as err:
        raise invalid(f"{source.name}: cannot be read: {err.strerror}") from err


def _refuse_triton_python(source: Source, version: str) -> None:
    if model_file(source, version) is None and (source.versions[version] / "model.py").is_file():
        raise ServingError(
            Reason.UNSUPPORTED,
            f"{source.name}/{version}/model.py: is for Triton's Python backend, whose files are not run here; write a "
            "pipeline.py with a function run(call, ...) instead",
        )


def _backend_of_file(source: Source, version: str) -> str:
    file = model_file(source, version)
    if file is not None:
        return PYTHON if file.suffix == ".py" else ENGINE
    raise invalid(
        f"{source.name}/{version}: has no model; expected model.fusee, model.onnx or pipeline.py there, or a "
        "config.pbtxt with ensemble_scheduling"
    )


class Loader:
    """Loads versions of models by the table of backends."""

    def __init__(
        self, settings: Settings, backends: Mapping[str, Backend], builder: Builder, post: Post, lookup: Lookup
    ) -> None:
        self._settings = settings
        self._backends = backends
        self._builder = builder
        self._post = post
        self._lookup = lookup

    def load(self, prepared: Prepared, version: str, before: Loaded | None) -> Loaded:
        """One version; the engine of the one before is used again if its file is the same. Raises FuseeError."""
        source = prepared.source
        config = ModelConfig()
        config.CopyFrom(prepared.config)
        file, engine = self._file(prepared, version), None
        if prepared.backend == ENGINE:
            assert file is not None
            is_same = before is not None and (before.file, before.stamp) == (file, prepared.versions[version])
            engine = before.engine if before is not None and is_same else None
            engine = engine or self._engine(file)
            batch_size = self._settings.max_batch_size
            complete_engine(config, engine.inputs, engine.outputs, batch_size, prepared.where)
        elif prepared.backend == PYTHON:
            complete_pipeline(config)
        complete_defaults(config, source.name, file.name if file else "", prepared.where)
        check_batching(config, prepared.where)
        labels = read_labels(source, config, prepared.where)
        make = self._backends.get(prepared.backend)
        if make is None:
            raise ServingError(Reason.UNSUPPORTED, f"{source.name}: this server has no backend {prepared.backend!r}")
        context = LoadContext(
            source.name,
            version,
            source.folder,
            file,
            config,
            labels,
            self._settings,
            self._post,
            self._lookup,
            engine,
        )
        return Loaded(make(context), prepared.versions[version], file, engine)

    def _file(self, prepared: Prepared, version: str) -> Path | None:
        if prepared.backend == ENSEMBLE:
            return None
        file = model_file(prepared.source, version, prepared.config.default_model_filename)
        suffixes = (".py",) if prepared.backend == PYTHON else (".fusee", ".onnx")
        if file is None or file.suffix not in suffixes:
            found = file.name if file else "no model"
            raise invalid(
                f"{prepared.source.name}/{version}: has {found}; the backend {prepared.backend!r} takes a file "
                f"{' or '.join(suffixes)}"
            )
        return file

    def _engine(self, file: Path) -> Engine:
        path = self._builder.engine_of(file) if file.suffix == ".onnx" else file
        try:
            return load(path)
        except OSError as err:
            raise invalid(f"{file.name}: cannot be read: {err.strerror}") from err


def read_labels(source: Source, config: ModelConfig, where: str) -> dict[str, tuple[str, ...]]:
    """The names of classes by output, from the files that label_filename names. Raises ServingError."""
    labels: dict[str, tuple[str, ...]] = {}
    for output in config.output:
        if not output.label_filename:
            continue
        if not source.is_folder:
            raise invalid(f"{where}: label_filename {output.label_filename!r} needs a model in a folder of its own")
        path = member(source.root, source.folder, output.label_filename)
        try:
            if path.stat().st_size > _MOST_LABEL_BYTES:
                raise invalid(f"{where}: {output.label_filename} is larger than {_MOST_LABEL_BYTES} bytes")
            labels[output.name] = tuple(line.strip() for line in path.read_text("utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as err:
            raise invalid(f"{where}: {output.label_filename} cannot be read: {err}") from err
    return labels


def said(err: BaseException) -> str:
    """An error's message, for the index and the caller."""
    return err.message if isinstance(err, ServingError) else str(err) if isinstance(err, FuseeError) else repr(err)
