"""Lists of cases, a page at a time."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, tuple_

from assay.cases import Case, CaseState, Verdict
from assay.errors import invalid
from assay.store.foundation import Foundation
from assay.store.identifiers import check_text, is_id
from assay.store.rows import as_cases
from assay.store.tables import cases


class Search:
    """Part of ``Cases``: what concerns lists."""

    def __init__(self, foundation: Foundation) -> None:
        self._database = foundation.database

    def find(
        self,
        tenant_id: str,
        states: Collection[CaseState] = (),
        verdict: Verdict | None = None,
        text: str = "",
        cursor: str = "",
        most: int = 25,
        brand: str = "",
    ) -> tuple[list[Case], str]:
        """The tenant's newest cases, and the cursor of the next page, '' behind the last one.

        ``states`` (): all. ``text`` is looked for in the customer reference, the brand and the model, ``brand`` is
        the whole brand; capitals do not matter. A page begins behind the last case of the one before, so cases that
        arrive meanwhile shift nothing. Raises Refusal INVALID for a cursor that is not from here.
        """
        query = select(cases).where(cases.c.tenant_id == tenant_id)
        if states:
            query = query.where(cases.c.state.in_(list(states)))
        if verdict is not None:
            query = query.where(cases.c.verdict == verdict)
        if brand:
            query = query.where(cases.c.brand.ilike(_literally(check_text("brand", brand)), escape="\\"))
        if text:
            query = query.where(_mentions(check_text("the text to look for", text)))
        if cursor:
            query = query.where(tuple_(cases.c.created_at, cases.c.id) < tuple_(*_position(cursor)))
        newest_first = query.order_by(cases.c.created_at.desc(), cases.c.id.desc()).limit(most + 1)
        with self._database.reading() as connection:
            rows = connection.execute(newest_first).all() if is_id(tenant_id) else []
            found = as_cases(connection, rows[:most])
        return found, _cursor(found[-1]) if len(rows) > most else ""


def _mentions(text: str) -> Any:
    columns = (cases.c.customer_reference, cases.c.brand, cases.c.model)
    return or_(*[column.icontains(text, autoescape=True) for column in columns])


def _literally(text: str) -> str:
    """A pattern that matches the text alone."""
    return "".join("\\" + c if c in "\\%_" else c for c in text)


def _cursor(last: Case) -> str:
    return base64.urlsafe_b64encode(json.dumps([last.created_at.isoformat(), last.id]).encode()).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        at, case_id = json.loads(base64.urlsafe_b64decode(cursor))
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is not None and is_id(case_id):
            return moment, case_id
    except (binascii.Error, UnicodeError, ValueError, TypeError, RecursionError):
        pass
    raise invalid(f"the cursor {cursor[:80]!r} is not one that a list ended with; begin again without it")
