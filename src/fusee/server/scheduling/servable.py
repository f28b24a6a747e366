"""An engine as a servable: requests in, batches through its instances, answers out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from time import monotonic_ns

from fusee.base.types import Array
from fusee.runtime.cores import default_threads
from fusee.runtime.engine import Engine
from fusee.runtime.profile import StepTime
from fusee.server.errors import Reason, ServingError
from fusee.server.plane import Post
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.scheduling.batcher import Batcher, Refusal
from fusee.server.scheduling.contract import Admitted, Contract, can_join, contract_of
from fusee.server.scheduling.explain import Explanation, Explanations
from fusee.server.scheduling.instance import Arrays, Instance
from fusee.server.scheduling.latency import BATCH_NS, LatencyTable, LatencyTables
from fusee.server.scheduling.measuring import BUDGET_S, is_enough, measure
from fusee.server.scheduling.options import BatchOptions, batch_options, instance_options
from fusee.server.scheduling.pool import Pool
from fusee.server.scheduling.profiles import Profiles
from fusee.server.scheduling.submission import Run, Submission
from fusee.server.statistics import ModelStatistics
from fusee.server.types import ANSWERED, Done, InferRequest, InferResponse, Tensor, TensorSpec, Ticket

HERE_NS = 150_000
"""A run that takes no longer than this may hold the loop's thread."""
BURST_NS = 50_000
"""Requests that follow each other within this time are worth putting together."""
_FAILURES = {Reason.CANCELLED: "CANCELED", Reason.INTERNAL: "BACKEND"}
_REJECTED = frozenset({Reason.OVERLOADED, Reason.EXPIRED, Reason.DEADLINE})


class EngineServable:
    """One version of a model that an engine computes. Made by ``serve_engine``."""

    def __init__(
        self,
        version: str,
        config: ModelConfig,
        labels: Mapping[str, tuple[str, ...]],
        contract: Contract,
        options: BatchOptions,
        instances: Sequence[Instance],
        latencies: LatencyTables,
        post: Post,
    ) -> None:
        self.name = contract.name
        self.version = version
        self.config = config
        self.labels = labels
        self.contract = contract
        self.options = options
        self.latencies = latencies
        self.statistics = ModelStatistics()
        self._explanations = Explanations()
        self._post = post
        batcher: Batcher[Submission] = Batcher(options, self.latencies, len(instances))
        self._pool = Pool(contract.name, instances, batcher, self.latencies, self._execute, self._refuse)
        self._profiles = Profiles(contract, latencies, self._pool)
        self._outputs = [(spec.name, spec.datatype) for spec in contract.outputs]
        self._all = tuple(range(len(contract.outputs)))
        self._here_ns = 0  # when the last run on the loop's thread ended
        self._can_run_here = not options.max_queue_delay_ns
        self._next_run = 1
        self._parked: dict[int, Run] = {}
        self._is_closing = False
        self._drained: asyncio.Event | None = None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.contract.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.contract.outputs

    @property
    def queue_length(self) -> int:
        """Requests that wait for an instance or for others."""
        return self._pool.waiting

    def explain(self) -> list[Explanation]:
        """How long the last requests waited, and why; the newest last."""
        return self._explanations.latest()

    def step_times(self) -> Sequence[StepTime]:
        """The engine's steps with their usual times, for a batch like the last one that ran. May be called on any
        thread but the loop's; runs the engine a few times when it has not seen such a batch."""
        return self._profiles.latest()

    def submit(self, request: InferRequest, done: Done) -> Ticket:
        """Run a request at once where that is quickest, else queue it."""
        timing = request.timing
        timing.queued_ns = now_ns = monotonic_ns()
        self.statistics.pending += 1
        try:
            if self._is_closing:
                raise ServingError(Reason.UNAVAILABLE, f"model '{self.name}' version {self.version} is being unloaded")
            admitted = self.contract.admit(request)
        except ServingError as err:
            self._fail(request, done, err)
            return ANSWERED
        table = self.latencies.of(admitted.signature)
        if self._belongs_here(admitted.items, table, now_ns) and (instance := self._pool.claim()) is not None:
            self._run_here(instance, table, request, done, admitted)
            return ANSWERED
        submission = Submission(request, done, admitted, self._cancel)
        error = self._pool.add(submission, now_ns)
        if error is not None:
            submission.is_answered = True
            self._fail(request, done, error)
            return ANSWERED
        return submission

    # On the loop's thread, without a queue

    def _belongs_here(self, items: int, table: LatencyTable, now_ns: int) -> bool:
        """Whether the run is so short that it is over before another thread would have begun.

        In a burst it is not, when the requests together take clearly less time than one by one.
        """
        if not self._can_run_here:
            return False
        run_ns = table.estimate_ns(items)
        if not 0.0 < run_ns <= HERE_NS or (self.options.preserve_ordering and not self._pool.is_idle):
            return False
        if run_ns <= BATCH_NS or not self.options.is_batching or now_ns - self._here_ns > BURST_NS:
            return True
        return run_ns - table.best_per_item_ns(self.options.max_batch_size) * items <= BATCH_NS

    def _run_here(
        self, instance: Instance, table: LatencyTable, request: InferRequest, done: Done, admitted: Admitted
    ) -> None:
        timing = request.timing
        started_ns = timing.started_ns = timing.input_done_ns = monotonic_ns()
        answer: InferResponse | ServingError
        try:
            arrays = instance.run(admitted.arrays)
            timing.infer_done_ns = monotonic_ns()
            answer = self._response(request, admitted, arrays)
        except ServingError as err:
            answer = err
        self._here_ns = timing.finished_ns = finished_ns = monotonic_ns()
        self._pool.release(instance, table, admitted.items, finished_ns - started_ns)
        if isinstance(answer, ServingError):
            self._fail(request, done, answer)
            return
        infer_done_ns = timing.infer_done_ns
        self._profiles.ran = admitted.signature, admitted.items
        self.statistics.executed(
            admitted.items, timing.decode_ns, infer_done_ns - started_ns, finished_ns - infer_done_ns
        )
        self._succeed(request, done, admitted.items, answer)

    # On an instance's thread

    def _execute(self, instance: Instance, run: Run) -> None:
        """Run a batch, and hand its answers to the loop's thread all at once."""
        submissions = run.submissions
        try:
            if len(submissions) == 1:
                self._run_alone(instance, submissions[0])
            else:
                self._run_joined(instance, submissions)
        except ServingError as err:
            if err.reason is Reason.INVALID and len(submissions) > 1:
                self._run_apart(instance, submissions)
            else:
                for submission in submissions:
                    submission.answer = err
        finished_ns = monotonic_ns()
        for submission in submissions:
            timing = submission.request.timing
            timing.started_ns, timing.finished_ns = run.started_ns, finished_ns
        self._post(partial(self._deliver, run))

    def _run_alone(self, instance: Instance, submission: Submission) -> None:
        """One request: its arrays are the batch."""
        timing = submission.request.timing
        timing.input_done_ns = monotonic_ns()
        arrays = instance.run(submission.admitted.arrays)
        timing.infer_done_ns = monotonic_ns()
        submission.answer = self._response(submission.request, submission.admitted, arrays)

    def _run_joined(self, instance: Instance, submissions: Sequence[Submission]) -> None:
        """Several requests: each gets its part of outputs that are made anew for every batch."""
        whole = instance.joined([s.admitted.arrays for s in submissions])
        input_done_ns = monotonic_ns()
        arrays = instance.run(whole)
        infer_done_ns = monotonic_ns()
        start = 0
        for submission in submissions:
            stop = start + submission.items
            part = {name: array[start:stop] for name, array in arrays.items()}
            submission.answer = self._response(submission.request, submission.admitted, part)
            timing = submission.request.timing
            timing.input_done_ns, timing.infer_done_ns = input_done_ns, infer_done_ns
            start = stop

    def _run_apart(self, instance: Instance, submissions: Sequence[Submission]) -> None:
        """One by one, since something in the batch is wrong: only its own request is to fail."""
        for submission in submissions:
            try:
                self._run_alone(instance, submission)
            except ServingError as err:
                submission.answer = err

    def _response(self, request: InferRequest, admitted: Admitted, arrays: Arrays) -> InferResponse:
        outputs = self._outputs
        tensors: list[Tensor] = []
        for number in admitted.outputs or self._all:
            name, datatype = outputs[number]
            array: Array = arrays[name]
            tensors.append(Tensor(name, datatype, array.shape, array))
        return InferResponse(self.name, self.version, request.id, tuple(tensors))

    def _refuse(self, refused: Sequence[Refusal[Submission]]) -> None:
        self._post(partial(self._deliver_refusals, refused))

    # Answers, on the loop's thread

    def _deliver(self, run: Run) -> None:
        if not self.options.preserve_ordering:
            self._answer(run)
            return
        self._parked[run.number] = run
        while (ready := self._parked.pop(self._next_run, None)) is not None:
            self._next_run += 1
            self._answer(ready)

    def _answer(self, run: Run) -> None:
        ran = next((s.request.timing for s in run.submissions if isinstance(s.answer, InferResponse)), None)
        if ran is not None:
            decode_ns = max(s.request.timing.decode_ns for s in run.submissions)  # done side by side
            input_ns = ran.input_done_ns - ran.started_ns + decode_ns
            infer_ns = ran.infer_done_ns - ran.input_done_ns
            self.statistics.executed(run.items, input_ns, infer_ns, ran.finished_ns - ran.infer_done_ns)
            self._profiles.ran = run.submissions[0].admitted.signature, run.items
        self._explanations.add(run)
        for submission in run.submissions:
            answer = submission.answer
            assert answer is not None
            if submission.is_answered:
                continue
            submission.is_answered = True
            if isinstance(answer, ServingError):
                self._fail(submission.request, submission.done, answer)
            else:
                self._succeed(submission.request, submission.done, submission.items, answer)

    def _deliver_refusals(self, refused: Sequence[Refusal[Submission]]) -> None:
        for submission, error in refused:
            if not submission.is_answered:
                submission.is_answered = True
                self._fail(submission.request, submission.done, error)

    def _cancel(self, submission: Submission) -> None:
        """Answer at once; an instance that has the request computes it for nothing."""
        self._pool.cancel(submission)
        submission.is_answered = True
        self._fail(submission.request, submission.done, ServingError(Reason.CANCELLED, "the request was cancelled"))

    def _succeed(self, request: InferRequest, done: Done, items: int, response: InferResponse) -> None:
        self.statistics.succeeded(request.timing, items)
        self._answered()
        done(response)

    def _fail(self, request: InferRequest, done: Done, error: ServingError) -> None:
        failure = "REJECTED" if error.reason in _REJECTED else _FAILURES.get(error.reason, "OTHER")
        self.statistics.failed(failure, monotonic_ns() - request.timing.received_ns, error.reason)
        self._answered()
        done(error)

    def _answered(self) -> None:
        self.statistics.pending -= 1
        if self._drained is not None and not self.statistics.pending:
            self._drained.set()

    async def close(self) -> None:
        """Answer what was accepted, then end the threads."""
        self._is_closing = True
        self._pool.drain()
        if self.statistics.pending:
            self._drained = asyncio.Event()
            await self._drained.wait()
        await asyncio.to_thread(self._pool.close)


def serve_engine(
    name: str,
    version: str,
    engine: Engine,
    config: ModelConfig,
    post: Post,
    labels: Mapping[str, tuple[str, ...]] | None = None,
    threads: int | None = None,
    budget_s: float = BUDGET_S,
) -> EngineServable:
    """A servable of an engine under a completed configuration, measured and ready. Blocks for ``budget_s`` or less.

    ``threads`` is for each instance where the configuration does not say. Raises RequestError when the configuration
    asks for what cannot be.
    """
    options, asked = batch_options(config), instance_options(config)
    if options.is_batching and not can_join(engine.plan):
        options = BatchOptions(max_batch_size=options.max_batch_size, target_ns=options.target_ns)
    contract = contract_of(name, engine.plan, config)
    instances = _instances(engine, contract, options, asked.count, asked.threads or threads)
    latencies = LatencyTables()
    measure(contract, options, instances, latencies, budget_s)
    return EngineServable(version, config, labels or {}, contract, options, instances, latencies, post)


def _instances(
    engine: Engine, contract: Contract, options: BatchOptions, count: int, threads: int | None
) -> list[Instance]:
    """Sessions of that many threads; of one where that is enough, else of the cores shared out."""
    if threads is None:
        first = Instance(engine.session(threads=1))
        threads = max(1, default_threads() // count)
        if threads == 1 or is_enough(contract, options, first):
            return [first, *(Instance(engine.session(threads=1)) for _ in range(count - 1))]
        first.close()
    return [Instance(engine.session(threads=threads)) for _ in range(count)]
