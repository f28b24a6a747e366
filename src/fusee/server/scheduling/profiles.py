"""Where the time goes inside an engine, for traces: its steps, measured between requests when somebody asks."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence

from fusee.base.errors import FuseeError
from fusee.runtime.profile import StepTime
from fusee.server.scheduling.contract import Contract, Signature
from fusee.server.scheduling.latency import LatencyTables
from fusee.server.scheduling.pool import Pool

RUNS = 5
BUDGET_NS = 20_000_000  # that an instance is taken for, unless two runs take longer
MOST = 64  # batch shapes that are remembered
Batch = tuple[Signature, int]
_log = logging.getLogger(__name__)


class Profiles:
    """The step times of a model's batches by signature and number of items. ``ran`` is the batch that ran last."""

    def __init__(self, contract: Contract, latencies: LatencyTables, pool: Pool) -> None:
        self.ran: Batch | None = None
        self._contract = contract
        self._latencies = latencies
        self._pool = pool
        self._known: OrderedDict[Batch, Sequence[StepTime]] = OrderedDict()

    def latest(self) -> Sequence[StepTime]:
        """Of the batch that ran last; of none while every instance has requests to run. On one thread at a time."""
        batch = self.ran
        if batch is None:
            return ()
        known = self._known.get(batch)
        return self._profiled(batch) if known is None else known

    def _profiled(self, batch: Batch) -> Sequence[StepTime]:
        instance = self._pool.claim()
        if instance is None:
            return ()
        try:
            steps = instance.profile(self._contract.zeros(*batch), self._runs(batch))
        except FuseeError as err:
            _log.warning("the steps of model %r cannot be timed: %s", self._contract.name, err)
            steps = []
        finally:
            self._pool.give_back(instance)
        self._known[batch] = steps
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return steps

    def _runs(self, batch: Batch) -> int:
        """As many as the budget allows, beside the one that does not count."""
        signature, items = batch
        run_ns = self._latencies.figure_ns(signature, items)
        return max(1, min(RUNS, int(BUDGET_NS / run_ns) - 1 if run_ns else 1))
