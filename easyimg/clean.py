"""Clean: remove files that no row names, and, where asked, rows whose original is gone. Never more than that.

Originals are a site's own, and are never judged by their names. Only those that an interrupted transaction left behind
with a note (``unsettled``) are looked at, and go where no row of the models names them.

A variant's file is written before its row names it, and a page may show a replaced picture's old file for a while. So a
file goes only when all of this holds: it lies in the variants folder under a name that only builds make; it is older
than the grace time; no row names it, the row it would belong to is not owed, and its source has not changed within the
grace time. Rows are asked twice, the second time right before the deletion; and once more after it, so that a row that
was published in that moment is queued again rather than left without its file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from easyimg.errors import ConfigError, StorageError
from easyimg.logs import event
from easyimg.ports import App, StoredFile
from easyimg.presence import Places, Spill, VariantNames, batches
from easyimg.removal import make_good
from easyimg.settle import settle
from easyimg.variant import FileRow, SourceRow, VariantStatus

DAY = 86_400.0

_CHUNK = 500
"""Files per question to the rows."""

_BATCH = 100
"""Files deleted between two questions: what a slow storage deletes in seconds."""

_HELD = 10_000
"""Unnamed files that are remembered while no listed file has had a row at all."""

_TOLD = 10
"""Failed deletions that are logged one by one."""

_OWED = (VariantStatus.QUEUED, VariantStatus.BUILDING)


@dataclass(slots=True)
class Cleaned:
    """What was found and removed (with ``dry_run``: what would be).

    ``listed`` = files in the variants folder; ``kept`` = named by a row or still protected by one; ``young`` = within
    the grace time, not asked about; ``foreign`` = of other names, never touched; ``orphans`` and ``temporaries`` =
    removed, together ``bytes``; ``sources`` = rows of vanished originals that were removed with their variants' rows;
    ``failed`` = could not be deleted; ``uploads`` = originals of transactions that were cut short, removed because no
    row names them; ``unsettled`` = such originals that are left alone because nobody could say.
    """

    listed: int = 0
    kept: int = 0
    young: int = 0
    foreign: int = 0
    orphans: int = 0
    temporaries: int = 0
    bytes: int = 0
    sources: int = 0
    failed: int = 0
    uploads: int = 0
    unsettled: int = 0


def clean(
    app: App,
    *,
    older_than: float = DAY,
    sources: bool = False,
    dry_run: bool = False,
    force: bool = False,
    progress: Callable[[int], None] = lambda steps: None,
) -> Cleaned:
    """Remove files in the variants folder that no row names, and leftovers of interrupted writes there.

    Safe while pages are shown and variants are built. Memory does not grow with the number of files.

    Args:
        older_than: grace time, seconds: younger files are never touched; 0 = all, also those whose storage tells no
            time. Less than an hour may delete the temporary file of a write under way, which is then tried again;
            transactions are given an hour at least.
        sources: first remove the rows of sources whose original is gone from its storage and that have not changed
            within the grace time; their files become orphans.
        dry_run: remove nothing.
        force: also when not one file has a row, or not one original of a storage is there.
        progress: called with the number of files (and sources) looked at since the last call.

    Raises:
        ConfigError: the rows or a storage look like those of another site; nothing more is removed.
        MetadataError: the rows cannot be read; nothing more is removed.
        StorageError: the storage cannot be listed.
    """
    terms = _Terms(older_than, dry_run, force, progress)
    report = Cleaned()
    vanished = Spill()  # ids of sources
    try:
        if sources:
            _remove_sources(app, terms, report, vanished)
        _Files(app, terms, report, vanished).run()
        _settle_uploads(app, terms, report)
    finally:
        vanished.close()
    return report


class _Terms(NamedTuple):
    """What was asked for."""

    older_than: float
    dry_run: bool
    force: bool
    progress: Callable[[int], None]


def _settle_uploads(app: App, terms: _Terms, report: Cleaned) -> None:
    settled = settle(app, older_than=terms.older_than, dry_run=terms.dry_run)
    report.uploads, report.unsettled = settled.removed, settled.undecided
    report.bytes += settled.bytes
    report.failed += settled.failed


# Rows.


def _remove_sources(app: App, terms: _Terms, report: Cleaned, vanished: Spill) -> None:
    """Find sources whose original is gone, then remove their rows, after asking for the original once more."""
    with closing(Places(app)) as places:
        after = ""
        while page := app.metadata.source_page(after, _CHUNK):
            idle = [row for row in page if row.idle >= terms.older_than]
            vanished.add((row.id, None) for row in places.absent(idle))
            terms.progress(len(page))
            after = page[-1].id
        if places.empty() and not (terms.force or terms.dry_run):
            raise ConfigError(
                f"clean: not one of the originals in storage {', '.join(map(repr, places.empty()))} is there; is it "
                "the right one, and mounted? If it is, force the removal"
            )
    for ids in vanished.pages(_CHUNK):
        report.sources += _remove_vanished(app, terms, ids)


def _remove_vanished(app: App, terms: _Terms, ids: Sequence[str]) -> int:
    """Remove those that still are idle and absent; return how many."""
    idle = [row for row in app.metadata.source_rows(ids).values() if row.idle >= terms.older_than]
    with closing(Places(app)) as places:
        gone = places.absent(idle)
    if terms.dry_run:
        return len(gone)
    removed = app.metadata.remove(gone)
    for id_ in removed:
        app.cache.discard(id_)
    return len(removed)


# Files.


class _Files:
    """One walk through the variants folder."""

    def __init__(self, app: App, terms: _Terms, report: Cleaned, vanished: Spill) -> None:
        settings = app.settings
        self.app = app
        self.terms = terms
        self.report = report
        self.storage = app.storage(settings.variants)
        self.prefix = settings.variants_prefix
        self.names = VariantNames(settings.variants_prefix)
        self._vanished = vanished
        self._now = time.time()
        self._orphans: list[StoredFile] = []
        self._has_rows = False  # whether any file looked at belongs to a row

    def run(self) -> None:
        """Go through the listing once; delete what collects."""
        for files in batches(self.storage.list(self.prefix), _CHUNK):
            self._look_at(files)
            while len(self._orphans) >= (_BATCH if self._has_rows or self.terms.force else _HELD):
                self._delete_orphans(self._next_batch())
            self.terms.progress(len(files))
        while self._orphans:
            self._delete_orphans(self._next_batch())

    def _next_batch(self) -> list[StoredFile]:
        if not (self._has_rows or self.terms.force or self.terms.dry_run):
            raise ConfigError(
                f"clean: not one of the files below {self.prefix!r} belongs to a row; is this the right database? "
                "If it is, force the removal"
            )
        batch, self._orphans = self._orphans[:_BATCH], self._orphans[_BATCH:]
        return batch

    def _look_at(self, files: Sequence[StoredFile]) -> None:
        self.report.listed += len(files)
        old, young = [], []
        for file in files:
            if self.names.is_temporary(file.name):
                self._look_at_temporary(file)
            elif self.names.key(file.name) is None:
                self.report.foreign += 1
            elif self._is_old(file):
                old.append(file)
            else:
                young.append(file)
        self.report.young += len(young)
        if not self._has_rows:  # not yet known to be the right database
            self._has_rows = bool(self._rows([self._key(file) for file in young]))
        self._orphans += self._unnamed(old)[0]

    def _look_at_temporary(self, file: StoredFile) -> None:
        if not self._is_old(file):
            self.report.young += 1
        elif self._delete(file):
            self.report.temporaries += 1

    def _is_old(self, file: StoredFile) -> bool:
        if self.terms.older_than == 0:
            return True
        return file.modified > 0 and self._now - file.modified >= self.terms.older_than

    def _unnamed(self, files: Iterable[StoredFile]) -> tuple[list[StoredFile], dict[str, FileRow]]:
        """Return the files that rows neither name nor may name soon, and the rows; count the other files."""
        keys = {file: self._key(file) for file in files}
        rows = self._rows(list(keys.values()))
        self._has_rows = self._has_rows or bool(rows)
        unnamed = [file for file, key in keys.items() if key not in rows or not _is_named(file, rows[key])]
        self.report.kept += len(keys) - len(unnamed)
        return unnamed, rows

    def _key(self, file: StoredFile) -> str:
        return self.names.key(file.name) or ""

    def _rows(self, keys: Sequence[str]) -> dict[str, FileRow]:
        rows = self.app.metadata.file_rows(keys)
        if self.terms.dry_run and self.report.sources:  # these rows would be gone by now
            gone = self._vanished.get(row.source_id for row in rows.values())
            rows = {key: row for key, row in rows.items() if row.source_id not in gone}
        return rows

    def _delete_orphans(self, batch: Sequence[StoredFile]) -> None:
        """Ask the rows again, delete, and look whether a row was published in between."""
        doomed = self._long_unnamed(*self._unnamed(batch))
        try:
            for file in doomed:
                self.report.orphans += self._delete(file)
        finally:
            if doomed and not self.terms.dry_run:
                make_good(self.app, self.storage, {file.name: self._key(file) for file in doomed})

    def _long_unnamed(self, files: Sequence[StoredFile], rows: Mapping[str, FileRow]) -> list[StoredFile]:
        """Leave out files whose source changed within the grace time: pages may still show them."""
        owners = {file: rows[key].source_id for file in files if (key := self._key(file)) in rows}
        sources = self.app.metadata.source_rows(list(owners.values()))
        long = [file for file in files if not self._is_busy(sources.get(owners.get(file, "")))]
        self.report.kept += len(files) - len(long)
        return long

    def _is_busy(self, source: SourceRow | None) -> bool:
        return source is not None and source.idle < self.terms.older_than

    def _delete(self, file: StoredFile) -> bool:
        if not self.terms.dry_run:
            try:
                self.storage.delete(file.name)
            except StorageError as exc:
                self.report.failed += 1
                if self.report.failed <= _TOLD:
                    event(logging.WARNING, "a file cannot be removed", file=file.name, kind=exc.kind, error=exc)
                return False
        self.report.bytes += file.size
        return True


def _is_named(file: StoredFile, row: FileRow) -> bool:
    """Return whether a row names the file, or may do so any moment.

    The row's storage does not count: one storage may go by two aliases.
    """
    return row.file_name == file.name or row.status in _OWED
