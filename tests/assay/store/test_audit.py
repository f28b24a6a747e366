from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, select, update
from tests.assay.store.making import Bench

from assay.errors import Reason, Refusal
from assay.store.audit import _row_digest
from assay.store.tables import audit_entries


@contextmanager
def behind_its_back(bench: Bench) -> Iterator[Connection]:
    """The database as someone has it who may write to it and means to hide something."""
    engine = create_engine(bench.settings.database_url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def told(bench: Bench) -> Bench:
    """Entries 1 (the tenant's) to 6."""
    for n in range(2, 7):
        bench.store.audit.append(bench.tenant.id, "key_1", "case.submitted", f"case_{n}", {"n": n, "ü": [None, True]})
    return bench


def test_entries_form_a_chain_that_holds(told: Bench) -> None:
    entries = told.store.audit.entries(told.tenant.id)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert all(later.previous == earlier.hash for earlier, later in pairwise(entries))
    assert told.store.audit.verify(told.tenant.id) is None
    assert told.store.audit.head(told.tenant.id) == (6, entries[-1].hash)
    assert entries[1].details == {"n": 2, "ü": [None, True]}


def test_entries_come_in_pages_and_by_subject(told: Bench) -> None:
    assert [entry.seq for entry in told.store.audit.entries(told.tenant.id, after_seq=2, most=3)] == [3, 4, 5]
    assert [entry.seq for entry in told.store.audit.entries(told.tenant.id, subject="case_4")] == [4]


def test_a_chain_longer_than_a_page_is_checked_to_its_end(told: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.store.audit._PAGE", 2)
    assert told.store.audit.verify(told.tenant.id) is None
    _alter(told, "UPDATE audit_entries SET actor = 'key_2' WHERE seq = 6")
    assert _broken(told) == 6


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "2020-01-01 00:00:00.000000"),
        ("actor", "key_2"),
        ("action", "case.erased"),
        ("subject", "case_9"),
        ("details", '{"n":3}'),
        ("hash", "0" * 64),
        ("previous", "0" * 64),
    ],
)
def test_an_edited_entry_is_found(told: Bench, column: str, value: str) -> None:
    _alter(told, f"UPDATE audit_entries SET {column} = '{value}' WHERE seq = 4")
    assert _broken(told) == 4


def test_an_entry_edited_with_its_hash_made_anew_is_found(told: Bench) -> None:
    """Its own hash holds; the next entry's does not."""
    with behind_its_back(told) as connection:
        connection.execute(update(audit_entries).where(audit_entries.c.seq == 4).values(actor="key_2"))
        row = connection.execute(select(audit_entries).where(audit_entries.c.seq == 4)).one()
        anew = update(audit_entries).where(audit_entries.c.seq == 4).values(hash=_row_digest(row))
        connection.execute(anew)
    assert _broken(told) == 5


@pytest.mark.parametrize("seq", [1, 3, 6])
def test_a_removed_entry_is_found(told: Bench, seq: int) -> None:
    _alter(told, f"DELETE FROM audit_entries WHERE seq = {seq}")
    assert _broken(told) == seq


def test_a_removed_end_is_found(told: Bench) -> None:
    _alter(told, "DELETE FROM audit_entries WHERE seq >= 4")
    assert _broken(told) == 4


def test_entries_that_changed_places_are_found(told: Bench) -> None:
    for statement in ("seq = -1 WHERE seq = 3", "seq = 3 WHERE seq = 4", "seq = 4 WHERE seq = -1"):
        _alter(told, f"UPDATE audit_entries SET {statement}")
    assert _broken(told) == 3


def test_an_entry_slipped_in_is_found(told: Bench) -> None:
    for seq in (7, 0):
        _alter(
            told,
            f"INSERT INTO audit_entries SELECT tenant_id, {seq}, at, actor, action, subject, details, previous, hash "
            "FROM audit_entries WHERE seq = 6",
        )
        assert _broken(told) in (1, 7)


def test_an_entry_of_another_tenant_does_not_fit(told: Bench) -> None:
    other = told.store.tenants.create("Other")
    _alter(told, f"DELETE FROM audit_entries WHERE tenant_id = '{told.tenant.id}' AND seq = 1")
    _alter(told, f"UPDATE audit_entries SET tenant_id = '{told.tenant.id}' WHERE tenant_id = '{other.id}'")
    assert _broken(told) == 1


def test_an_unknown_tenant_has_no_chain(bench: Bench) -> None:
    asking: list[Callable[[str], Any]] = [bench.store.audit.verify, bench.store.audit.head]
    asking.append(lambda tenant_id: bench.store.audit.append(tenant_id, "a", "b", "c"))
    for ask in asking:
        with pytest.raises(Refusal, match="there is no tenant") as caught:
            ask("tenant_0")
        assert caught.value.reason is Reason.NOT_FOUND


def _alter(bench: Bench, statement: str) -> None:
    with behind_its_back(bench) as connection:
        assert connection.exec_driver_sql(statement).rowcount != 0


def _broken(bench: Bench) -> int:
    found = bench.store.audit.verify(bench.tenant.id)
    assert found is not None, "it was not found"
    assert str(found.seq) in found.what
    return found.seq
