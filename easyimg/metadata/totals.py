"""The totals of the status page."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from easyimg.metadata.clock import micros, now, seconds_since
from easyimg.metadata.reports import is_failed
from easyimg.metadata.rows import EXACT_BELOW, OUTDATED, RECOUNT_AFTER, SUMMARY, iso
from easyimg.metadata.statements import Statements, literal
from easyimg.metadata.tables import Tables
from easyimg.variant import ERROR_STATUSES, Counts, Priority, VariantStatus


class _Totals(NamedTuple):
    """``sources`` and ``generated``, and when they were counted (``""`` = just now)."""

    sources: int
    generated: int
    counted_at: str = ""


def counts(conn: Connection, sql: Statements, stale_after: float) -> Counts:
    """Count what is not BUILT by its indexes; the totals of large tables come from the row that remembers them."""
    [(pending, building, stale, *owed)] = sql.rows(conn, _open_rows, ago=micros(-stale_after))
    failed = sql.rows(conn, _failed_rows)
    not_built = pending + sum(row[3] for row in failed)
    totals = _remembered(conn, sql, OUTDATED) or _counted(conn, sql, not_built)
    return Counts(
        sources=totals.sources,
        generated=totals.generated,
        queued=pending - building,
        building=building,
        source_errors=sum(row[3] for row in failed if row[0] == VariantStatus.SOURCE_ERROR),
        build_errors=sum(row[3] for row in failed if row[0] == VariantStatus.BUILD_ERROR),
        stale=stale,
        oldest_owed=max(0.0, *(float(seconds or 0) for seconds in owed)),
        error_counts=tuple(sorted(_sums((errors, count) for _, _, errors, count in failed).items())),
        error_kinds=_error_kinds(conn, sql, _sums((kind, count) for _, kind, _, count in failed)),
        counted_at=totals.counted_at,
    )


def _sums(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    total: dict[Any, int] = {}
    for name, count in pairs:
        total[name] = total.get(name, 0) + count
    return total


def _open_rows(tables: Tables) -> Select[Any]:
    """How many are owed, are being built, lapsed; per priority how long the oldest is owed.

    One walk of the index on due_at, with as little as can be done for each row of a long backlog: a GROUP BY would sort
    them, and the time is looked at only where a build is under way.
    """
    v = tables.variant.c
    building = v.status == literal(VariantStatus.BUILDING)
    counts = (func.count(), _number(building), _number(and_(building, v.due_at <= now("ago"))))
    query = select(*counts, *(_oldest(tables, priority) for priority in Priority))
    # Every priority by name: MariaDB's index, which holds all rows, begins with it.
    some = v.priority.in_([literal(priority) for priority in Priority])
    return query.where(some, v.due_at.is_not(None))


def _number(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.count(case((condition, literal(1))))


def _oldest(tables: Tables, priority: Priority) -> ColumnElement[Any]:
    """Return since when the oldest of a priority is due, seconds: the first row of its part of the index."""
    v = tables.variant.alias(f"of_{priority.name.lower()}").c
    first = select(func.min(v.due_at)).where(v.priority == literal(priority), v.due_at.is_not(None))
    return seconds_since(first.scalar_subquery())


def _failed_rows(tables: Tables) -> Select[Any]:
    v = tables.variant.c
    query = select(v.status, v.error_kind, v.errors, func.count()).where(is_failed(tables))
    return query.group_by(v.status, v.error_kind, v.errors)


def _error_kinds(conn: Connection, sql: Statements, kinds: dict[str, int]) -> tuple[tuple[str, int, str], ...]:
    """Return kind, count and one message each, most frequent first."""
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return tuple((kind, count, _example_of(conn, sql, kind)) for kind, count in ordered)


def _example(tables: Tables) -> Select[Any]:
    v = tables.variant.c
    # One range per status, as the index begins with it.
    wanted = v.status.in_([literal(status) for status in ERROR_STATUSES])
    return select(v.error).where(wanted, is_failed(tables), v.error_kind == bindparam("kind")).limit(literal(1))


def _example_of(conn: Connection, sql: Statements, kind: str) -> str:
    rows = sql.rows(conn, _example, kind=kind)
    return str(rows[0][0]) if rows else ""


# The totals. Never a counter: rows are written in many short transactions, which would queue for its row.


def _summary(tables: Tables) -> Select[Any]:
    m = tables.meta.c
    return select(m.value, seconds_since(m.due_at), m.due_at).where(m.name == SUMMARY)


def _remembered(conn: Connection, sql: Statements, at_most: float) -> _Totals | None:
    """Return what was counted no longer than so many seconds ago."""
    rows = sql.rows(conn, _summary)
    if not rows or float(rows[0][1]) > at_most:
        return None
    sources, _, generated = rows[0][0].partition(" ")
    return _Totals(int(sources), int(generated), iso(rows[0][2]))


def _counted(conn: Connection, sql: Statements, not_built: int) -> _Totals:
    """Count now; remember it when there was much to count."""
    (sources, variants), *_ = sql.rows(conn, _sizes)
    totals = _Totals(sources, max(0, variants - not_built))
    if max(sources, variants) >= EXACT_BELOW:
        _remember(conn, sql.tables, totals)
    return totals


def _sizes(tables: Tables) -> Select[Any]:
    return select(
        select(func.count()).select_from(tables.source).scalar_subquery(),
        select(func.count()).select_from(tables.variant).scalar_subquery(),
    )


def _remember(conn: Connection, tables: Tables, totals: _Totals) -> None:
    """Write the row if that is possible now; of two that insert it, one does."""
    row = {"value": f"{totals.sources} {totals.generated}", "due_at": now()}
    with suppress(IntegrityError, OperationalError):
        if conn.execute(update(tables.meta).where(tables.meta.c.name == SUMMARY).values(**row)).rowcount == 0:
            conn.execute(insert(tables.meta).values(name=SUMMARY, **row))


def recount(conn: Connection, sql: Statements) -> None:
    """Count again what was remembered a while ago; forget it where the tables are small by now."""
    if not sql.rows(conn, _summary) or _remembered(conn, sql, RECOUNT_AFTER):
        return
    open_rows = sql.rows(conn, _open_rows, ago=0)
    not_built = open_rows[0][0] + sum(row[3] for row in sql.rows(conn, _failed_rows))
    totals = _counted(conn, sql, not_built)
    if max(totals.sources, totals.generated + not_built) < EXACT_BELOW:
        conn.execute(delete(sql.tables.meta).where(sql.tables.meta.c.name == SUMMARY))
