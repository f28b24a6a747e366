"""Models written in Python: a function whose annotations say what goes in and what comes out.

    class Answer(NamedTuple):
        label: Annotated[Array, tensor("BYTES", 1)]
        score: Annotated[Array, tensor("FP32", 1)]

    def run(call: Call, image: Annotated[Array, tensor("BYTES", 1)]) -> Answer:
        scores = softmax(call("resnet50", data=image)["logits"])
        ...

A parameter with a default is an optional input. A function that yields answers is a decoupled model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Protocol, get_args, get_origin, get_type_hints

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.server.types import Parameters, TensorSpec
from fusee.server.wire import DATATYPES

ONLY_OUTPUT = "output"  # the name of a function's one unnamed output


class TensorType(NamedTuple):
    """Datatype and shape of an input or output; -1 is any size. A model that batches has a dimension more."""

    datatype: str
    shape: tuple[int, ...]


def tensor(datatype: str, *shape: int) -> TensorType:
    """An annotation: ``Annotated[Array, tensor("FP32", -1, 4)]``. Raises RequestError for an unknown datatype."""
    if datatype not in DATATYPES:
        raise RequestError(f"tensor({datatype!r}): the datatype is unknown; expected {', '.join(DATATYPES)}")
    return TensorType(datatype, shape)


class Call(Protocol):
    """How a pipeline runs other models. They are scheduled as if a client had asked, and so batched with others."""

    @property
    def parameters(self) -> Parameters:
        """Those of the request that the protocol does not reserve."""
        ...

    def __call__(self, model: str, /, **inputs: Array) -> dict[str, Array]:
        """Run a model and wait for its outputs by name. Raises ServingError, also when the request was cancelled."""
        ...

    def start(self, model: str, inputs: Mapping[str, Array], version: str = "") -> Future[dict[str, Array]]:
        """Start a model without waiting, so that several run at a time: ``.result()`` waits."""
        ...


@dataclass(frozen=True)
class Pipeline:
    """A function with declared tensors. ``run(call, **inputs)`` gives outputs by name, or yields them if decoupled."""

    run: Callable[..., Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    is_decoupled: bool = False

    @staticmethod
    def of(function: Callable[..., Any]) -> Pipeline:
        """The pipeline of an annotated function. Raises RequestError saying which annotation is missing or wrong."""
        where = f"{getattr(function, '__name__', function)}()"
        hints = get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters:
            raise RequestError(f"{where} takes nothing; expected call first, then an argument for each input")
        inputs = tuple(_input(where, p, hints.get(p.name)) for p in parameters[1:])
        answer = hints.get("return")
        is_decoupled = inspect.isgeneratorfunction(function)
        if is_decoupled:
            answer = _yielded(where, answer)
        return Pipeline(function, inputs, _outputs(where, answer), is_decoupled)


def _input(where: str, parameter: inspect.Parameter, hint: object) -> TensorSpec:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise RequestError(f"{where}: argument {parameter} has no name that an input could have")
    found = _tensor_type(hint)
    if found is None:
        raise RequestError(
            f"{where}: argument {parameter.name!r} does not say its type; expected such as "
            f'{parameter.name}: Annotated[Array, tensor("FP32", -1, 4)]'
        )
    is_optional = parameter.default is not inspect.Parameter.empty
    return TensorSpec(parameter.name, found.datatype, found.shape, is_optional)


def _tensor_type(hint: object) -> TensorType | None:
    if get_origin(hint) is not Annotated:
        return None
    return next((a for a in get_args(hint)[1:] if isinstance(a, TensorType)), None)


def _yielded(where: str, hint: object) -> object:
    if get_origin(hint) not in (Iterator, Iterable, Generator):
        raise RequestError(f"{where} yields answers; expected its result to be annotated as Iterator[...] of them")
    return get_args(hint)[0]


def _outputs(where: str, hint: object) -> tuple[TensorSpec, ...]:
    only = _tensor_type(hint)
    if only is not None:
        return (TensorSpec(ONLY_OUTPUT, only.datatype, only.shape),)
    fields = get_type_hints(hint, include_extras=True) if isinstance(hint, type) else {}
    types = {name: _tensor_type(field) for name, field in fields.items()}
    specs = tuple(TensorSpec(name, t.datatype, t.shape) for name, t in types.items() if t is not None)
    if not specs or len(specs) < len(types):
        raise RequestError(
            f"{where} does not say what it gives; expected the result to be annotated as Annotated[Array, tensor(...)] "
            "or a NamedTuple, dataclass or TypedDict of nothing else"
        )
    return specs


def answer_arrays(answer: object, outputs: Sequence[TensorSpec]) -> dict[str, object]:
    """The values of an answer by output: of a mapping, of an object's attributes, or the only one itself."""
    if isinstance(answer, Mapping):
        return {str(name): value for name, value in answer.items()}
    if len(outputs) == 1 and not hasattr(answer, outputs[0].name):
        return {outputs[0].name: answer}
    return {o.name: getattr(answer, o.name) for o in outputs if hasattr(answer, o.name)}
