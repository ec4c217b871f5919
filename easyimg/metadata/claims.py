"""Claiming, settling and giving back: what happens inside one write transaction of the queue.

A source's row is locked before its variants', always, so that two workers cannot wait for each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, select, update

from easyimg.geometry import Focus
from easyimg.metadata.clock import now
from easyimg.metadata.tables import Tables
from easyimg.source import Source, SourceInfo
from easyimg.variant import Built, Claim, Failure, Ordered, VariantStatus

AnyRow = Any
"""A ``sqlalchemy.Row``, whose type arguments differ between SQLAlchemy 2.0 and 2.1."""

GAVE_UP = "GaveUp"
"""``error_kind`` of variants that were closed because nothing more will be tried."""

_CANDIDATES = 16
"""Sources looked at beyond those asked for, because others may be claiming the oldest ones right now."""

_MESSAGE = 2000
"""Longest error text kept in a row, characters."""

_FILE_COLUMNS = ("file_storage", "file_name", "format", "width", "height", "bytes")
"""A variant's columns for the fields of ``Built`` after its key."""


class Terms(NamedTuple):
    """What a caller of ``claim`` asked for."""

    lease: float
    max_attempts: int
    source_id: str | None
    keys: Sequence[str] | None
    limit: int

    def due(self, tables: Tables) -> list[ColumnElement[bool]]:
        """Return the conditions on a variant's row."""
        v = tables.variant.c
        conditions: list[ColumnElement[bool]] = [v.due_at <= now()]
        if self.source_id is not None:
            conditions.append(v.source_id == self.source_id)
        if self.keys is not None:
            conditions.append(v.key.in_(list(self.keys)))
        return conditions


def due_sources(conn: Connection, tables: Tables, conditions: Sequence[ColumnElement[bool]], limit: int) -> list[str]:
    """Return up to ``limit`` ids of sources whose variants meet the conditions, oldest due first.

    Walks the index from its old end; a GROUP BY would read the whole backlog.
    """
    v = tables.variant.c
    found: dict[str, None] = {}
    while len(found) < limit:
        query = select(v.source_id).where(*conditions).order_by(v.due_at).limit(4 * limit)
        if found:
            query = query.where(v.source_id.not_in(list(found)))
        ids = conn.execute(query).scalars().all()
        found.update(dict.fromkeys(ids))
        if len(ids) < 4 * limit:
            break
    return list(found)[:limit]


def candidates(conn: Connection, tables: Tables, terms: Terms) -> list[str]:
    """Return sources worth a claim, before any lock is taken: an idle worker never writes."""
    return due_sources(conn, tables, terms.due(tables), 1 if terms.source_id else terms.limit + _CANDIDATES)


def claim(
    tables: Tables, terms: Terms, sources: Sequence[str], block: bool, conn: Connection, _lost: int = 0
) -> list[Claim]:
    """Claim what is still due of the first of these sources; without ``block``, pass by locked ones."""
    claims: list[Claim] = []
    left = list(sources)
    while left and len(claims) < terms.limit:
        size = terms.limit - len(claims)
        claims += _claim_some(conn, tables, terms, left[:size], block)
        left = left[size:]
    return claims


def _claim_some(conn: Connection, tables: Tables, terms: Terms, ids: Sequence[str], block: bool) -> list[Claim]:
    v = tables.variant.c
    sources = _lock_sources(conn, tables, ids, block)
    if not sources:
        return []
    query = select(v.key, v.source_id, v.spec, v.status, v.attempts, v.error)
    query = query.where(v.source_id.in_(list(sources)), *terms.due(tables)).order_by(v.key).with_for_update()
    rows = conn.execute(query).all()
    crashes = _count_crashes(conn, tables, sources, rows)
    rows = _give_up_sources(conn, tables, terms, sources, crashes, rows)
    rows = _give_up_variants(conn, tables, terms, rows)
    token = _take(conn, tables, terms, rows)
    taken: dict[str, list[AnyRow]] = {}
    for row in rows:
        taken.setdefault(row.source_id, []).append(row)
    return [_as_claim(sources[id_], crashes[id_], token, taken[id_]) for id_ in ids if id_ in taken]


def _lock_sources(conn: Connection, tables: Tables, ids: Sequence[str], block: bool) -> dict[str, AnyRow]:
    s = tables.source.c
    query = select(s.id, s.storage, s.name, s.generation, s.crashes, s.error, s.focus_x, s.focus_y)
    query = query.where(s.id.in_(list(ids))).order_by(s.id).with_for_update(skip_locked=not block)
    return {row.id: row for row in conn.execute(query)}


def _count_crashes(
    conn: Connection, tables: Tables, sources: dict[str, AnyRow], rows: Iterable[AnyRow]
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
    sources: dict[str, AnyRow],
    crashes: dict[str, int],
    rows: Sequence[AnyRow],
) -> Sequence[AnyRow]:
    """Close all open variants of sources that crashed too often; return the rows of the others."""
    given_up = {
        id_: row.error or f"crashed {crashes[id_]} times"
        for id_, row in sources.items()
        if row.error or crashes[id_] >= terms.max_attempts
    }
    v = tables.variant.c
    for id_, error in given_up.items():
        conn.execute(update(tables.source).where(tables.source.c.id == id_).values(error=error))
        closed = update(tables.variant).where(v.source_id == id_, v.due_at.is_not(None))
        conn.execute(closed.values(status=VariantStatus.SOURCE_ERROR, **_closed(GAVE_UP, error)))
    return [row for row in rows if row.source_id not in given_up]


def _give_up_variants(conn: Connection, tables: Tables, terms: Terms, rows: Sequence[AnyRow]) -> Sequence[AnyRow]:
    """Close variants whose attempts are used up; return the others."""
    for row in rows:
        if row.attempts >= terms.max_attempts:
            error = f"gave up after {row.attempts} attempts{': ' if row.error else ''}{row.error}"
            closed = update(tables.variant).where(tables.variant.c.key == row.key)
            conn.execute(closed.values(status=VariantStatus.BUILD_ERROR, **_closed(GAVE_UP, error)))
    return [row for row in rows if row.attempts < terms.max_attempts]


def _closed(kind: str, error: str) -> dict[str, Any]:
    return {"due_at": None, "token": None, "error_kind": kind, "error": error[:_MESSAGE]}


def _take(conn: Connection, tables: Tables, terms: Terms, rows: Sequence[AnyRow]) -> str:
    """Make these rows ours under a fresh token, each counting one more attempt."""
    token = secrets.token_hex(16)
    v = tables.variant.c
    if rows:
        taken = update(tables.variant).where(v.key.in_([row.key for row in rows]))
        conn.execute(
            taken.values(status=VariantStatus.BUILDING, token=token, attempts=v.attempts + 1, due_at=now(terms.lease))
        )
    return token


def _as_claim(source: AnyRow, crashes: int, token: str, rows: Iterable[AnyRow]) -> Claim:
    ordered = sorted((Ordered(r.key, r.spec, r.attempts + 1) for r in rows), key=lambda o: (-o.attempts, o.key))
    return Claim(
        source_id=source.id,
        source=Source(source.storage, source.name),
        generation=source.generation,
        token=token,
        crashes=crashes,
        focus=focus_of(source),
        variants=tuple(ordered),
    )


def focus_of(row: AnyRow) -> Focus | None:
    """Return a source row's own focus point."""
    return None if row.focus_x is None else Focus(row.focus_x, row.focus_y)


def facts(info: SourceInfo | None) -> dict[str, Any]:
    """Return the columns of a source's measured facts."""
    if info is None:
        return dict.fromkeys(("width", "height", "format", "has_alpha", "frames", "interlaced"))
    return {
        "width": info.width,
        "height": info.height,
        "format": info.format,
        "has_alpha": info.has_alpha,
        "frames": info.frames,
        "interlaced": info.interlaced,
    }


def held(tables: Tables, claim: Claim) -> ColumnElement[bool]:
    """Return the condition that a variant is still this claim's (replacing a source drops the tokens)."""
    v = tables.variant.c
    return and_(v.source_id == claim.source_id, v.token == claim.token, v.status == VariantStatus.BUILDING)


def renew(conn: Connection, tables: Tables, claim: Claim, lease: float) -> bool:
    """Push the lease's end; one statement."""
    query = update(tables.variant).where(held(tables, claim)).values(due_at=now(lease))
    return conn.execute(query).rowcount > 0


def release(conn: Connection, tables: Tables, claim: Claim) -> None:
    """Give back, not counting the attempt; one statement."""
    back = {"status": VariantStatus.QUEUED, "due_at": now(), "token": None}
    query = update(tables.variant).where(held(tables, claim))
    conn.execute(query.values(attempts=tables.variant.c.attempts - 1, **back))


class Verdict(NamedTuple):
    """What a caller of ``publish`` brings."""

    claim: Claim
    built: Sequence[Built]
    failed: Sequence[Failure]
    info: SourceInfo | None
    version: str
    crashed: bool = False


def publish(conn: Connection, tables: Tables, verdict: Verdict, *, repeated: bool = False) -> frozenset[str]:
    """Settle the claimed rows that are still ours; return their keys.

    Args:
        repeated: the connection was lost while this was committed; rows that already show these very files count as
            accepted, or their files would be taken for leftovers.
    """
    claim = verdict.claim
    s, v = tables.source.c, tables.variant.c
    lock = select(s.generation).where(s.id == claim.source_id).with_for_update()
    if conn.execute(lock).scalar() != claim.generation:
        return frozenset()
    ours = set(conn.execute(select(v.key).where(held(tables, claim)).with_for_update()).scalars())
    built = [b for b in verdict.built if b.key in ours]
    failed = [f for f in verdict.failed if f.key in ours]
    _set_built(conn, tables, built)
    _set_failed(conn, tables, failed)
    if built or failed:
        _set_source(conn, tables, verdict, settled=bool(built) or any(f.retry_in is None for f in failed))
    accepted = {b.key for b in built} | {f.key for f in failed}
    return frozenset(accepted | (_already_built(conn, tables, verdict.built) if repeated else set()))


def _already_built(conn: Connection, tables: Tables, built: Sequence[Built]) -> set[str]:
    v = tables.variant.c
    query = select(v.key, v.file_name).where(v.key.in_([b.key for b in built]), v.status == VariantStatus.BUILT)
    stored = {row.key: row.file_name for row in conn.execute(query)}
    return {b.key for b in built if stored.get(b.key) == b.file_name}


def _set_built(conn: Connection, tables: Tables, built: Sequence[Built]) -> None:
    if not built:
        return
    query = update(tables.variant).where(tables.variant.c.key == bindparam("row"))
    query = query.values(
        status=VariantStatus.BUILT,
        attempts=0,
        **_closed("", ""),
        **{column: bindparam(f"new_{column}") for column in _FILE_COLUMNS},
        built_at=now(),
    )
    names = ("row", *(f"new_{column}" for column in _FILE_COLUMNS))
    conn.execute(query, [dict(zip(names, row, strict=True)) for row in built])


def _set_failed(conn: Connection, tables: Tables, failed: Sequence[Failure]) -> None:
    for failure in failed:
        row = _closed(failure.kind, failure.message)
        if failure.retry_in is not None:
            row |= {"status": VariantStatus.QUEUED, "due_at": now(failure.retry_in)}
        else:
            row["status"] = failure.status
        conn.execute(update(tables.variant).where(tables.variant.c.key == failure.key).values(**row))


def _set_source(conn: Connection, tables: Tables, verdict: Verdict, *, settled: bool) -> None:
    row: dict[str, Any] = facts(verdict.info) if verdict.info else {}
    if verdict.version:
        row["version"] = verdict.version
    if verdict.crashed:
        row["crashes"] = tables.source.c.crashes + 1
    elif settled:
        row["crashes"] = 0
    if row:
        conn.execute(update(tables.source).where(tables.source.c.id == verdict.claim.source_id).values(**row))
