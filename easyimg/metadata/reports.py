"""Requeue and inspect: what people ask of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Update, and_, bindparam, or_, select, update

from easyimg.metadata.clock import micros, now
from easyimg.metadata.rows import detail_of
from easyimg.metadata.statements import Statements, among, by_no_index, literal
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

    @property
    def takes_failed(self) -> bool:
        """Whether any failed variant can be meant."""
        return self.max_errors is None or self.max_errors >= 0


def chosen(conn: Connection, sql: Statements, choice: Choice) -> list[str]:
    """Return the keys of the chosen variants, each found by its index; no lock is taken."""
    given: dict[str, Any] = {} if choice.source_id is None else {"source": choice.source_id}
    keys: list[str] = []
    if choice.takes_failed:
        shape = (choice.kinds is not None, choice.max_errors is not None, choice.source_id is not None)
        some = given | ({} if choice.kinds is None else {"kinds": list(choice.kinds)})
        some |= {} if choice.max_errors is None else {"most": choice.max_errors}
        keys += [key for (key,) in sql.rows(conn, _failed, *shape, **some)]
    if choice.include_stale:
        is_one = choice.source_id is not None
        keys += [key for (key,) in sql.rows(conn, _stale, is_one, ago=micros(-choice.stale_after), **given)]
    return keys


def _failed(tables: Tables, some_kinds: bool, some_errors: bool, one_source: bool) -> Select[Any]:
    v = tables.variant.c
    query = select(v.key).where(is_failed(tables))
    if some_kinds:
        query = query.where(among(v.error_kind, "kinds"))
    if some_errors:
        query = query.where(v.errors <= bindparam("most"))
    return query.where(v.source_id == bindparam("source")) if one_source else query


def _stale(tables: Tables, one_source: bool) -> Select[Any]:
    v = tables.variant.c
    building = v.status == literal(VariantStatus.BUILDING)
    some = v.priority.in_([literal(priority) for priority in Priority])
    query = select(v.key).where(some, v.due_at <= now("ago"), building)
    return query.where(v.source_id == bindparam("source")) if one_source else query


def requeue(conn: Connection, sql: Statements, keys: list[str], stale_after: float) -> int:
    """Queue those of the chosen variants again that still are as they were chosen; their sources first, as everywhere.

    Args:
        keys: few enough for one short transaction.
        stale_after: as of the choice.
    """
    ids = [id_ for (id_,) in sql.rows(conn, _sources_of, keys=keys)]
    sql.rows(conn, _locked_sources, ids=ids)
    ago = micros(-stale_after)
    again = sql.rows(conn, _locked_variants, keys=keys, ago=ago)
    if again:
        sql.change(conn, _forgiven, ids=sorted({source_id for _, source_id in again}))
        sql.change(conn, _queued, keys=[key for key, _ in again])
    return len(again)


def _sources_of(tables: Tables) -> Select[Any]:
    v = tables.variant.c
    return select(v.source_id).where(among(v.key, "keys")).distinct()


def _locked_sources(tables: Tables) -> Select[Any]:
    s = tables.source.c
    return select(s.id).where(among(s.id, "ids")).order_by(s.id).with_for_update()


def _locked_variants(tables: Tables) -> Select[Any]:
    v = tables.variant.c
    status = by_no_index(v.status)
    lapsed = and_(status == literal(VariantStatus.BUILDING), by_no_index(v.due_at) <= now("ago"))
    same = or_(status >= literal(min(ERROR_STATUSES)), lapsed)
    return select(v.key, v.source_id).where(among(v.key, "keys"), same).order_by(v.key).with_for_update()


def _forgiven(tables: Tables) -> Update:
    s = tables.source.c
    burdened = or_(s.crashes > 0, s.error != "")
    return update(tables.source).where(among(s.id, "ids"), burdened).values(crashes=literal(0), error="")


def _queued(tables: Tables) -> Update:
    return update(tables.variant).where(among(tables.variant.c.key, "keys")).values(**queued_again())


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
