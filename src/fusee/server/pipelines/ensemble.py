"""Models as steps of a flow: each starts as soon as its tensors are there (Triton's ensembles)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from time import monotonic_ns

from fusee.server.errors import Reason, ServingError
from fusee.server.pipelines.account import CANCELLED, Account, deadline_error
from fusee.server.pipelines.ensemble_plan import EnsemblePlan, Step, uses
from fusee.server.plane import Lookup
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.scheduling.contract import Contract
from fusee.server.statistics import ModelStatistics
from fusee.server.types import ANSWERED, Done, InferRequest, InferResponse, Tensor, Ticket, WantedOutput


class Ensemble:
    """A Servable made of others, which are looked up for each request: a step's model may be reloaded meanwhile.

    ``max_inflight_requests`` of the configuration bounds how many requests are in each step at a time; further ones
    wait their turn. The statistics count what happens from the first step's start on as computing.
    """

    def __init__(
        self,
        config: ModelConfig,
        version: str,
        plan: EnsemblePlan,
        lookup: Lookup,
        labels: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.name = config.name
        self.version = version
        self.config = config
        self.inputs = plan.inputs
        self.outputs = plan.outputs
        self.labels = labels
        self.statistics = ModelStatistics()
        self.account = Account(self.statistics)
        self.plan = plan
        self._contract = Contract(self.name, self.inputs, self.outputs, config.max_batch_size)
        self.lookup = lookup
        most = config.ensemble_scheduling.max_inflight_requests
        self.gates = {step.number: _Gate(most) for step in plan.steps}

    @property
    def queue_length(self) -> int:
        """Requests that wait for their turn in a step."""
        return sum(gate.waiting for gate in self.gates.values())

    def submit(self, request: InferRequest, done: Done) -> Ticket:
        """Start the steps that can start; what is wrong with the request goes to ``done``."""
        try:
            items = self._contract.admit(request).items
        except ServingError as err:
            self.account.refuse(request, err)
            done(err)
            return ANSWERED
        wanted = tuple(w.name for w in request.outputs or self.outputs)
        run = _Run(self, request, done, items, wanted)
        run.start()
        return run

    async def close(self) -> None:
        """Once every request is answered; the models of the steps are others' to close."""
        await self.account.drained()


class _Gate:
    """Lets so many requests into a step at a time, 0 being all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._is_letting_in = False
        self._waiting: deque[tuple[_Run, Step]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def enter(self, run: _Run, step: Step) -> bool:
        """Whether it may start now; else its run is told when it may."""
        if self._most and self._inside >= self._most:
            self._waiting.append((run, step))
            return False
        self._inside += 1
        return True

    def leave(self) -> None:
        self._inside -= 1
        if self._is_letting_in:  # a step that answered at once: the loop below sees the room it left
            return
        self._is_letting_in = True
        while self._waiting and self._inside < self._most:
            run, step = self._waiting.popleft()
            if not run.is_over:
                self._inside += 1
                run.enter(step)
        self._is_letting_in = False


class _Run:
    """One request on its way through the steps. It is its own ticket."""

    def __init__(
        self, ensemble: Ensemble, request: InferRequest, done: Done, items: int, wanted: tuple[str, ...]
    ) -> None:
        self.is_over = False
        self._ensemble = ensemble
        self._request = request
        self._done = done
        self._items = items
        self._wanted = wanted
        steps = ensemble.plan.needed(wanted)
        self._waiting = {step.number: step for step in steps}
        self._uses = uses(steps, wanted)
        self._tickets: dict[int, Ticket] = {}
        self._tensors: dict[str, Tensor | None] = {i.name: None for i in ensemble.inputs if i.is_optional}
        self._tensors.update((t.name, t) for t in request.inputs)

    def start(self) -> None:
        self._ensemble.account.begin()
        timing = self._request.timing
        timing.queued_ns = timing.started_ns = timing.input_done_ns = monotonic_ns()
        self._advance()

    def cancel(self) -> None:
        self._fail(ServingError(Reason.CANCELLED, CANCELLED))

    def _advance(self) -> None:
        """Start every step whose tensors are there, or answer."""
        for step in [s for s in self._waiting.values() if self._tensors.keys() >= s.needs]:
            if self.is_over or self._waiting.pop(step.number, None) is None:
                continue  # a step before it answered at once and went on from here
            if self._ensemble.gates[step.number].enter(self, step):
                self.enter(step)
        if not self.is_over and all(name in self._tensors for name in self._wanted):
            self._answer()

    def enter(self, step: Step) -> None:
        """Hand a step's tensors to its model."""
        where = f"before step {step.number} (model {step.model!r}) of ensemble {self._ensemble.name!r}"
        answered = False

        def answer(result: InferResponse | ServingError) -> None:
            nonlocal answered
            answered = True
            self._tickets.pop(step.number, None)
            self._ensemble.gates[step.number].leave()
            if not self.is_over:
                self._leave(step, result)

        expired = deadline_error(self._request, where)
        if expired is not None:
            answer(expired)
            return
        try:
            servable = self._ensemble.lookup(step.model, step.version)
        except ServingError as err:
            answer(err)
            return
        ticket = servable.submit(self._step_request(step), answer)
        if not answered:
            self._tickets[step.number] = ticket

    def _step_request(self, step: Step) -> InferRequest:
        request = self._request
        given = {name: self._take(tensor) for name, tensor in step.inputs.items()}
        return InferRequest(
            step.model,
            step.version,
            request.id,
            tuple(t._replace(name=name) for name, t in given.items() if t is not None),
            outputs=tuple(WantedOutput(name) for name in step.outputs),
            parameters=request.parameters,
            priority=request.priority,
            timeout_us=request.timeout_us,
            deadline_ns=request.deadline_ns,
            traceparent=request.traceparent,
            callers=(*request.callers, self._ensemble.name),
        )

    def _take(self, tensor: str) -> Tensor | None:
        """A tensor of the ensemble, given up with its last use: memory is freed as the request goes on."""
        self._uses[tensor] -= 1
        return self._tensors[tensor] if self._uses[tensor] else self._tensors.pop(tensor)

    def _leave(self, step: Step, result: InferResponse | ServingError) -> None:
        if isinstance(result, ServingError):
            message = (
                f"in ensemble {self._ensemble.name!r}, step {step.number} (model {step.model!r}): {result.message}"
            )
            self._fail(ServingError(result.reason, message, result.retry_after_s))
            return
        for tensor in result.outputs:
            name = step.outputs[tensor.name]
            if self._uses[name]:
                self._tensors[name] = tensor._replace(name=name)
        self._advance()

    def _answer(self) -> None:
        self.is_over = True
        outputs = tuple(t for t in (self._tensors[name] for name in self._wanted) if t is not None)
        self._request.timing.infer_done_ns = monotonic_ns()
        self._ensemble.account.succeed(self._request, self._items)
        request = self._request
        self._done(InferResponse(self._ensemble.name, self._ensemble.version, request.id, outputs))

    def _fail(self, error: ServingError) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._ensemble.account.fail(self._request, error)
        for ticket in list(self._tickets.values()):
            ticket.cancel()
        self._done(error)
