"""Tending: what people decide about sources and variants that they have chosen: try again, build anew, remove.

What is known of them elsewhere follows the commit, where the metadata store is part of the caller's transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from easyimg.errors import EasyImgError
from easyimg.joined import after_commit, rows_changed
from easyimg.logs import event
from easyimg.ports import App
from easyimg.variant import SourceRow, VariantStatus

_TRIES = 3
"""How often a source is read again that was replaced while it was about to be removed."""

_Files = list[tuple[str, str]]
"""Storage alias and name of variant files."""


class Removed(NamedTuple):
    """How many sources have no row any more, and how many variant files go with them after the commit."""

    sources: int
    files: int


def try_again(app: App, source_ids: Iterable[str]) -> int:
    """Queue the failed variants of these sources again, and return how many.

    All of a source's: what gave up one of its variants is mostly the source.

    Raises:
        MetadataError: the rows could not be written; those of earlier sources are.
    """
    count, changed = 0, []
    try:
        for id_ in dict.fromkeys(source_ids):
            number = app.metadata.requeue(source_id=id_)
            count += number
            changed += [id_] if number else []
    finally:
        rows_changed(app, changed)
    return count


def build_anew(app: App, source_ids: Sequence[str]) -> int:
    """Queue all variants of these sources again, as if their originals had been replaced; return how many sources.

    What is known of the originals (their size above all) stays known until the build has read them again.

    Raises:
        MetadataError: the rows could not be written; those of earlier sources are.
    """
    rows = app.metadata.source_rows(source_ids)
    records = app.metadata.fetch(dict.fromkeys(rows, ()))
    changed: list[str] = []
    try:
        for id_, row in rows.items():
            record = records.get(id_)
            app.metadata.replace(row.source, record.info if record is not None else None)
            changed.append(id_)
    finally:
        rows_changed(app, changed)
    return len(changed)


def build_files_anew(app: App, keys: Sequence[str]) -> int:
    """Queue these variants again, if they are built or being built, and return how many.

    Raises:
        MetadataError: the rows could not be written.
    """
    rows = app.metadata.file_rows(keys)
    begun = [row for row in rows.values() if row.status in (VariantStatus.BUILT, VariantStatus.BUILDING)]
    owed = app.metadata.owe(begun)
    rows_changed(app, [row.source_id for row in begun if row.key in owed])
    return len(owed)


def remove_with_files(app: App, source_ids: Iterable[str]) -> Removed:
    """Delete these sources' rows, and after the commit the variant files that they name; never an original.

    Files of earlier versions, and of builds that are under way, are left to ``clean``; so is a file that its storage
    does not delete now. A page that still shows a source orders its variants anew.

    Raises:
        MetadataError: the rows could not be deleted; those of earlier sources are.
    """
    total = Removed(0, 0)
    for id_ in dict.fromkeys(source_ids):
        files = _remove(app, id_)
        if files is not None:
            total = Removed(total.sources + 1, total.files + len(files))
    return total


def _remove(app: App, source_id: str) -> _Files | None:
    """Delete a source's rows; return the files they named, which go after the commit. None: there is no such row."""
    for _ in range(_TRIES):
        row = app.metadata.source_rows([source_id]).get(source_id)
        if row is None:
            return None
        files = _files_of(app, row)
        if app.metadata.remove([row]):
            after_commit(app.metadata, partial(_forget, app, source_id, files))
            return files
    return None


def _files_of(app: App, row: SourceRow) -> _Files:
    detail = app.metadata.inspect(row.source)
    return [(v.storage, v.file_name) for v in detail.variants if v.file_name] if detail is not None else []


def _forget(app: App, source_id: str, files: _Files) -> None:
    app.cache.discard(source_id)
    for alias, name in files:
        try:
            app.storage(alias).delete(name)
        except EasyImgError as exc:
            event(logging.WARNING, "a file cannot be removed", file=name, storage=alias, kind=exc.kind, error=exc)
