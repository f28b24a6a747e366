"""A request on its way through a model's queue, and a batch of them that has run."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from fusee.server.errors import ServingError
from fusee.server.scheduling.batcher import Entry, Why
from fusee.server.scheduling.contract import Admitted
from fusee.server.types import Done, InferRequest, InferResponse

Cancel = Callable[["Submission"], None]


class Submission(Entry):
    """One request with its arrays. It is its own ticket; ``answer`` is set by the instance that ran it."""

    __slots__ = ("admitted", "answer", "done", "is_answered", "on_cancel", "request")

    def __init__(self, request: InferRequest, done: Done, admitted: Admitted, on_cancel: Cancel) -> None:
        super().__init__(admitted.signature, admitted.items, request.deadline_ns)
        self.request = request
        self.done = done
        self.admitted = admitted
        self.on_cancel = on_cancel
        self.answer: InferResponse | ServingError | None = None
        self.is_answered = False

    def cancel(self) -> None:
        if not self.is_answered:
            self.on_cancel(self)


class Run(NamedTuple):
    """Requests that an instance runs together; ``number`` counts runs in the order in which they began."""

    submissions: list[Submission]
    items: int
    why: Why
    number: int
    started_ns: int

    @property
    def signature(self) -> Hashable:
        return self.submissions[0].signature
