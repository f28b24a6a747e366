"""A conformance case: a name, the clients that it is driven with, and what it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.conformance.records import Record

Ask = Callable[[Any], Record]  # takes the client of one of the case's forms; leaves the server as it was


@dataclass(frozen=True)
class Case:
    """``ask`` gives the same record against every server that keeps the protocol."""

    name: str
    forms: tuple[str, ...]
    ask: Ask


class Cases(list[Case]):
    """The cases of one file, in its order."""

    def case(self, name: str, *forms: str) -> Callable[[Ask], Ask]:
        """Add the decorated function."""

        def add(ask: Ask) -> Ask:
            self.append(Case(name, forms, ask))
            return ask

        return add
