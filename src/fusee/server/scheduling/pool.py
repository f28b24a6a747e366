"""The threads of one model: each takes what the batcher gives it, runs it on a free instance, and reports.

Waits are those of threading primitives, which end within microseconds of their time; an event loop's timers count
milliseconds. There is one thread more than there are instances, so that one is awake to refuse what expires while all
of them compute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic_ns

from fusee.server.errors import ServingError
from fusee.server.scheduling.batcher import Batch, Batcher, Refusal
from fusee.server.scheduling.instance import Instance
from fusee.server.scheduling.latency import LatencyTable, LatencyTables
from fusee.server.scheduling.submission import Run, Submission

NEVER_NS = 1 << 62
Execute = Callable[[Instance, Run], None]
"""Runs a batch on an instance and sees to its answers; called on the pool's threads; never raises."""
Refuse = Callable[[Sequence[Refusal[Submission]]], None]
"""Answers requests that will not run; called on the pool's threads."""


class Pool:
    """Instances, the queue before them, and the lock around both."""

    def __init__(
        self,
        name: str,
        instances: Sequence[Instance],
        batcher: Batcher[Submission],
        tables: LatencyTables,
        execute: Execute,
        refuse: Refuse,
    ) -> None:
        self.instances = tuple(instances)
        self._free = list(instances)
        self._batcher = batcher
        self._tables = tables
        self._execute = execute
        self._refuse = refuse
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._watched_ns = NEVER_NS  # when a waiting thread looks again, at the latest
        self._is_woken = False  # a thread was woken and has not looked yet
        self._is_stopped = False
        self._runs = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(len(instances) + 1)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._batcher.waiting

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._batcher.waiting and len(self._free) == len(self.instances)

    def add(self, submission: Submission, now_ns: int) -> ServingError | None:
        """Queue a request; the error when it cannot be taken."""
        request = submission.request
        with self._lock:
            error = self._batcher.add(submission, now_ns, request.priority, request.timeout_us)
            if error is None and not self._is_woken and self._must_look(submission):
                self._wake()
            return error

    def cancel(self, submission: Submission) -> bool:
        """Take a request out of the queue; False when an instance has it."""
        with self._lock:
            return self._batcher.cancel(submission)

    def claim(self) -> Instance | None:
        """A free instance for the caller alone, when nothing waits for one; ``release`` is owed."""
        with self._lock:
            return self._free.pop() if self._free and not self._batcher.waiting else None

    def release(self, instance: Instance, table: LatencyTable, items: int, ns: int) -> None:
        """Give an instance back that ran that many items in so many nanoseconds."""
        with self._lock:
            self._free.append(instance)
            table.observe(items, ns)
            if self._batcher.waiting:
                self._wake()

    def give_back(self, instance: Instance) -> None:
        """As ``release``, of an instance that ran no request."""
        with self._lock:
            self._free.append(instance)
            if self._batcher.waiting:
                self._wake()

    def drain(self) -> None:
        """Hold no request back for others any more."""
        with self._lock:
            self._batcher.is_closing = True
            self._wake()

    def close(self) -> None:
        """End the threads and the sessions. Nothing waits any more. Blocks until runs under way are over."""
        with self._lock:
            self._is_stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for instance in self.instances:
            instance.close()

    def _must_look(self, submission: Submission) -> bool:
        if not self._free:
            return submission.expires_ns is not None or submission.deadline_ns is not None
        return self._batcher.acts_on(submission)

    def _wake(self) -> None:
        self._is_woken = True
        self._changed.notify()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            instance, run = taken
            self._execute(instance, run)
            with self._lock:
                self._free.append(instance)
                self._tables.of(run.signature).observe(run.items, monotonic_ns() - run.started_ns)

    def _take(self) -> tuple[Instance, Run] | None:
        """The next batch and who is to run it; None when the pool closes."""
        with self._lock:
            while not self._is_stopped:
                self._is_woken = False
                now_ns = monotonic_ns()
                answer = self._batcher.next(now_ns, can_run=bool(self._free))
                if answer.refused:
                    self._refuse(answer.refused)
                if answer.batch is not None:
                    return self._begun(answer.batch, now_ns)
                self._sleep(answer.wait_until_ns, now_ns)
            return None

    def _begun(self, batch: Batch[Submission], now_ns: int) -> tuple[Instance, Run]:
        if self._batcher.waiting:
            self._wake()  # another thread sees to the rest
        self._runs += 1
        return self._free.pop(), Run(batch.entries, batch.items, batch.why, self._runs, now_ns)

    def _sleep(self, until_ns: int | None, now_ns: int) -> None:
        """Wait until that time or a change; without a time limit where another thread is to wake by then."""
        if until_ns is None or until_ns >= self._watched_ns:
            self._changed.wait()
            return
        self._watched_ns = until_ns
        self._changed.wait(max(0.0, (until_ns - now_ns) * 1e-9))
        if self._watched_ns == until_ns:
            self._watched_ns = NEVER_NS
