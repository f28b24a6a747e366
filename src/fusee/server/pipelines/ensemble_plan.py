"""An ensemble's data flow, checked against the models that it is made of before the first request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fusee.server.errors import ServingError, invalid
from fusee.server.pipelines.image_config import image_input
from fusee.server.pipelines.tensors import declared_inputs, declared_outputs, shapes_fit, spec_text
from fusee.server.plane import Lookup, Servable
from fusee.server.proto.model_config_pb2 import ModelConfig, ModelEnsembling
from fusee.server.types import TensorSpec


class Step(NamedTuple):
    """A model's place in the flow: names of the ensemble's tensors by those of the model."""

    number: int
    model: str
    version: str  # '' by the model's policy
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    needs: frozenset[str]  # tensors that it takes


@dataclass(frozen=True)
class EnsemblePlan:
    """Steps, each behind those that it takes tensors from."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    steps: tuple[Step, ...]

    def needed(self, wanted: Iterable[str]) -> tuple[Step, ...]:
        """The steps without which those outputs cannot be: all for all outputs, as every tensor is used."""
        if len(names := set(wanted)) == len(self.outputs):
            return self.steps
        steps: list[Step] = []
        for step in reversed(self.steps):
            if not names.isdisjoint(step.outputs.values()):
                names.update(step.needs)
                steps.append(step)
        return tuple(reversed(steps))


class _Origin(NamedTuple):
    """Where a tensor of the ensemble comes from."""

    spec: TensorSpec
    where: str


def plan_ensemble(config: ModelConfig, lookup: Lookup) -> EnsemblePlan:
    """The flow of an ``ensemble_scheduling`` configuration, every connection checked.

    Raises ServingError saying which step and tensor do not fit, and why; and what ``lookup`` raises for a model that is
    not there.
    """
    where = f"ensemble {config.name!r}"
    written = config.ensemble_scheduling.step
    if not written:
        raise invalid(f"{where}: ensemble_scheduling has no step")
    steps = [_step(where, config, i, s) for i, s in enumerate(written)]
    models = [_model(where, config, step, lookup) for step in steps]
    inputs, outputs = declared_inputs(config), declared_outputs(config)
    origins = _origins(where, inputs, steps, models)
    for step, model in zip(steps, models, strict=True):
        _check_step(_place(where, step), step, model, origins)
    _check_outputs(where, outputs, origins)
    _check_used(where, origins, steps, outputs)
    return EnsemblePlan(inputs, outputs, _ordered(where, inputs, steps))


def _place(where: str, step: Step) -> str:
    return f"{where}: step {step.number} (model {step.model!r})"


def _step(where: str, config: ModelConfig, index: int, step: ModelEnsembling.Step) -> Step:
    found = Step(
        index,
        step.model_name,
        "" if step.model_version == -1 else str(step.model_version),
        dict(step.input_map),
        dict(step.output_map),
        frozenset(step.input_map.values()),
    )
    place = _place(where, found)
    if not step.model_name:
        raise invalid(f"{place}: model_name is missing")
    if step.model_name == config.name:
        raise invalid(f"{place}: an ensemble cannot be a step of itself")
    if step.model_namespace:
        raise invalid(f"{place}: model_namespace {step.model_namespace!r} is given, but there are no namespaces here")
    if step.model_version < 1 and step.model_version != -1:
        raise invalid(f"{place}: model_version is {step.model_version}; expected a version, or -1 for the policy's")
    if not step.output_map:
        raise invalid(f"{place}: output_map is empty, so nothing would come of it")
    return found


def _model(where: str, config: ModelConfig, step: Step, lookup: Lookup) -> Servable:
    place = _place(where, step)
    try:
        model = lookup(step.model, step.version)
    except ServingError as err:
        raise ServingError(err.reason, f"{place}: {err.message}") from err
    if model.config.model_transaction_policy.decoupled:
        raise invalid(f"{place}: the model is decoupled: it gives as many responses as it likes, and a step gives one")
    most, own = model.config.max_batch_size, config.max_batch_size
    if most and own > most:
        raise invalid(f"{place}: the ensemble's max_batch_size is {own}, but the model's is {most}")
    return model


def _origins(
    where: str, inputs: Iterable[TensorSpec], steps: Iterable[Step], models: Iterable[Servable]
) -> dict[str, _Origin]:
    """Every tensor that there is. Raises ServingError for one that two places give."""
    origins: dict[str, _Origin] = {}

    def add(name: str, origin: _Origin) -> None:
        if name in origins:
            raise invalid(f"{where}: tensor {name!r} comes from both {origins[name].where} and {origin.where}")
        origins[name] = origin

    for spec in inputs:
        add(spec.name, _Origin(spec, "the ensemble's inputs"))
    for step, model in zip(steps, models, strict=True):
        known = {o.name: o for o in model.outputs}
        for output, name in step.outputs.items():
            if output not in known:
                raise invalid(f"{_place(where, step)}: no output is called {output!r}; it has {', '.join(known)}")
            add(name, _Origin(known[output], f"step {step.number}"))
    return origins


def _check_step(place: str, step: Step, model: Servable, origins: Mapping[str, _Origin]) -> None:
    known = {i.name: i for i in model.inputs}
    for name, tensor in step.inputs.items():
        if name not in known:
            raise invalid(f"{place}: no input is called {name!r}; it has {', '.join(known)}")
        origin = origins.get(tensor)
        if origin is None:
            raise invalid(f"{place}: input {name!r} takes tensor {tensor!r}, which no step and no input gives")
        is_image = origin.spec.datatype == "BYTES" and image_input(model.config) == name
        if not is_image and not _fits(origin.spec, known[name]):
            raise invalid(
                f"{place}: input {name!r} is {spec_text(known[name])}, but tensor {tensor!r} from {origin.where} is "
                f"{spec_text(origin.spec)}"
            )
        if origin.spec.is_optional and not known[name].is_optional:
            raise invalid(f"{place}: input {name!r} must be given, but tensor {tensor!r} is optional")
    if missing := [i.name for i in model.inputs if not i.is_optional and i.name not in step.inputs]:
        raise invalid(f"{place}: input_map has no {missing[0]!r}, which the model must be given")


def _fits(one: TensorSpec, other: TensorSpec) -> bool:
    return one.datatype == other.datatype and shapes_fit(one.shape, other.shape)


def _check_outputs(where: str, outputs: Iterable[TensorSpec], origins: Mapping[str, _Origin]) -> None:
    for output in outputs:
        origin = origins.get(output.name)
        if origin is None:
            raise invalid(f"{where}: no step gives output {output.name!r}")
        if not _fits(origin.spec, output):
            raise invalid(
                f"{where}: output {output.name!r} is declared as {spec_text(output)}, but {origin.where} gives "
                f"{spec_text(origin.spec)}"
            )


def _check_used(
    where: str, origins: Mapping[str, _Origin], steps: Iterable[Step], outputs: Iterable[TensorSpec]
) -> None:
    used = {t for step in steps for t in step.inputs.values()} | {o.name for o in outputs}
    for name, origin in origins.items():
        if name not in used:
            raise invalid(f"{where}: tensor {name!r} from {origin.where} is not used; leave it out")


def _ordered(where: str, inputs: Iterable[TensorSpec], steps: Iterable[Step]) -> tuple[Step, ...]:
    """Steps behind what they need. Raises ServingError naming those that wait for each other."""
    there, ordered, left = {i.name for i in inputs}, list[Step](), list(steps)
    while ready := [s for s in left if there.issuperset(s.needs)]:
        ordered += ready
        there.update(t for s in ready for t in s.outputs.values())
        left = [s for s in left if s not in ready]
    if left:
        listed = ", ".join(f"{s.number} (model {s.model!r})" for s in left)
        raise invalid(f"{where}: steps {listed} wait for each other's tensors: the steps form a cycle")
    return tuple(ordered)


def uses(steps: Iterable[Step], wanted: Iterable[str]) -> Counter[str]:
    """How often each tensor is still taken, by a step or as an answer."""
    return Counter([*(t for step in steps for t in step.inputs.values()), *wanted])
