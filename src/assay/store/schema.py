"""Making the tables, once, whoever comes first."""

from __future__ import annotations

from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.exc import DatabaseError

from assay.errors import invalid
from assay.store.database import Database
from assay.store.tables import SCHEMA_VERSION, metadata, schema_version

_LOCK = 0x61737361  # "assa": PostgreSQL's advisory lock for making the tables


def create_tables(database: Database) -> None:
    """Make what is missing. Two processes may do so at once. Raises Refusal INVALID when the database is newer than
    this code or is none, UNAVAILABLE when it does not answer."""
    try:
        _create_tables(database)
    except DatabaseError as err:
        raise invalid(f"setting store_url names what is not a database that Assay can use: {err.orig}") from err


def _create_tables(database: Database) -> None:
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = _version(connection)
        if found > SCHEMA_VERSION:
            raise invalid(
                f"the database has schema version {found}, this Assay knows {SCHEMA_VERSION}; "
                f"use the Assay that made it, or a newer one"
            )
        metadata.create_all(connection)
        if found == 0:
            connection.execute(insert(schema_version).values(only=1, version=SCHEMA_VERSION))


def _version(connection: Connection) -> int:
    """0: there are no tables."""
    if not inspect(connection).has_table(schema_version.name):
        return 0
    return connection.scalar(select(schema_version.c.version)) or 0
