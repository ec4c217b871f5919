"""Creating the tables, and checking that they are of the version this code knows."""

from __future__ import annotations

from sqlalchemy import Connection, insert, inspect, select

from easyimg.errors import MetadataError
from easyimg.metadata.dialects import Dialect
from easyimg.metadata.tables import SCHEMA_VERSION, Tables
from easyimg.metadata.transactions import transaction


def stored_version(conn: Connection, tables: Tables) -> str | None:
    """Return the version of the tables in the database; None where there are none."""
    meta = tables.meta
    if not inspect(conn).has_table(meta.name):
        return None
    return conn.execute(select(meta.c.value).where(meta.c.name == "schema")).scalar()


def create(conn: Connection, dialect: Dialect, tables: Tables) -> None:
    """Create what is missing; of several processes that start at once, one does it and the others wait."""
    with transaction(conn, dialect, None):
        dialect.create_lock(conn)
        try:
            tables.meta.metadata.create_all(conn, tables=list(tables))
            if stored_version(conn, tables) is None:
                conn.execute(insert(tables.meta).values(name="schema", value=str(SCHEMA_VERSION)))
        finally:
            dialect.create_unlock(conn)


def check(conn: Connection, tables: Tables) -> None:
    """Refuse tables of another version.

    Raises:
        MetadataError: absent, older or newer; the message says what to run.
    """
    stored = stored_version(conn, tables)
    if stored == str(SCHEMA_VERSION):
        return
    if stored is None:
        raise MetadataError("the metadata tables do not exist; run 'easyimg migrate'")
    found = int(stored) if stored.isdigit() else 0
    advice = "run 'easyimg migrate'" if found < SCHEMA_VERSION else "upgrade easyimg"
    raise MetadataError(f"the metadata schema is version {stored}, this easyimg needs {SCHEMA_VERSION}; {advice}")
