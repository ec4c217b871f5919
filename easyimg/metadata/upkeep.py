"""Comparing rows with files: pages of rows by primary key, and changes only of rows that are still as they were read.

What ``easyimg check`` and ``easyimg clean`` ask of the rows. Every statement finds its rows by a primary key or, where
rows go with their source, by the index on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, Select, Update, bindparam, delete, select, update

from easyimg.geometry import Focus
from easyimg.metadata.clock import seconds_since
from easyimg.metadata.reports import queued_again
from easyimg.metadata.rows import FORGOTTEN, STATUSES, iso
from easyimg.metadata.statements import Statements, among
from easyimg.metadata.tables import Tables
from easyimg.source import Source
from easyimg.variant import FileRow, SourceRow, VariantStatus

T = TypeVar("T")
R = TypeVar("R", FileRow, SourceRow)

_CHUNK = 500
"""Keys per statement. From 1,000 on, MariaDB turns an IN list into a temporary table, and its plan may change."""


class Upkeep:
    """The part of ``SqlAlchemyMetadata`` that compares rows with files."""

    _sql: Statements
    _read: Callable[[Callable[[Connection], Any]], Any]
    _write: Callable[[Callable[[Connection, int], Any]], Any]

    def file_page(self, after: str = "", limit: int = 1000) -> list[FileRow]:
        """Return the next variants by key; one range of the primary key."""
        return [_file_row(row) for row in self._read(partial(_page, self._sql, _file_page, after, limit))]

    def file_rows(self, keys: Sequence[str]) -> dict[str, FileRow]:
        """Return variants by primary key, 500 a statement."""
        return {row[0]: _file_row(row) for row in self._by_ids(_files, keys)}

    def source_page(self, after: str = "", limit: int = 1000) -> list[SourceRow]:
        """Return the next sources by id; one range of the primary key."""
        return [_source_row(row) for row in self._read(partial(_page, self._sql, _source_page, after, limit))]

    def source_rows(self, ids: Sequence[str]) -> dict[str, SourceRow]:
        """Return sources by primary key, 500 a statement."""
        return {row[0]: _source_row(row) for row in self._by_ids(_sources, ids)}

    def owe(self, rows: Sequence[FileRow]) -> frozenset[str]:
        """Queue these variants again; one short transaction of three statements for 500 of them."""
        return self._changed(_owe, [row for row in rows if row.status in (VariantStatus.BUILT, VariantStatus.BUILDING)])

    def remove(self, sources: Sequence[SourceRow]) -> frozenset[str]:
        """Delete sources with their variants; for 500 of them one short transaction, and one statement after it."""
        gone = self._changed(_remove, sources)
        for ids in in_chunks(sorted(gone)):  # a page may have inserted one while the source was being deleted
            self._write(partial(_remove_orphaned, self._sql, ids))
        return gone

    def _by_ids(self, build: Callable[[Tables], Select[Any]], ids: Sequence[str]) -> Iterator[Any]:
        for chunk in in_chunks(list(dict.fromkeys(ids))):
            yield from self._read(partial(_rows, self._sql, build, chunk))

    def _changed(
        self, work: Callable[[Statements, Sequence[R], Connection, int], set[str]], rows: Sequence[R]
    ) -> frozenset[str]:
        done: set[str] = set()
        for chunk in in_chunks(rows):
            done |= self._write(partial(work, self._sql, chunk))
        return frozenset(done)


def in_chunks(items: Sequence[T]) -> Iterator[list[T]]:
    """Yield lists of as many items as one statement takes."""
    for start in range(0, len(items), _CHUNK):
        yield list(items[start : start + _CHUNK])


# Reading.


def _file_columns(tables: Tables) -> Select[Any]:
    v = tables.variant.c
    return select(v.key, v.source_id, v.status, v.file_storage, v.file_name, v.bytes, v.built_at)


def _source_columns(tables: Tables) -> Select[Any]:
    s = tables.source.c
    idle = seconds_since(s.updated_at).label("idle")
    return select(s.id, s.storage, s.name, s.generation, s.version, s.focus_x, s.focus_y, idle)


def _file_page(tables: Tables) -> Select[Any]:
    key = tables.variant.c.key
    return _file_columns(tables).where(key > bindparam("after")).order_by(key).limit(bindparam("number"))


def _source_page(tables: Tables) -> Select[Any]:
    id_ = tables.source.c.id
    return _source_columns(tables).where(id_ > bindparam("after")).order_by(id_).limit(bindparam("number"))


def _files(tables: Tables) -> Select[Any]:
    return _file_columns(tables).where(among(tables.variant.c.key, "ids"))


def _sources(tables: Tables) -> Select[Any]:
    return _source_columns(tables).where(among(tables.source.c.id, "ids"))


def _page(sql: Statements, build: Callable[[Tables], Select[Any]], after: str, limit: int, conn: Connection) -> Any:
    return sql.rows(conn, build, after=after, number=limit)


def _rows(sql: Statements, build: Callable[[Tables], Select[Any]], ids: list[str], conn: Connection) -> list[Any]:
    return sql.rows(conn, build, ids=ids)


def _file_row(row: Any) -> FileRow:
    key, source_id, status, storage, name, size, built_at = row
    return FileRow(key, source_id, STATUSES[status], storage, name, size, iso(built_at))


def _source_row(row: Any) -> SourceRow:
    id_, storage, name, generation, version, x, y, idle = row
    return SourceRow(id_, Source(storage, name), generation, version, None if x is None else Focus(x, y), float(idle))


# Changing. Sources are locked before their variants, as in every transaction of the queue.


def _locked_sources(tables: Tables) -> Select[Any]:
    s = tables.source.c
    return select(s.id, s.generation).where(among(s.id, "ids")).order_by(s.id).with_for_update()


def _locked_files(tables: Tables) -> Select[Any]:
    return _files(tables).order_by(tables.variant.c.key).with_for_update()


def _owed(tables: Tables) -> Update:
    return update(tables.variant).where(among(tables.variant.c.key, "ids")).values(**queued_again(), **FORGOTTEN)


def _owe(sql: Statements, rows: Sequence[FileRow], conn: Connection, _lost: int) -> set[str]:
    """Queue the variants that are as they were read; return their keys.

    ``built_at`` tells more than the source's generation: every publication sets it, also one of the same content.
    """
    sql.rows(conn, _locked_sources, ids=sorted({row.source_id for row in rows}))
    now = {row[0]: _file_row(row) for row in sql.rows(conn, _locked_files, ids=[row.key for row in rows])}
    same = [row.key for row in rows if now.get(row.key) == row]
    if same:
        sql.change(conn, _owed, ids=same)
    return set(same)


def _variants_of(tables: Tables) -> Delete:
    return delete(tables.variant).where(among(tables.variant.c.source_id, "ids"))


def _removed(tables: Tables) -> Delete:
    return delete(tables.source).where(among(tables.source.c.id, "ids"))


def _orphaned(tables: Tables) -> Delete:
    s = tables.source.c
    # Not NOT EXISTS, which PostgreSQL may turn into a join that reads all sources.
    parent = select(s.id).where(s.id == tables.variant.c.source_id).scalar_subquery()
    return _variants_of(tables).where(parent.is_(None))


def _remove_orphaned(sql: Statements, ids: list[str], conn: Connection, _lost: int) -> int:
    return sql.change(conn, _orphaned, ids=ids)


def _remove(sql: Statements, rows: Sequence[SourceRow], conn: Connection, _lost: int) -> set[str]:
    """Delete the sources that were not replaced since they were read; return their ids."""
    now = dict(tuple(row) for row in sql.rows(conn, _locked_sources, ids=[row.id for row in rows]))
    gone = [row.id for row in rows if now.get(row.id) == row.generation]
    if gone:
        sql.change(conn, _variants_of, ids=gone)
        sql.change(conn, _removed, ids=gone)
    return set(gone)
