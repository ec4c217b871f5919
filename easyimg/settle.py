"""Settle: what becomes of originals that a transaction left behind when it was cut short."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from easyimg.errors import EasyImgError, SourceNotFound
from easyimg.logs import event
from easyimg.ports import App
from easyimg.removal import remove_picture
from easyimg.source import Source
from easyimg.unsettled import FOLDER, LEAST_AGE, Note, is_watched, kept, read_note


@dataclass(slots=True)
class Settled:
    """Totals: files ``removed`` and their ``bytes``; ``undecided`` = left alone; ``failed`` = could not be removed."""

    removed: int = 0
    bytes: int = 0
    undecided: int = 0
    failed: int = 0


def settle(app: App, *, older_than: float, dry_run: bool = False) -> Settled:
    """Remove the files of old notes that no row names, and the notes. Asks nothing where no models are known.

    Args:
        older_than: seconds; younger notes are left alone, and so are those of the last hour in any case.
        dry_run: remove nothing.

    Raises:
        StorageError: a storage cannot be listed or asked.
    """
    total = Settled()
    latest = time.time() - max(older_than, LEAST_AGE)
    for alias in filter(is_watched, app.settings.storages):
        for file in app.storage(alias).list(FOLDER):
            if 0 < file.modified <= latest:
                _settle(app, alias, file.name, total, dry_run=dry_run)
    return total


def _settle(app: App, alias: str, name: str, total: Settled, *, dry_run: bool) -> None:
    """Remove what no row names; the note stays as long as anything of it is undecided or cannot be removed."""
    place = app.storage(alias)
    try:
        note = read_note(place.read(name))
    except SourceNotFound:  # its transaction has ended this moment
        return
    if note is None:
        return
    named = kept(alias, note)
    if named is None:
        total.undecided += len(note.files)
        event(logging.WARNING, "originals are left alone: nobody answers for their column", column=note.column)
        return
    failed = total.failed
    for source in _unnamed(alias, note, named):
        _remove(app, source, total, dry_run=dry_run)
    if failed == total.failed and not dry_run:
        place.delete(name)


def _unnamed(alias: str, note: Note, named: frozenset[str]) -> list[Source]:
    return [Source(alias, file) for file in note.files if file not in named]


def _remove(app: App, source: Source, total: Settled, *, dry_run: bool) -> None:
    size = app.storage(source.storage).size(source.name)
    try:
        if not dry_run:
            remove_picture(app, source)
    except EasyImgError as exc:
        total.failed += 1
        event(logging.WARNING, "an original cannot be removed", source=source, kind=exc.kind, error=exc)
        return
    total.removed += size is not None
    total.bytes += size or 0
