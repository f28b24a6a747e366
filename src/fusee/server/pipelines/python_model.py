"""Runs pipelines as models: on threads of their own, a bounded queue in front."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Semaphore
from time import monotonic_ns

import numpy as np

from fusee.server.errors import Reason, ServingError
from fusee.server.pipelines.account import CANCELLED, Account, deadline_error
from fusee.server.pipelines.calling import ModelCalls, encoded_strings
from fusee.server.pipelines.pipeline import Pipeline, answer_arrays
from fusee.server.pipelines.tensors import shape_text, shapes_fit
from fusee.server.plane import Lookup, Post
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.repository.offered import PIPELINE_INSTANCES
from fusee.server.scheduling.contract import Contract
from fusee.server.statistics import ModelStatistics
from fusee.server.types import ANSWERED, Done, InferRequest, InferResponse, Tensor, TensorSpec, Ticket
from fusee.server.wire import BYTES, NUMPY

log = logging.getLogger(__name__)

QUEUE_SIZE = 256  # requests that wait when no queue policy says
AHEAD = 4  # responses that a decoupled run may be ahead of the loop


class PythonModel:
    """A Servable around a Pipeline. What it raises is an INTERNAL error; the traceback goes to the log only."""

    def __init__(
        self,
        pipeline: Pipeline,
        config: ModelConfig,
        version: str,
        lookup: Lookup,
        post: Post,
        labels: Mapping[str, tuple[str, ...]],
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = config.name
        self.version = version
        self.config = config
        self.inputs = batched(pipeline.inputs, config)
        self.outputs = batched(pipeline.outputs, config)
        self.labels = labels
        self.statistics = ModelStatistics()
        self.pipeline = pipeline
        self._closed = closed
        self._contract = Contract(self.name, self.inputs, self.outputs, config.max_batch_size)
        self.lookup = lookup
        self.post = post
        self.threads = sum(g.count for g in config.instance_group) or PIPELINE_INSTANCES
        self.account = Account(self.statistics)
        self.executor = ThreadPoolExecutor(self.threads, thread_name_prefix=f"{self.name}-{version}")
        self.queue_size = config.dynamic_batching.default_queue_policy.max_queue_size or QUEUE_SIZE

    @property
    def queue_length(self) -> int:
        """Requests that wait for a thread."""
        return max(0, self.account.under_way - self.threads)

    def submit(self, request: InferRequest, done: Done) -> Ticket:
        """Queue a request for a thread; what is wrong with it goes to ``done``."""
        try:
            items = self._contract.admit(request).items
            self._check_room(request)
        except ServingError as err:
            self.account.refuse(request, err)
            done(err)
            return ANSWERED
        wanted = tuple(w.name for w in request.outputs or self.outputs)
        run = _Run(self, request, done, items, wanted)
        self.account.begin()
        request.timing.queued_ns = monotonic_ns()
        self.executor.submit(run.work)
        return run

    def _check_room(self, request: InferRequest) -> None:
        if self.name in request.callers:
            chain = " -> ".join((*request.callers, self.name))
            raise ServingError(Reason.INVALID, f"model {self.name!r} was called by itself: {chain}")
        waiting = self.queue_length
        if waiting >= self.queue_size:
            raise ServingError(
                Reason.OVERLOADED, f"model {self.name!r}: {waiting} requests wait, at most {self.queue_size} may", 1.0
            )

    async def close(self) -> None:
        """Once every request is answered."""
        await self.account.drained()
        self.executor.shutdown(wait=False)
        self._closed()


def batched(specs: tuple[TensorSpec, ...], config: ModelConfig) -> tuple[TensorSpec, ...]:
    """Declared tensors with the batch in front, if the configuration has batches."""
    if not config.max_batch_size:
        return specs
    return tuple(s._replace(shape=(-1, *s.shape)) for s in specs)


class _Run:
    """One request in a pipeline. It is its own ticket. ``work`` runs on a worker thread, the rest on the loop's."""

    def __init__(
        self, model: PythonModel, request: InferRequest, done: Done, items: int, wanted: tuple[str, ...]
    ) -> None:
        self._model = model
        self._request = request
        self._done = done
        self._items = items
        self._wanted = frozenset(wanted)
        self._calls = ModelCalls(model.name, request, model.lookup, model.post)
        self._ahead = Semaphore(AHEAD)
        self._is_over = False
        self._is_first = model.pipeline.is_decoupled

    def cancel(self) -> None:
        self._calls.cancel()
        self._fail(ServingError(Reason.CANCELLED, CANCELLED))

    def work(self) -> None:
        """Run the function and post what it gives."""
        if self._calls.is_cancelled:
            return
        error = deadline_error(self._request, f"before model {self._model.name!r} started") or self._ran()
        if error is not None:
            failure = error
            self._model.post(lambda: self._fail(failure))

    def _ran(self) -> ServingError | None:
        """What went wrong, if anything did."""
        timing = self._request.timing
        timing.started_ns = timing.input_done_ns = monotonic_ns()
        arguments = {t.name: t.values() for t in self._request.inputs}
        pipeline = self._model.pipeline
        try:
            answer = pipeline.run(self._calls, **arguments)
            if pipeline.is_decoupled:
                self._stream(answer)
                outputs = ()
            else:
                outputs = self._outputs(answer)
        except ServingError as err:
            return err
        except (Exception, SystemExit) as err:  # the author's code may raise anything
            log.exception("model %s version %s failed", self._model.name, self._model.version)
            return ServingError(Reason.INTERNAL, f"model {self._model.name!r}: {type(err).__name__}: {err}")
        self._model.post(lambda: self._give(outputs, is_final=True))
        return None

    def _stream(self, answers: Iterable[object]) -> None:
        """Post what a decoupled run yields; it is closed when the request is cancelled."""
        with closing(_each(answers)) as each:
            for answer in each:
                self._post_response(self._outputs(answer))

    def _post_response(self, outputs: tuple[Tensor, ...]) -> None:
        """Post one of several, once the loop has taken most of those before. Raises ServingError when cancelled."""
        self._ahead.acquire()
        if self._calls.is_cancelled:
            raise ServingError(Reason.CANCELLED, CANCELLED)
        self._model.post(lambda: self._give(outputs, is_final=False))

    def _outputs(self, answer: object) -> tuple[Tensor, ...]:
        arrays = answer_arrays(answer, self._model.outputs)
        for name in arrays:
            if name not in {o.name for o in self._model.outputs}:
                raise TypeError(
                    f"output {name!r} is not declared; declared are {[o.name for o in self._model.outputs]}"
                )
        missing = [o.name for o in self._model.outputs if o.name not in arrays]
        if missing:
            raise TypeError(f"output {missing[0]!r} is declared but not in the answer, which has {sorted(arrays)}")
        return tuple(_output(o, arrays[o.name]) for o in self._model.outputs if o.name in self._wanted)

    def _give(self, outputs: tuple[Tensor, ...], is_final: bool) -> None:
        self._ahead.release()
        if self._is_over:
            return
        if self._is_first:
            self._is_first = False
            self._model.statistics.first_response_ms.add((monotonic_ns() - self._request.timing.received_ns) * 1e-6)
        if is_final:
            self._is_over = True
            self._request.timing.infer_done_ns = monotonic_ns()
            self._model.account.succeed(self._request, self._items)
        self._done(InferResponse(self._model.name, self._model.version, self._request.id, outputs, final=is_final))

    def _fail(self, error: ServingError) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._ahead.release()
        self._model.account.fail(self._request, error)
        self._done(error)


def _each(answers: Iterable[object]) -> Generator[object, None, None]:
    """A generator whose close() closes the other, too."""
    yield from answers


def _output(spec: TensorSpec, value: object) -> Tensor:
    """A tensor of a declared output. Arrays must have its type; plain numbers and lists get it. Raises TypeError."""
    dtype = NUMPY[spec.datatype]
    if spec.datatype == BYTES:
        array = encoded_strings(np.asarray(value, dtype=object))
    elif isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype != dtype:
            raise TypeError(f"output {spec.name!r} is {array.dtype}, declared as {spec.datatype}: use .astype({dtype})")
    else:
        array = np.asarray(value, dtype=dtype)
    if not shapes_fit(spec.shape, array.shape):
        raise TypeError(f"output {spec.name!r} has shape {shape_text(array.shape)}, declared {shape_text(spec.shape)}")
    return Tensor(spec.name, spec.datatype, array.shape, array)
