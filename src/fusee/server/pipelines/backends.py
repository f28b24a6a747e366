"""How the repository makes servables of ensembles and pipelines."""

from __future__ import annotations

import logging
import sys
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType

from fusee.base.errors import RequestError
from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.pipelines.ensemble import Ensemble
from fusee.server.pipelines.ensemble_plan import plan_ensemble
from fusee.server.pipelines.pipeline import Pipeline
from fusee.server.pipelines.python_model import PythonModel, batched
from fusee.server.pipelines.tensors import declared_inputs, declared_outputs, shapes_fit, spec_text
from fusee.server.plane import Servable
from fusee.server.proto.model_config_pb2 import DataType, ModelConfig
from fusee.server.repository.loading import LoadContext
from fusee.server.types import TensorSpec
from fusee.server.wire import config_type_of

log = logging.getLogger(__name__)


def serve_ensemble(context: LoadContext) -> Servable:
    """The flow that ``ensemble_scheduling`` describes. Raises ServingError for steps that do not fit each other."""
    plan = plan_ensemble(context.config, context.lookup)
    return Ensemble(context.config, context.version, plan, context.lookup, context.labels)


def serve_python(context: LoadContext) -> Servable:
    """The pipeline of a pipeline.py: its function ``run``, or a Pipeline called ``pipeline``. Runs the file.

    Raises ServingError when the server runs no Python models, or the file fails or does not declare its tensors.
    """
    if not context.settings.allow_python_models:
        raise ServingError(
            Reason.UNSUPPORTED, f"model {context.name!r}: this server runs no Python models (--allow-python-models)"
        )
    assert context.file is not None
    where = f"{context.name}/{context.version}/{context.file.name}"
    module = _run(context.file, where)
    try:
        pipeline = _pipeline_of(module, where)
        complete_pipeline(context.config, pipeline)
    except ServingError:
        _forget(module)
        raise
    closed = partial(_forget, module)
    return PythonModel(pipeline, context.config, context.version, context.lookup, context.post, context.labels, closed)


class _Source(SourceFileLoader):
    """Compiles the file each time: nothing is written beside it, and no stale code is found there."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _pipeline_of(module: ModuleType, where: str) -> Pipeline:
    """What a pipeline file declares. Raises ServingError."""
    try:
        pipeline = getattr(module, "pipeline", None)
        if isinstance(pipeline, Pipeline):
            return pipeline
        function = getattr(module, "run", None)
        if callable(function):
            return Pipeline.of(function)
    except RequestError as err:
        raise invalid(f"{where}: {err}") from err
    foreign = getattr(module, "TritonPythonModel", None)
    raise invalid(
        f"{where}: {'is written for the Triton Python backend, which is not run here' if foreign else 'has no run()'}; "
        "expected a function run(call, ...) with annotated tensors"
    )


def _run(path: Path, where: str) -> ModuleType:
    """Run a pipeline file. Raises ServingError; the traceback of a file that fails goes to the log."""
    name = f"fusee_pipelines.{where.replace('.', '_').replace('/', '.')}"
    spec = ModuleSpec(name, _Source(name, str(path)), origin=str(path))
    spec.has_location = True
    module = module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for the names in their annotations
    assert spec.loader is not None
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as err:  # the author's code may raise anything
        _forget(module)
        log.exception("%s cannot be run", where)
        raise invalid(f"{where}: {type(err).__name__}: {err}") from err
    return module


def _forget(module: ModuleType) -> None:
    """Take a module out of the interpreter's, unless another load of the file has taken its place."""
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]


def complete_pipeline(config: ModelConfig, pipeline: Pipeline) -> None:
    """Fill in what the annotations say. Raises ServingError where the configuration says something else."""
    where = f"model {config.name!r}"
    _check(where, "input", declared_inputs(config), batched(pipeline.inputs, config))
    _check(where, "output", declared_outputs(config), batched(pipeline.outputs, config))
    if config.model_transaction_policy.decoupled and not pipeline.is_decoupled:
        raise invalid(f"{where}: model_transaction_policy is decoupled, but the pipeline returns one answer")
    if pipeline.is_decoupled:
        config.model_transaction_policy.decoupled = True
    given = {t.name for t in (*config.input, *config.output)}
    for spec in pipeline.inputs:
        if spec.name not in given:
            config.input.add(name=spec.name, data_type=_type(spec.datatype), dims=spec.shape, optional=spec.is_optional)
    for spec in pipeline.outputs:
        if spec.name not in given:
            config.output.add(name=spec.name, data_type=_type(spec.datatype), dims=spec.shape)


def _type(datatype: str) -> DataType.ValueType:
    return DataType.Value(config_type_of(datatype))


def _check(where: str, kind: str, configured: tuple[TensorSpec, ...], declared: tuple[TensorSpec, ...]) -> None:
    known = {s.name: s for s in declared}
    for spec in configured:
        if spec.name not in known:
            raise invalid(f"{where}: {kind} {spec.name!r} is configured; the pipeline's are {', '.join(known)}")
        own = known[spec.name]
        if spec.datatype != own.datatype or not shapes_fit(spec.shape, own.shape):
            raise invalid(
                f"{where}: {kind} {spec.name!r} is {spec_text(spec)} in the configuration and {spec_text(own)} in the "
                "pipeline"
            )
