"""Claiming, settling and giving back: what happens inside one write transaction of the queue.

A source's row is locked before its variants', always, so that two workers cannot wait for each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    Update,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    not_,
    select,
    union_all,
    update,
)

from easyimg.metadata.claimed import NO_SOURCE, Closing, SourceRow, Taken, Terms, used_up
from easyimg.metadata.clock import micros, now
from easyimg.metadata.rows import FILE_COLUMNS, GAVE_UP, closed, facts
from easyimg.metadata.statements import Statements, among, by_no_index, literal
from easyimg.metadata.tables import Tables
from easyimg.metadata.transactions import look
from easyimg.preview import Preview
from easyimg.source import Source, SourceInfo
from easyimg.variant import Built, Claim, ClaimOrder, Failure, GivenUp, Ordered, Priority, VariantStatus

_BUILT = ("row", *(f"new_{column}" for column in FILE_COLUMNS))
"""The parameters of ``_built`` for the fields of ``Built``."""


class _VariantRow(NamedTuple):
    """What a claim needs of a variant; ``row`` is what finds it again soonest."""

    row: Any
    key: str
    source_id: str
    spec: str
    status: int
    attempts: int
    error: str
    due: str


# Looking for work, without locks.


class _Search(NamedTuple):
    """What changes the text of the search for sources."""

    order: ClaimOrder
    one_source: bool
    some_keys: bool
    but_some: bool


def _due(tables: Tables, search: _Search) -> Select[Any]:
    """Return sources in order, and how many of their variants were met: per priority one walk along the index.

    The walks end after so many variants. One row a source leaves the database, which is most of what the search costs.
    """
    oldest = search.order is ClaimOrder.OLDEST_FIRST
    walks = [_walk(tables, search, Priority.PAGE, newest=not oldest)]
    if search.order is not ClaimOrder.PAGES_ONLY:
        walks.append(_walk(tables, search, Priority.BACKGROUND, newest=False))
    met = union_all(*walks).subquery().c
    pages_first = (met.priority.desc(), case((met.priority == literal(Priority.PAGE), met.due_at)).desc())
    query = select(met.source_id, met.variants).order_by(*(() if oldest else pages_first), met.due_at, met.source_id)
    return query.limit(bindparam("number"))


def _walk(tables: Tables, search: _Search, priority: Priority, *, newest: bool) -> Select[Any]:
    v = tables.variant.c
    if search.one_source:
        query = select(v.source_id, v.due_at).where(v.source_id == bindparam("source"))
        query = query.where(by_no_index(v.priority) == literal(priority), by_no_index(v.due_at) <= now("ago"))
    else:
        query = select(v.source_id, v.due_at).where(v.priority == literal(priority), v.due_at <= now("ago"))
    if search.some_keys:
        query = query.where(among(v.key, "keys"))
    if search.but_some:
        query = query.where(not_(among(v.source_id, "found")))
    walk = query.order_by(v.due_at.desc() if newest else v.due_at).limit(bindparam("steps")).subquery()
    due_at = (func.max if newest else func.min)(walk.c.due_at).label("due_at")
    columns = (walk.c.source_id, literal(priority).label("priority"), due_at, func.count().label("variants"))
    return select(*columns).group_by(walk.c.source_id)


def due_sources(
    conn: Connection,
    sql: Statements,
    limit: int,
    *,
    overdue: float = 0.0,
    source_id: str | None = None,
    keys: Sequence[str] | None = None,
    order: ClaimOrder = ClaimOrder.OLDEST_FIRST,
) -> list[str]:
    """Return up to ``limit`` ids of sources with variants that are due.

    Walks the index from an end; a GROUP BY would read the whole backlog. Not to be called in a transaction.
    """
    given: dict[str, Any] = {"ago": micros(-overdue), "number": limit, "steps": 4 * limit}
    if source_id is not None:
        given["source"] = source_id
    if keys is not None:
        given["keys"] = list(keys)
    found: dict[str, None] = {}
    while len(found) < limit:
        if found:
            given["found"] = list(found)
        search = _Search(order, source_id is not None, keys is not None, bool(found))
        with nullcontext() if search.one_source else look(conn, sql.dialect):
            rows = sql.rows(conn, _due, search, **given)
        found.update((id_, None) for id_, _ in rows)
        if len(rows) < limit and sum(variants for _, variants in rows) < 4 * limit:
            break  # both walks came to their ends
    return list(found)[:limit]


def candidates(conn: Connection, sql: Statements, terms: Terms) -> list[str]:
    """Return sources worth a claim, before any lock is taken: an idle worker never writes."""
    return due_sources(conn, sql, terms.candidates, source_id=terms.source_id, keys=terms.keys, order=terms.order)


# Claiming.


def claim(conn: Connection, sql: Statements, terms: Terms, sources: Sequence[str], *, block: bool) -> Taken:
    """Claim what is still due of the first of these sources; without ``block``, pass by locked ones."""
    taken = Taken([], [])
    left = list(sources)
    while left and len(taken.claims) < terms.limit:
        size = terms.limit - len(taken.claims)
        taken.claims.extend(_claim_some(conn, sql, terms, left[:size], block, taken.given_up))
        left = left[size:]
    return taken


def _lock_sources(tables: Tables, block: bool, locks_rows: bool) -> Select[Any]:
    columns = [tables.source.c[name] for name in SourceRow._fields]
    query = select(*columns).where(among(tables.source.c.id, "ids"))
    return query.order_by(tables.source.c.id).with_for_update(skip_locked=not block) if locks_rows else query


def _row(tables: Tables, numbered: bool) -> ColumnElement[Any]:
    """Return what finds a variant soonest: SQLite's number of its row saves a search for its key."""
    key: ColumnElement[Any] = tables.variant.c.key
    return literal_column(f"{tables.variant.name}.rowid") if numbered else key


def _lock_variants(tables: Tables, some_keys: bool, locks_rows: bool, numbered: bool) -> Select[Any]:
    v = tables.variant.c
    columns = [v[name] for name in _VariantRow._fields[1:-1]]
    due = v.due_at if numbered else cast(v.due_at, String)  # SQLite's times are text
    query = select(_row(tables, numbered).label("row"), *columns, due).where(
        among(v.source_id, "ids"), by_no_index(v.due_at) <= now()
    )
    if some_keys:
        query = query.where(among(v.key, "keys"))
    return query.order_by(v.key).with_for_update() if locks_rows else query


def _claim_some(
    conn: Connection, sql: Statements, terms: Terms, ids: Sequence[str], block: bool, given_up: list[GivenUp]
) -> list[Claim]:
    locks_rows, numbered = sql.dialect.locks_rows, sql.dialect.numbered
    sources = {row[0]: SourceRow._make(row) for row in sql.rows(conn, _lock_sources, block, locks_rows, ids=list(ids))}
    if block and len(sources) < len(ids):
        given_up += _close_orphans(conn, sql.tables, [id_ for id_ in ids if id_ not in sources])
    if not sources:
        return []
    given = {} if terms.keys is None else {"keys": list(terms.keys)}
    shape = (terms.keys is not None, locks_rows, numbered)
    found = sql.rows(conn, _lock_variants, *shape, ids=list(sources), **given)
    rows: Sequence[_VariantRow] = list(map(_VariantRow._make, found))
    crashes = _count_crashes(conn, sql.tables, sources, rows)
    rows = _give_up_sources(conn, sql.tables, terms, sources, crashes, rows, given_up)
    rows = _give_up_variants(conn, sql.tables, terms, sources, rows, given_up)
    token = _take(conn, sql, terms, rows)
    taken: dict[str, list[Ordered]] = {}
    due: dict[str, str] = {}
    for row in sorted(rows, key=attrgetter("attempts"), reverse=True):
        taken.setdefault(row.source_id, []).append(Ordered(row.key, row.spec, row.attempts + 1))
        if row.due < due.get(row.source_id, "~"):  # as text, they sort as they should
            due[row.source_id] = row.due
    return [sources[id_].claim(crashes[id_], token, taken[id_], due[id_]) for id_ in ids if id_ in taken]


def _close_orphans(conn: Connection, tables: Tables, ids: Sequence[str]) -> list[GivenUp]:
    """Close variants whose source has no row."""
    return [_close_all(conn, tables, id_, None, NO_SOURCE) for id_ in ids]


def _close_all(conn: Connection, tables: Tables, source_id: str, source: Source | None, closing: Closing) -> GivenUp:
    """Close all that is owed of a source."""
    v = tables.variant.c
    query = select(v.key).where(v.source_id == source_id, v.due_at.is_not(None)).order_by(v.key).with_for_update()
    keys = [key for (key,) in conn.execute(query)]
    _close(conn, tables, keys, closing)
    return closing.on(source_id, source, keys)


def _close(conn: Connection, tables: Tables, keys: Sequence[str], closing: Closing) -> None:
    v = tables.variant.c
    row = {"status": closing.status, "errors": v.errors + 1, **closed(GAVE_UP, closing.error)}
    conn.execute(update(tables.variant).where(v.key.in_(keys)).values(**row))


def _count_crashes(
    conn: Connection, tables: Tables, sources: dict[str, SourceRow], rows: Iterable[_VariantRow]
) -> dict[str, int]:
    """Add one crash to each source with a lapsed lease; return the crashes of all."""
    lapsed = {row.source_id for row in rows if row.status == VariantStatus.BUILDING}
    if lapsed:
        s = tables.source.c
        conn.execute(update(tables.source).where(s.id.in_(sorted(lapsed))).values(crashes=s.crashes + 1))
    return {id_: row.crashes + (id_ in lapsed) for id_, row in sources.items()}


def _give_up_sources(
    conn: Connection,
    tables: Tables,
    terms: Terms,
    sources: dict[str, SourceRow],
    crashes: dict[str, int],
    rows: Sequence[_VariantRow],
    given_up: list[GivenUp],
) -> Sequence[_VariantRow]:
    """Close all open variants of sources that crashed too often; return the rows of the others."""
    causes = {row.source_id: row.error for row in rows if row.error}
    over = {
        id_: closing
        for id_, source in sources.items()
        if (closing := source.verdict(crashes[id_], terms.max_attempts, causes.get(id_, "")))
    }
    for id_, closing in over.items():
        conn.execute(update(tables.source).where(tables.source.c.id == id_).values(error=closing.error))
        given_up.append(_close_all(conn, tables, id_, sources[id_].source, closing))
    return [row for row in rows if row.source_id not in over] if over else rows


def _give_up_variants(
    conn: Connection,
    tables: Tables,
    terms: Terms,
    sources: Mapping[str, SourceRow],
    rows: Sequence[_VariantRow],
    given_up: list[GivenUp],
) -> Sequence[_VariantRow]:
    """Close variants whose attempts are used up; return the others."""
    over = [row for row in rows if row.attempts >= terms.max_attempts]
    for row in over:
        closing = used_up(row.attempts, row.error)
        _close(conn, tables, [row.key], closing)
        given_up.append(closing.on(row.source_id, sources[row.source_id].source, [row.key]))
    return [row for row in rows if row.attempts < terms.max_attempts] if over else rows


def _taken(tables: Tables, numbered: bool) -> Update:
    v = tables.variant.c
    query = update(tables.variant).where(among(_row(tables, numbered), "rows"))
    return query.values(
        status=VariantStatus.BUILDING, token=bindparam("claim"), attempts=v.attempts + 1, due_at=now("lease")
    )


def _take(conn: Connection, sql: Statements, terms: Terms, rows: Sequence[_VariantRow]) -> str:
    """Make these rows ours under a fresh token, each counting one more attempt."""
    token = secrets.token_hex(16)
    if rows:
        given = {"rows": [row.row for row in rows], "claim": token, "lease": micros(terms.lease)}
        sql.change(conn, _taken, sql.dialect.numbered, **given)
    return token


# Settling.


def _held(tables: Tables) -> ColumnElement[bool]:
    """Return the condition that a variant is still a claim's (replacing a source drops the tokens)."""
    v = tables.variant.c
    return and_(v.source_id == bindparam("source"), v.token == bindparam("claim"), v.status == VariantStatus.BUILDING)


def _renewed(tables: Tables) -> Update:
    return update(tables.variant).where(_held(tables)).values(due_at=now("lease"))


def renew(conn: Connection, sql: Statements, claim: Claim, lease: float) -> bool:
    """Push the lease's end; one statement."""
    return sql.change(conn, _renewed, source=claim.source_id, claim=claim.token, lease=micros(lease)) > 0


def _released(tables: Tables, is_dated: bool) -> Update:
    back = {"status": VariantStatus.QUEUED, "due_at": bindparam("due") if is_dated else now(), "token": None}
    return update(tables.variant).where(_held(tables)).values(attempts=tables.variant.c.attempts - 1, **back)


def release(conn: Connection, sql: Statements, claim: Claim) -> None:
    """Give back, not counting the attempt; one statement."""
    given = {"due": claim.due} if claim.due else {}
    sql.change(conn, _released, bool(claim.due), source=claim.source_id, claim=claim.token, **given)


class Verdict(NamedTuple):
    """What a caller of ``publish`` brings."""

    claim: Claim
    built: Sequence[Built]
    failed: Sequence[Failure]
    info: SourceInfo | None
    version: str
    preview: Preview | None = None
    crashed: bool = False


def _generation(tables: Tables) -> Select[Any]:
    s = tables.source.c
    return select(s.generation).where(s.id == bindparam("source")).with_for_update()


def _held_keys(tables: Tables) -> Select[Any]:
    return select(tables.variant.c.key).where(_held(tables)).with_for_update()


def publish(conn: Connection, sql: Statements, verdict: Verdict, *, repeated: bool = False) -> frozenset[str]:
    """Settle the claimed rows that are still ours; return their keys.

    Args:
        repeated: the connection was lost while this was committed; rows that already show these very files count as
            accepted, or their files would be taken for leftovers.
    """
    claim = verdict.claim
    if sql.rows(conn, _generation, source=claim.source_id) != [(claim.generation,)]:
        return frozenset()
    ours = {key for (key,) in sql.rows(conn, _held_keys, source=claim.source_id, claim=claim.token)}
    built = [b for b in verdict.built if b.key in ours]
    failed = [f for f in verdict.failed if f.key in ours]
    if built:
        sql.change_each(conn, _built, [dict(zip(_BUILT, row, strict=True)) for row in built])
    _set_failed(conn, sql.tables, failed)
    if built or failed:
        _set_source(conn, sql, verdict, settled=bool(built) or any(f.retry_in is None for f in failed))
    accepted = {b.key for b in built} | {f.key for f in failed}
    return frozenset(accepted | (_already_built(conn, sql.tables, verdict.built) if repeated else set()))


def _already_built(conn: Connection, tables: Tables, built: Sequence[Built]) -> set[str]:
    v = tables.variant.c
    query = select(v.key, v.file_name).where(v.key.in_([b.key for b in built]), v.status == VariantStatus.BUILT)
    stored = {row.key: row.file_name for row in conn.execute(query)}
    return {b.key for b in built if stored.get(b.key) == b.file_name}


def _built(tables: Tables) -> Update:
    query = update(tables.variant).where(tables.variant.c.key == bindparam("row"))
    return query.values(
        status=VariantStatus.BUILT,
        attempts=0,
        errors=0,
        **closed("", ""),
        **{column: bindparam(f"new_{column}") for column in FILE_COLUMNS},
        built_at=now(),
    )


def _set_failed(conn: Connection, tables: Tables, failed: Sequence[Failure]) -> None:
    for failure in failed:
        row = closed(failure.kind, failure.message)
        if failure.retry_in is not None:
            row |= {"status": VariantStatus.QUEUED, "due_at": now(failure.retry_in)}
        else:
            row["status"] = failure.status
        v = tables.variant.c
        conn.execute(update(tables.variant).where(v.key == failure.key).values(errors=v.errors + 1, **row))


def _settled(tables: Tables, names: tuple[str, ...], crashed: bool) -> Update:
    row: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    if crashed:
        row["crashes"] = tables.source.c.crashes + 1
    return update(tables.source).where(tables.source.c.id == bindparam("source")).values(**row)


def _set_source(conn: Connection, sql: Statements, verdict: Verdict, *, settled: bool) -> None:
    row: dict[str, Any] = facts(verdict.info) if verdict.info else {}
    if verdict.version:
        row["version"] = verdict.version
    if verdict.preview:
        row |= verdict.preview._asdict()
    if settled and not verdict.crashed:
        row["crashes"] = 0
    if row or verdict.crashed:
        given = {f"new_{name}": value for name, value in row.items()}
        sql.change(conn, _settled, tuple(row), verdict.crashed, source=verdict.claim.source_id, **given)
