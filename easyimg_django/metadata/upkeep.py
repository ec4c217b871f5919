"""Comparing rows with files: pages by primary key, and changes only of rows that are still as they were read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from django.db.models import Exists, F, OuterRef, QuerySet

from easyimg.geometry import Focus
from easyimg.metadata.rows import FORGOTTEN, STATUSES, iso
from easyimg.source import Source
from easyimg.variant import FileRow, SourceRow, VariantStatus
from easyimg_django.functions import SecondsSince
from easyimg_django.metadata.database import Database, Rows
from easyimg_django.metadata.enqueuing import chunks
from easyimg_django.metadata.settling import queued_again

R = TypeVar("R", FileRow, SourceRow)

_FILE: Final = ("key", "source_id", "status", "file_storage", "file_name", "bytes", "built_at")


class Upkeep:
    """The part of ``DjangoMetadata`` that compares rows with files."""

    _db: Database

    def file_page(self, after: str = "", limit: int = 1000) -> list[FileRow]:
        """Return the next variants by key; one range of the primary key."""
        return self._db.read(lambda rows: _file_rows(rows.variants.filter(key__gt=after).order_by("key")[:limit]))

    def file_rows(self, keys: Sequence[str]) -> dict[str, FileRow]:
        """Return variants by primary key, 500 a statement."""
        found: dict[str, FileRow] = {}
        for some in chunks(dict.fromkeys(keys)):
            read = self._db.read(partial(_some_files, some))
            found.update((row.key, row) for row in read)
        return found

    def source_page(self, after: str = "", limit: int = 1000) -> list[SourceRow]:
        """Return the next sources by id; one range of the primary key."""
        return self._db.read(lambda rows: _source_rows(rows.sources.filter(id__gt=after).order_by("id"), limit))

    def source_rows(self, ids: Sequence[str]) -> dict[str, SourceRow]:
        """Return sources by primary key, 500 a statement."""
        found: dict[str, SourceRow] = {}
        for some in chunks(dict.fromkeys(ids)):
            read = self._db.read(partial(_some_sources, some))
            found.update((row.id, row) for row in read)
        return found

    def owe(self, rows: Sequence[FileRow]) -> frozenset[str]:
        """Queue these variants again; one short transaction of three statements for 500 of them."""
        return self._changed(_owe, [row for row in rows if row.status in (VariantStatus.BUILT, VariantStatus.BUILDING)])

    def remove(self, sources: Sequence[SourceRow]) -> frozenset[str]:
        """Delete sources with their variants; for 500 of them one short transaction, and one statement after it."""
        gone = self._changed(_remove, sources)
        for ids in chunks(sorted(gone)):  # a page may have inserted one while the source was being deleted
            self._db.write(partial(_remove_orphaned, ids))
        return gone

    def _changed(self, work: Callable[[Sequence[R], Rows, int], set[str]], items: Sequence[R]) -> frozenset[str]:
        done: set[str] = set()
        for some in chunks(items):
            done |= self._db.write(partial(work, some))
        return frozenset(done)


def _file_rows(variants: QuerySet) -> list[FileRow]:
    return [
        FileRow(key, source_id, STATUSES[status], storage, name, size, iso(built_at))
        for key, source_id, status, storage, name, size, built_at in variants.values_list(*_FILE)
    ]


def _some_files(keys: Sequence[str], rows: Rows) -> list[FileRow]:
    return _file_rows(rows.variants.filter(key__in=keys))


def _some_sources(ids: Sequence[str], rows: Rows) -> list[SourceRow]:
    return _source_rows(rows.sources.filter(id__in=ids), len(ids))


def _source_rows(sources: QuerySet, limit: int) -> list[SourceRow]:
    columns = ("id", "storage", "name", "generation", "version", "focus_x", "focus_y", "idle")
    found = sources.annotate(idle=SecondsSince(F("updated_at"))).values_list(*columns)[:limit]
    return [_source_row(*row) for row in found]


def _source_row(id_: str, storage: str, name: str, generation: int, version: str, *rest: Any) -> SourceRow:
    x, y, idle = rest
    return SourceRow(id_, Source(storage, name), generation, version, None if x is None else Focus(x, y), float(idle))


# Changing. Sources are locked before their variants, as in every transaction of the queue.


def _lock_sources(rows: Rows, ids: Sequence[str]) -> dict[str, int]:
    locked = rows.sources.filter(id__in=ids).order_by("id").select_for_update()
    return dict(locked.values_list("id", "generation"))


def _owe(items: Sequence[FileRow], rows: Rows, _lost: int) -> set[str]:
    """Queue the variants that are as they were read; return their keys.

    ``built_at`` tells more than the source's generation: every publication sets it, also one of the same content.
    """
    _lock_sources(rows, sorted({row.source_id for row in items}))
    locked = rows.variants.filter(key__in=[row.key for row in items]).order_by("key").select_for_update()
    now = {row.key: row for row in _file_rows(locked)}
    same = [row.key for row in items if now.get(row.key) == row]
    if same:
        rows.variants.filter(key__in=same).update(**queued_again(), **FORGOTTEN)
    return set(same)


def _remove(items: Sequence[SourceRow], rows: Rows, _lost: int) -> set[str]:
    """Delete the sources that were not replaced since they were read; return their ids."""
    now = _lock_sources(rows, [row.id for row in items])
    gone = [row.id for row in items if now.get(row.id) == row.generation]
    if gone:
        rows.sources.filter(id__in=gone).delete()  # its variants first, as the models say
    return set(gone)


def _remove_orphaned(ids: Sequence[str], rows: Rows, _lost: int) -> None:
    parent = rows.sources.filter(id=OuterRef("source_id"))
    rows.variants.filter(~Exists(parent), source_id__in=ids).delete()
