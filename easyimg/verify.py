"""Verify: compare the rows with the files they name and the originals they were made from; queue again what is wrong.

Rows are read in pages by primary key. Files are asked for one by one up to 1,000 of a storage; beyond that its listing
is compared with the rows, and only what differs is asked for. Nothing is queued again that could not be built: a lost
file whose original is gone as well is only reported, so that a storage that is not mounted spoils no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, NamedTuple

from easyimg.build import content_version
from easyimg.current import current_app
from easyimg.errors import SourceNotFound, SourceTooLarge, StorageError
from easyimg.joined import rows_changed
from easyimg.ports import App
from easyimg.presence import Places, Presence, VariantNames, batches
from easyimg.source import Source
from easyimg.variant import FileRow, SourceRow, VariantStatus

_PAGE = 1000
"""Rows per page."""

_CHUNK = 500
"""Names per question to the rows."""

Kind = Literal["missing", "resized", "vanished", "changed", "unreadable"]


class Finding(NamedTuple):
    """One thing that is wrong.

    ``kind``: a BUILT variant's file is ``missing`` or was ``resized``; a source's original has ``vanished``, has
    ``changed`` under the same name, or is ``unreadable`` just now. ``file_name`` is ``""`` for originals. ``fixed`` =
    the variants concerned are queued again.
    """

    kind: Kind
    source: Source
    file_name: str
    detail: str
    fixed: bool = False


@dataclass(slots=True)
class Verified:
    """Totals: sources and BUILT variants looked at, findings by kind, how many of these were put right.

    ``unknown`` = names that were given but that no BUILT row has.
    """

    sources: int = 0
    variants: int = 0
    missing: int = 0
    resized: int = 0
    vanished: int = 0
    changed: int = 0
    unreadable: int = 0
    fixed: int = 0
    unknown: int = 0

    @property
    def found(self) -> int:
        """All findings."""
        return self.missing + self.resized + self.vanished + self.changed + self.unreadable


def verify(
    app: App,
    *,
    fix: bool = False,
    content: bool = False,
    found: Callable[[Finding], None] = lambda finding: None,
    progress: Callable[[int], None] = lambda steps: None,
) -> Verified:
    """Look at every source and every BUILT variant; return the totals.

    Safe while pages are shown and variants are built; memory does not grow with the number of rows.

    Args:
        fix: queue variants again whose file is missing or has another size, and all variants of changed originals.
        content: also read every original and compare its content with what its variants were built from.
        found: called with each finding.
        progress: called with the number of rows looked at since the last call.

    Raises:
        MetadataError: the rows cannot be read.
        StorageError: a storage cannot be listed or asked.
    """
    with closing(Places(app)) as places:
        run = _Verifying(app, places, fix, found)
        run.look_at_sources(progress, content=content)
        run.look_at_variants(progress)
    return run.report


def verify_names(
    app: App, names: Iterable[str], *, fix: bool = False, found: Callable[[Finding], None] = lambda finding: None
) -> Verified:
    """Look at the variants whose files are named; everything else as :func:`verify`.

    Args:
        names: files' names, URLs or their paths; what is no variant's is only counted as ``unknown``.
    """
    own = VariantNames(app.settings.variants_prefix)
    with closing(Places(app)) as places:
        run = _Verifying(app, places, fix, found)
        for chunk in batches(names, _CHUNK):
            given = [own.named_by(text) for text in chunk]
            asked = {name for name in given if name}
            rows = app.metadata.file_rows([str(own.key(name)) for name in asked])
            named = [row for row in rows.values() if row.file_name in asked and row.status == VariantStatus.BUILT]
            known = {row.file_name for row in named}
            run.report.unknown += sum(name not in known for name in given)
            run.look_at_files(named)
    return run.report


def report_missing(names: Iterable[str], app: App | None = None) -> int:
    """Queue variants again whose files are really gone, and return how many: to be called for a 404.

    One query for up to 500 names, and of each variant found one look at its storage. Safe to call with whatever was
    asked for: other names cost nothing.

    Args:
        names: files' names, URLs or their paths (``/media/img/0a1b....webp``).
        app: the EasyImg; None = the current one.
    """
    return verify_names(app or current_app(), names, fix=True).fixed


class _Verifying:
    """The state of one run."""

    def __init__(self, app: App, places: Places, fix: bool, found: Callable[[Finding], None]) -> None:
        self.app = app
        self.fix = fix
        self.report = Verified()
        self._places = places
        self._found = found

    def _note(self, finding: Finding) -> None:
        setattr(self.report, finding.kind, getattr(self.report, finding.kind) + 1)
        self.report.fixed += finding.fixed
        self._found(finding)

    # Originals.

    def look_at_sources(self, progress: Callable[[int], None], *, content: bool) -> None:
        """Walk through the sources, by pages of rows."""
        after = ""
        while page := self.app.metadata.source_page(after, _PAGE):
            absent = self._absent(page)
            for row in page:
                if row.id in absent:
                    self._note(Finding("vanished", row.source, "", self._where(row.source.storage)))
            if content:
                self._look_at_contents([row for row in page if row.version and row.id not in absent])
            self.report.sources += len(page)
            progress(len(page))
            after = page[-1].id

    def _absent(self, rows: Iterable[SourceRow]) -> set[str]:
        """Return the ids of sources without an original, or in a storage that the settings do not have any more."""
        known, unknown = [], set()
        for row in rows:
            if row.source.storage in self.app.settings.storages:
                known.append(row)
            else:
                unknown.add(row.id)
        return unknown | {row.id for row in self._places.absent(known)}

    def _where(self, alias: str) -> str:
        known = alias in self.app.settings.storages
        return f"absent from storage {alias!r}" if known else f"the settings have no storage {alias!r}"

    def _look_at_contents(self, rows: Sequence[SourceRow]) -> None:
        replaced = []
        for row in rows:
            try:
                data = self.app.storage(row.source.storage).read(row.source.name, self.app.settings.max_bytes)
            except (StorageError, SourceNotFound, SourceTooLarge) as exc:
                self._note(Finding("unreadable", row.source, "", str(exc)))
                continue
            version = content_version(data, row.focus)
            if version != row.version and self._is_unchanged(row):
                if self.fix:
                    self.app.metadata.replace(row.source)
                    replaced.append(row.id)
                self._note(Finding("changed", row.source, "", f"{row.version} is {version} now", self.fix))
        rows_changed(self.app, replaced)

    def _is_unchanged(self, row: SourceRow) -> bool:
        """Return whether the row is as it was when the original was read: a build may have taken up the new one."""
        now = self.app.metadata.source_rows([row.id]).get(row.id)
        return now is not None and (now.generation, now.version) == (row.generation, row.version)

    # Files.

    def look_at_variants(self, progress: Callable[[int], None]) -> None:
        """Walk through the variants; the listing made for the originals serves where there is one."""
        settings = self.app.settings
        place = self._places[settings.variants]
        with closing(place if place.is_listed else Presence(place.storage, settings.variants_prefix)) as files:
            after = ""
            while page := self.app.metadata.file_page(after, _PAGE):
                self.look_at_files([row for row in page if row.status == VariantStatus.BUILT], files)
                progress(len(page))
                after = page[-1].key

    def look_at_files(self, rows: Sequence[FileRow], files: Presence | None = None) -> None:
        """Compare BUILT rows with their files.

        Args:
            files: the storage of variants; None = as of any other.
        """
        self.report.variants += len(rows)
        by_alias: dict[str, list[FileRow]] = {}
        for row in rows:
            by_alias.setdefault(row.storage, []).append(row)
        wrong: list[tuple[FileRow, int | None]] = []
        for alias, some in by_alias.items():
            faults = self._faults(alias, {row.file_name: row.bytes for row in some}, files)
            wrong += [(row, faults[row.file_name]) for row in some if row.file_name in faults]
        if wrong:
            self._settle(wrong)

    def _faults(self, alias: str, expected: dict[str, int | None], files: Presence | None) -> dict[str, int | None]:
        if files is not None and alias == self.app.settings.variants:
            return files.faults(expected)
        if alias not in self.app.settings.storages:  # what lies there cannot be shown
            return dict.fromkeys(expected)
        return self._places[alias].faults(expected)

    def _settle(self, wrong: Sequence[tuple[FileRow, int | None]]) -> None:
        """Queue again what can be built, and report; what has changed since it was read is no finding any more."""
        sources = self.app.metadata.source_rows([row.source_id for row, _ in wrong])
        lost = self._absent(sources.values())
        hopeful = [row for row, _ in wrong if row.source_id in sources and row.source_id not in lost]
        owed = self.app.metadata.owe(hopeful) if self.fix else frozenset()
        rows_changed(self.app, (row.source_id for row in hopeful if row.key in owed))
        changed = {row.key for row in hopeful} - owed if self.fix else frozenset()
        for row, size in wrong:
            if row.key not in changed and row.source_id in sources:
                self._note(self._finding(row, size, sources[row.source_id].source, row.source_id in lost, owed))

    def _finding(self, row: FileRow, size: int | None, source: Source, is_lost: bool, owed: frozenset[str]) -> Finding:
        detail = self._where(row.storage) if size is None else f"{size:,} bytes instead of {row.bytes:,}"
        if is_lost:
            detail += ", and its original is gone"
        return Finding("missing" if size is None else "resized", source, row.file_name, detail, row.key in owed)
