"""What a model takes and gives: requests are checked against it, in the words that clients of the protocol know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fusee.base.dims import Dim
from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.engine.plan import Plan, PlanInput, PlanOutput
from fusee.server.errors import ServingError, invalid
from fusee.server.proto.model_config_pb2 import ModelConfig, ModelInput, ModelOutput
from fusee.server.types import InferRequest, TensorSpec
from fusee.server.wire import NUMPY, datatype_of

BATCH_NOTE = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each "
    "input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting "
    "max_batch_size to zero. See the model configuration docs for more info on max_batch_size."
)

Signature = tuple[tuple[int, ...] | None, ...]
"""The shapes of a request's inputs in the model's order, without the batch; () where the model allows no others."""


class Admitted(NamedTuple):
    """A request that agrees with the contract. ``outputs`` counts the model's outputs; None wants all of them."""

    arrays: dict[str, Array]
    items: int
    signature: Signature  # requests of one signature can be joined along their leading dimension
    outputs: tuple[int, ...] | None


class _Rule:
    """What one input must be."""

    __slots__ = ("datatype", "dtype", "is_fixed", "item", "spec")

    def __init__(self, spec: TensorSpec, is_batched: bool) -> None:
        self.spec = spec
        self.datatype = spec.datatype
        self.dtype = NUMPY[spec.datatype]
        self.item = spec.shape[1:] if is_batched else spec.shape  # without the batch
        self.is_fixed = -1 not in self.item

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of that shape, the batch left out, can be this input."""
        return len(shape) == len(self.item) and all(a in (-1, b) for a, b in zip(self.item, shape, strict=True))


class Contract:
    """The tensors of a model by name, and how many items a request may have."""

    def __init__(self, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], max_batch: int) -> None:
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._max_batch = max_batch  # 0: there is no batch dimension
        self._rules = {spec.name: _Rule(spec, max_batch > 0) for spec in inputs}
        self._numbers = {spec.name: i for i, spec in enumerate(outputs)}
        self._is_fixed = all(rule.is_fixed for rule in self._rules.values())
        self._required = frozenset(spec.name for spec in inputs if not spec.is_optional)

    @property
    def is_batched(self) -> bool:
        """Whether arrays have a leading batch dimension."""
        return self._max_batch > 0

    def admit(self, request: InferRequest) -> Admitted:
        """The request's arrays by input. Raises ServingError, whose message says what is wrong with it."""
        arrays: dict[str, Array] = {}
        rules = self._rules
        if not len(self._required) <= len(request.inputs) <= len(rules):
            raise self._wrong_count(request)
        for tensor in request.inputs:
            rule = rules.get(tensor.name)
            if rule is None:
                raise invalid(f"unexpected inference input '{tensor.name}' for model '{self.name}'")
            array = tensor.array
            assert array is not None
            if tensor.datatype != rule.datatype or array.dtype != rule.dtype:
                raise self._wrong_type(tensor.name, tensor.datatype, rule)
            arrays[tensor.name] = array
        if len(arrays) != len(request.inputs) or (len(arrays) < len(rules) and not arrays.keys() >= self._required):
            raise self._wrong_count(request)
        items = self._items(arrays) if self._max_batch else self._whole(arrays)
        return Admitted(arrays, items, self._signature(arrays), self._wanted(request) if request.outputs else None)

    def _items(self, arrays: dict[str, Array]) -> int:
        """The leading dimension that all arrays share."""
        items = -1
        for name, array in arrays.items():
            shape, rule = array.shape, self._rules[name]
            if not shape or (shape[1:] != rule.item if rule.is_fixed else not rule.fits(shape[1:])):
                raise self._wrong_shape(rule, shape)
            if items not in (-1, shape[0]):
                first = next(iter(arrays))
                raise invalid(f"input '{name}' batch size does not match other inputs for '{self.name}': "
                              f"{shape[0]}, but '{first}' has {items}")  # fmt: skip
            items = shape[0]
        if not 1 <= items <= self._max_batch:
            bound = f"<= {self._max_batch}" if items else ">= 1"
            raise invalid(f"inference request batch-size must be {bound} for '{self.name}'")
        return items

    def _whole(self, arrays: dict[str, Array]) -> int:
        """Without a batch dimension a request is one item."""
        for name, array in arrays.items():
            if not self._rules[name].fits(array.shape):
                raise self._wrong_shape(self._rules[name], array.shape)
        return 1

    def _signature(self, arrays: dict[str, Array]) -> Signature:
        if self._is_fixed:
            return ()
        start = 1 if self._max_batch else 0
        return tuple(arrays[name].shape[start:] if name in arrays else None for name in self._rules)

    def zeros(self, signature: Signature, items: int) -> dict[str, Array]:
        """Inputs of the shapes that so many items of that signature have together."""
        batch = (items,) if self._max_batch else ()
        shapes = signature or tuple(rule.item for rule in self._rules.values())
        found = zip(self._rules.items(), shapes, strict=True)
        return {name: np.zeros((*batch, *shape), rule.dtype) for (name, rule), shape in found if shape is not None}

    def _wanted(self, request: InferRequest) -> tuple[int, ...]:
        numbers: list[int] = []
        for wanted in request.outputs:
            number = self._numbers.get(wanted.name)
            if number is None:
                raise invalid(f"unexpected inference output '{wanted.name}' for model '{self.name}'")
            numbers.append(number)
        return tuple(numbers)

    def _wrong_count(self, request: InferRequest) -> ServingError:
        given = [t.name for t in request.inputs]
        message = f"expected {len(self._rules)} inputs but got {len(given)} inputs for model '{self.name}'"
        missing = [name for name in self._rules if name in self._required and name not in given]
        if missing:
            return invalid(
                f"{message}. Got input(s) [{_quoted(given)}], but missing required input(s) [{_quoted(missing)}]. "
                "Please provide all required input(s)."
            )
        unknown = [name for name in given if name not in self._rules]
        if unknown:
            return invalid(f"{message}: unexpected inference input '{unknown[0]}'")
        return invalid(f"{message}: an input is given more than once")

    def _wrong_type(self, name: str, datatype: str, rule: _Rule) -> ServingError:
        return invalid(
            f"inference input '{name}' data-type is '{datatype}', but model '{self.name}' expects '{rule.datatype}'"
        )

    def _wrong_shape(self, rule: _Rule, shape: tuple[int, ...]) -> ServingError:
        note = BATCH_NOTE if self._max_batch else ""
        return invalid(
            f"unexpected shape for input '{rule.spec.name}' for model '{self.name}'. "
            f"Expected {_listed(rule.spec.shape)}, got {_listed(shape)}.{note}"
        )


def contract_of(name: str, plan: Plan, config: ModelConfig) -> Contract:
    """The contract of an engine under a configuration, whose shapes count where it has them.

    Raises RequestError when a tensor cannot be served, or the configuration asks for a form that is not offered.
    """
    max_batch = config.max_batch_size
    said_inputs = {i.name: i for i in config.input}
    said_outputs = {o.name: o for o in config.output}
    inputs = [_spec(name, i, said_inputs.get(i.name), max_batch) for i in plan.inputs]
    outputs = [_spec(name, o, said_outputs.get(o.name), max_batch) for o in plan.outputs]
    return Contract(name, inputs, outputs, max_batch)


def can_join(plan: Plan) -> bool:
    """Whether requests can be joined along their leading dimension: all inputs and outputs share one of any size."""
    leading: set[Dim | None] = {t.type.shape[0] if t.type.shape else None for t in (*plan.inputs, *plan.outputs)}
    return len(leading) == 1 and not any(isinstance(d, int) or d is None for d in leading)


def _spec(
    model: str, item: PlanInput | PlanOutput, said: ModelInput | ModelOutput | None, max_batch: int
) -> TensorSpec:
    try:
        datatype = datatype_of(item.type.dtype)
    except ServingError as err:
        raise RequestError(f"model {model!r}: {item.name!r} is {item.type}, which the protocol cannot carry") from err
    shape = tuple(d if isinstance(d, int) else -1 for d in item.type.shape)
    if said is None:
        return TensorSpec(item.name, datatype, shape)
    if said.HasField("reshape"):
        raise RequestError(f"the configuration of model {model!r}: {item.name!r} has 'reshape', which is not offered")
    return TensorSpec(item.name, datatype, ((-1, *said.dims) if max_batch else tuple(said.dims)))


def _quoted(names: Sequence[str]) -> str:
    return ",".join(f"'{name}'" for name in names)


def _listed(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
