"""A pipeline's calls of other models, from its worker thread to the loop's and back."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np

from fusee.base.types import Array, DType
from fusee.server.errors import Reason, ServingError
from fusee.server.pipelines.account import CANCELLED
from fusee.server.plane import Lookup, Post
from fusee.server.types import InferRequest, InferResponse, Parameters, Tensor, Ticket
from fusee.server.wire import BYTES, datatype_of

Answers = Future[dict[str, Array]]


class ModelCalls:
    """The ``Call`` that one request's run is given."""

    def __init__(self, model: str, request: InferRequest, lookup: Lookup, post: Post) -> None:
        self._model = model
        self._request = request
        self._lookup = lookup
        self._post = post
        self._tickets: dict[Answers, Ticket] = {}  # on the loop's thread
        self.is_cancelled = False

    @property
    def parameters(self) -> Parameters:
        return self._request.parameters

    def __call__(self, model: str, /, **inputs: Array) -> dict[str, Array]:
        return self.start(model, inputs).result()

    def start(self, model: str, inputs: Mapping[str, Array], version: str = "") -> Answers:
        """On the worker's thread: have the loop submit a request."""
        if self.is_cancelled:
            raise ServingError(Reason.CANCELLED, CANCELLED)
        tensors = tuple(tensor_of(name, array) for name, array in inputs.items())
        answers: Answers = Future()
        request = self._sent_on(model, version, tensors)
        self._post(lambda: self._submit(request, answers))
        return answers

    def _sent_on(self, model: str, version: str, tensors: tuple[Tensor, ...]) -> InferRequest:
        request = self._request
        return InferRequest(
            model,
            version,
            request.id,
            tensors,
            priority=request.priority,
            deadline_ns=request.deadline_ns,
            traceparent=request.traceparent,
            callers=(*request.callers, self._model),
        )

    def _submit(self, request: InferRequest, answers: Answers) -> None:
        def done(result: InferResponse | ServingError) -> None:
            self._tickets.pop(answers, None)
            if isinstance(result, ServingError):
                answers.set_exception(result)
            else:
                answers.set_result({t.name: t.values() for t in result.outputs})

        if self.is_cancelled:
            done(ServingError(Reason.CANCELLED, CANCELLED))
            return
        try:
            servable = self._lookup(request.model, request.version)
            if servable.config.model_transaction_policy.decoupled:
                raise ServingError(
                    Reason.UNSUPPORTED, f"model {request.model!r} gives several responses; a pipeline takes one"
                )
        except ServingError as err:
            done(err)
            return
        ticket = servable.submit(request, done)
        if not answers.done():
            self._tickets[answers] = ticket

    def cancel(self) -> None:
        """On the loop's thread: give up what is under way; whoever waits for it gets a CANCELLED error."""
        self.is_cancelled = True
        for ticket in list(self._tickets.values()):
            ticket.cancel()


def tensor_of(name: str, array: Array) -> Tensor:
    """The tensor of an array: strings are BYTES. Raises ServingError for a type that the protocol has no name for."""
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        return Tensor(name, BYTES, array.shape, encoded_strings(array))
    return Tensor(name, datatype_of(DType.of(array.dtype)), array.shape, array)


def encoded_strings(array: Array) -> Array:
    """An array of objects that are ``bytes``: text in UTF-8. Raises TypeError for anything else."""
    encoded = np.empty(array.size, dtype=object)
    for index, value in enumerate(array.ravel()):
        if isinstance(value, str):
            encoded[index] = value.encode()
        elif isinstance(value, bytes):
            encoded[index] = value
        else:
            raise TypeError(f"a tensor of strings holds {value!r} at {index}; expected bytes or str")
    return encoded.reshape(array.shape)
