"""Creating and upgrading the tables, and checking that they are of the version this code knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, update

from easyimg.errors import MetadataError
from easyimg.metadata.dialects import Dialect
from easyimg.metadata.tables import SCHEMA_VERSION, Tables
from easyimg.metadata.transactions import transaction

Step = Callable[[Connection, Tables], None]
"""Changes the tables from one version to the next. MariaDB commits after each ALTER TABLE: a step must bear being run
again after it got half way."""


def _add_priority(conn: Connection, tables: Tables) -> None:
    """1 -> 2: what pages wait for is claimed first. What was queued before counts as background until a page asks."""
    variant = tables.variant
    found = inspect(conn)
    if "priority" not in {column["name"] for column in found.get_columns(variant.name)}:
        conn.exec_driver_sql(f"ALTER TABLE {variant.name} ADD COLUMN priority SMALLINT DEFAULT 0 NOT NULL")
    (due,) = [index for index in variant.indexes if index.name == "easyimg_variant_due"]
    known = {index["name"]: index["column_names"] for index in found.get_indexes(variant.name)}
    if known.get(due.name) == [column.name for column in due.columns]:
        return
    if due.name in known:
        due.drop(conn)
    due.create(conn)


STEPS: Final[dict[int, Step]] = {1: _add_priority}
"""The version a step begins with -> the step. There is one for every version that was ever released but the newest."""


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
            ours = not inspect(conn).has_table(tables.variant.name)  # else a site's migrations made them, as they like
            tables.meta.metadata.create_all(conn, tables=list(tables))
            if ours:
                dialect.tune(conn)
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


def migrate(conn: Connection, dialect: Dialect, tables: Tables) -> tuple[str | None, str]:
    """Create the tables, or upgrade them step by step; of several processes one does it and the others wait.

    Returns the versions before (None = no tables) and after.

    Raises:
        MetadataError: the tables are newer than this code, or older than the oldest step.
    """
    before = stored_version(conn, tables)
    if before is None:
        create(conn, dialect, tables)
    elif before != str(SCHEMA_VERSION):
        with transaction(conn, dialect, None):
            dialect.create_lock(conn)
            try:
                _upgrade(conn, tables)
                dialect.tune(conn)
            finally:
                dialect.create_unlock(conn)
    check(conn, tables)
    return before, str(SCHEMA_VERSION)


def _upgrade(conn: Connection, tables: Tables) -> None:
    stored = stored_version(conn, tables)  # read again: another process may have been quicker
    version = int(stored) if stored and stored.isdigit() else SCHEMA_VERSION
    while version in STEPS and version < SCHEMA_VERSION:
        STEPS[version](conn, tables)
        version += 1
        conn.execute(update(tables.meta).where(tables.meta.c.name == "schema").values(value=str(version)))
    if version < SCHEMA_VERSION:
        raise MetadataError(f"the metadata schema is version {version}, which this easyimg cannot upgrade any more")
