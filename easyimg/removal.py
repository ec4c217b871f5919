"""Removing sources for good: their rows, the files of their variants, and, where that is asked for, the original.

Rows go first: no page shows what is being deleted, and what an interruption leaves behind belongs to no row, which
``clean`` finds. A build that is under way can no longer publish.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

from easyimg.errors import EasyImgError
from easyimg.joined import after_commit
from easyimg.logs import event
from easyimg.ports import App, Storage
from easyimg.source import Source
from easyimg.variant import FileRow, SourceRow, VariantStatus

_ROUNDS: Final = 5
"""How often rows are looked at again that others change at the same moment."""

_Files = dict[str, dict[str, str]]
"""Storage alias -> name of a variant's file -> key of the variant."""


class Removed(NamedTuple):
    """How many sources have no row any more, and how many variant files go with them after the commit."""

    sources: int
    files: int


def remove_rows(app: App, source_ids: Iterable[str]) -> Removed:
    """Delete these sources' rows, and after the commit the variant files that they name; never an original.

    Files of earlier versions, and of builds that are under way, are left to ``clean``; so is a file that its storage
    does not delete now. A page that still shows a source orders its variants anew.

    Raises:
        MetadataError: the rows could not be deleted; all files are as they were.
    """
    total = Removed(0, 0)
    left = list(dict.fromkeys(source_ids))
    for _ in range(_ROUNDS):
        rows = app.metadata.source_rows(left)
        files = {id_: _files_of(app, row) for id_, row in rows.items()}
        gone = app.metadata.remove(list(rows.values())) if rows else frozenset()
        for id_ in gone:
            after_commit(app.metadata, partial(_forget, app, id_, files[id_]))
            total = Removed(total.sources + 1, total.files + sum(map(len, files[id_].values())))
        left = [id_ for id_ in rows if id_ not in gone]  # replaced meanwhile
        if not left:
            break
    return total


def remove_picture(app: App, source: Source) -> None:
    """Delete a source's rows, the files of its variants, and the original; safe to repeat.

    Raises:
        MetadataError: the rows cannot be changed; nothing was deleted.
        StorageError: the original could not be deleted.
    """
    remove_rows(app, [source.id])
    app.storage(source.storage).delete(source.name)


def make_good(app: App, storage: Storage, deleted: Mapping[str, str]) -> None:
    """Queue variants again that were published with, or are being built under, a name that was just deleted.

    Args:
        deleted: name of a file -> key of its variant.
    """
    for _ in range(_ROUNDS):  # a build may be published between reading its row and calling it off
        rows = app.metadata.file_rows(list(deleted.values()))
        hurt = [row for row in rows.values() if _is_hurt(storage, row, deleted)]
        if not hurt:
            return
        owed = app.metadata.owe(hurt)
        ids = list(dict.fromkeys(row.source_id for row in hurt if row.key in owed))
        for id_ in ids:
            app.cache.discard(id_)
        app.queue.ring(ids)


def _is_hurt(storage: Storage, row: FileRow, deleted: Container[str]) -> bool:
    if row.status == VariantStatus.BUILDING:
        return True
    return row.file_name in deleted and storage.size(row.file_name) is None


def _files_of(app: App, row: SourceRow) -> _Files:
    found: _Files = {}
    detail = app.metadata.inspect(row.source)
    for variant in detail.variants if detail is not None else ():
        if variant.file_name:
            found.setdefault(variant.storage, {})[variant.file_name] = variant.key
    return found


def _forget(app: App, source_id: str, files: _Files) -> None:
    app.cache.discard(source_id)
    for alias, keys in files.items():
        deleted = {name: key for name, key in keys.items() if _delete(app, alias, name)}
        if deleted:
            make_good(app, app.storage(alias), deleted)


def _delete(app: App, alias: str, name: str) -> bool:
    try:
        app.storage(alias).delete(name)
    except EasyImgError as exc:  # ConfigError as well: the settings have no such storage any more
        event(logging.WARNING, "a file cannot be removed", file=name, storage=alias, kind=exc.kind, error=exc)
        return False
    return True
