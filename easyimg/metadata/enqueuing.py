"""Queueing variants: new rows are inserted, and those that wait already get the priority of whoever asks now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, Update, case, select, update

from easyimg.metadata.clock import now
from easyimg.metadata.dialects import Dialect
from easyimg.metadata.rows import NewVariant
from easyimg.metadata.statements import Statements, among, literal
from easyimg.metadata.tables import Tables
from easyimg.variant import Priority, VariantStatus


def insert_or_raise(conn: Connection, sql: Statements, dialect: Dialect, rows: Sequence[NewVariant]) -> set[str]:
    """Insert what is absent and raise the priority of what waits; return ids of sources with anything new."""
    if not rows:
        return set()
    inserted = dialect.insert_variants(conn, rows)
    known = [row for row in rows if row[3] > Priority.BACKGROUND and (inserted is None or row[0] not in inserted)]
    if known:
        _raise(conn, sql, [row[0] for row in known])
    return {row[1] for row in rows if inserted is None or row[0] in inserted}


def _raise(conn: Connection, sql: Statements, keys: list[str]) -> None:
    """Raise what nobody is claiming right now: who claims it is about to build it."""
    found = [key for (key,) in sql.rows(conn, _behind, keys=keys)]
    if found:
        sql.change(conn, _raised, keys=found)


def _behind(tables: Tables) -> Select[Any]:
    v = tables.variant.c
    waits = (v.status == literal(VariantStatus.QUEUED), v.priority == literal(Priority.BACKGROUND))
    return select(v.key).where(among(v.key, "keys"), *waits).order_by(v.key).with_for_update(skip_locked=True)


def _raised(tables: Tables) -> Update:
    """Put rows among those of pages, as the newest: that is who is built next. One to be tried later keeps its time."""
    v = tables.variant.c
    newest = case((v.due_at <= now(), now()), else_=v.due_at)
    return update(tables.variant).where(among(v.key, "keys")).values(priority=int(Priority.PAGE), due_at=newest)
