"""Requeue and inspect: what people ask of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from easyimg.metadata.clock import now
from easyimg.metadata.rows import detail_of
from easyimg.metadata.statements import literal
from easyimg.metadata.tables import Tables
from easyimg.source import Source
from easyimg.variant import ERROR_STATUSES, Priority, SourceDetail, VariantStatus


def is_failed(tables: Tables) -> ColumnElement[bool]:
    """Return the condition that a variant was given up."""
    return tables.variant.c.status >= literal(min(ERROR_STATUSES))


class Choice(NamedTuple):
    """Which failed variants to queue again."""

    kinds: Sequence[str] | None
    max_errors: int | None
    include_stale: bool
    stale_after: float
    source_id: str | None

    def condition(self, tables: Tables) -> ColumnElement[bool]:
        """Return the condition on a variant's row."""
        v = tables.variant.c
        failed: list[ColumnElement[bool]] = [is_failed(tables)]
        if self.kinds is not None:
            failed.append(v.error_kind.in_(list(self.kinds)))
        if self.max_errors is not None:
            failed.append(v.errors <= self.max_errors)
        chosen = and_(*failed)
        if self.include_stale:
            lapsed = and_(v.status == VariantStatus.BUILDING, v.due_at <= now(-self.stale_after))
            chosen = or_(chosen, lapsed)
        return chosen if self.source_id is None else and_(chosen, v.source_id == self.source_id)


def requeue(conn: Connection, tables: Tables, choice: Choice) -> int:
    """Queue the chosen variants again; their sources first, as everywhere."""
    s, v = tables.source.c, tables.variant.c
    chosen = choice.condition(tables)
    burdened = or_(s.crashes > 0, s.error != "")
    sources = update(tables.source).where(s.id.in_(select(v.source_id).where(chosen)), burdened)
    conn.execute(sources.values(crashes=0, error=""))
    return conn.execute(update(tables.variant).where(chosen).values(**queued_again())).rowcount


def queued_again() -> dict[str, Any]:
    """Return the columns of a variant that gets fresh attempts; how often it failed so far is kept.

    Nobody waits for it yet: a page that shows it will say so.
    """
    return {
        "status": VariantStatus.QUEUED,
        "priority": Priority.BACKGROUND,
        "attempts": 0,
        "error_kind": "",
        "error": "",
        "due_at": now(),
        "token": None,
    }


def inspect(conn: Connection, tables: Tables, source: Source) -> SourceDetail | None:
    """Return the whole of a source's rows, variants oldest first."""
    row = conn.execute(select(tables.source).where(tables.source.c.id == source.id)).one_or_none()
    if row is None:
        return None
    v = tables.variant.c
    query = select(tables.variant).where(v.source_id == source.id).order_by(v.created_at, v.key)
    return detail_of(row, conn.execute(query))
