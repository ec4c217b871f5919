"""Adopt: take over the files that another library built, where they are what easyimg would build; queue the rest.

A file is taken over if its header says the format, size and quality that its spec means, and it shows what easyimg
would build, judged by small copies of both. It is copied under easyimg's own name, without its metadata, and its row is
settled under a claim, as a build's is. The other library's rows and files stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from easyimg.build import content_version, tell_given_up, variant_name
from easyimg.comparing import FAULTS, Comparison, Fault, Original, SameFile, header_engine
from easyimg.errors import SourceError, SourceNotFound, StorageError
from easyimg.foreign import Foreign
from easyimg.formats import FORMATS
from easyimg.geometry import Focus
from easyimg.ports import App
from easyimg.presence import Places, batches
from easyimg.source import Source, SourceInfo
from easyimg.spec import VariantSpec
from easyimg.variant import Built, Claim, Priority, Wanted

_CHUNK = 100
"""Sources that are looked up and queued together."""

Reason = (
    Fault
    | Literal[
        "not_built",
        "replaced",
        "options",
        "no_name",
        "unknown_storage",
        "no_original",
        "original_refused",
        "original_unreadable",
    ]
)

REASONS: Final[Mapping[str, str]] = {
    **FAULTS,
    "not_built": "never built",
    "replaced": "the original was replaced meanwhile",
    "options": "easyimg has no such options",
    "no_name": "the row names no original",
    "unknown_storage": "the settings have no such storage",
    "no_original": "the original is gone",
    "original_refused": "the original is not accepted",
    "original_unreadable": "the original could not be read just now",
}
"""Why something was not taken over, in words."""


@dataclass(slots=True)
class Adopted:
    """Totals. ``rows`` are the other library's, all else counts variants of easyimg.

    ``adopted`` = taken over, with ``bytes``; ``queued`` = to be built anew; ``known`` = easyimg had a row already;
    ``skipped`` = nothing can be built; ``failed`` = a storage did not answer. ``reasons`` says why, for all that are
    queued, skipped or failed.
    """

    rows: int = 0
    adopted: int = 0
    bytes: int = 0
    queued: int = 0
    known: int = 0
    skipped: int = 0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def note(self, reason: Reason, number: int = 1) -> None:
        """Count a reason."""
        if number:
            self.reasons[reason] = self.reasons.get(reason, 0) + number


def adopt(
    app: App,
    groups: Iterable[Sequence[Foreign]],
    *,
    storage: str,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda steps: None,
) -> Adopted:
    """Take over what another library has built; return the totals. Safe to repeat, and to interrupt.

    What easyimg has a row of is left alone, so that a second run goes on where the first one stopped. Every original
    of which files may be taken over is read once; nothing is encoded.

    Args:
        groups: what there is, one group a source.
        storage: alias of the storage of the other library's files.
        dry_run: change nothing; count what would be done.
        progress: called with the number of the other library's rows looked at since the last call.

    Raises:
        ConfigError: there is no such storage.
        MetadataError: the rows could not be written; those of earlier sources are.
        StorageError: a copy could not be written.
    """
    with closing(Places(app)) as places:
        run = _Adopting(app, places, storage, dry_run)
        for chunk in batches(groups, _CHUNK):
            run.take(chunk)
            progress(sum(len(group) for group in chunk))
    return run.report


@dataclass(slots=True)
class _Wish:
    """One source: what easyimg shall have of it, by key, and the files that may be it."""

    source: Source
    specs: dict[str, VariantSpec] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    generation: int = 1
    focus: Focus | None = None
    info: SourceInfo | None = None


class _Adopting:
    """The state of one run."""

    def __init__(self, app: App, places: Places, storage: str, dry_run: bool) -> None:
        self.app = app
        self.report = Adopted()
        self._places = places
        self._files = app.storage(storage)
        self._variants = app.storage(app.settings.variants)
        self._dry_run = dry_run

    def take(self, groups: Sequence[Sequence[Foreign]]) -> None:
        """Look after some sources."""
        by_source: dict[str, list[Foreign]] = {}  # a collation that ignores case gives one source's rows in turns
        for group in groups:
            by_source.setdefault(group[0].source.id, []).extend(group)
        wishes = self._present(self._new([self._wish(group) for group in by_source.values()]))
        if not self._dry_run:
            self._note_generations([wish for wish in wishes if any(wish.files.values())])
        rest = [wanted for wish in wishes if (wanted := self._settle(wish)).specs]
        self.report.queued += sum(len(wanted.specs) for wanted in rest)
        if not self._dry_run:
            self.app.outbox.insist(rest)

    def _wish(self, group: Sequence[Foreign]) -> _Wish:
        wish = _Wish(group[0].source)
        for foreign in group:
            self.report.rows += 1
            if not foreign.specs:
                self._skip("options")
            for spec in foreign.specs:
                key = spec.key(wish.source.address)
                wish.specs[key] = spec
                wish.files.setdefault(key, []).extend([foreign.file] if foreign.file else [])
        return wish

    def _skip(self, reason: Reason, number: int = 1) -> None:
        self.report.skipped += number
        self.report.note(reason, number)

    def _new(self, wishes: Sequence[_Wish]) -> list[_Wish]:
        """Leave out what easyimg has rows of."""
        records = self.app.metadata.fetch({wish.source.id: list(wish.specs) for wish in wishes if wish.specs})
        for wish in wishes:
            record = records.get(wish.source.id)
            for key in record.variants if record else ():
                del wish.specs[key], wish.files[key]
                self.report.known += 1
            if record:
                wish.generation, wish.focus = record.generation, record.focus
        return [wish for wish in wishes if wish.specs]

    def _present(self, wishes: Sequence[_Wish]) -> list[_Wish]:
        """Leave out the sources of which nothing can be built: their originals are not to be found."""
        by_alias: dict[str, list[_Wish]] = {}
        for wish in wishes:
            by_alias.setdefault(wish.source.storage, []).append(wish)
        found = []
        for alias, some in by_alias.items():
            named = [wish for wish in some if wish.source.name]
            self._skip("no_name", sum(len(wish.specs) for wish in some if not wish.source.name))
            if alias not in self.app.settings.storages:
                self._skip("unknown_storage", sum(len(wish.specs) for wish in named))
                continue
            absent = self._places[alias].faults({wish.source.name: None for wish in named})
            self._skip("no_original", sum(len(wish.specs) for wish in named if wish.source.name in absent))
            found += [wish for wish in named if wish.source.name not in absent]
        return found

    def _note_generations(self, wishes: Sequence[_Wish]) -> None:
        """Give each source its row before its original is read: a replacement is noticed from here on."""
        if not wishes:
            return
        self.app.metadata.enqueue([Wanted(wish.source, {}) for wish in wishes])
        rows = self.app.metadata.source_rows([wish.source.id for wish in wishes])
        for wish in wishes:
            row = rows[wish.source.id]
            wish.generation, wish.focus = row.generation, row.focus

    def _settle(self, wish: _Wish) -> Wanted:
        """Take over what can be; return what is to be queued."""
        done: frozenset[str] = frozenset()
        try:
            if any(wish.files.values()):
                done = self._adopt(wish)
        except SourceError as exc:
            self._skip("no_original" if isinstance(exc, SourceNotFound) else "original_refused", len(wish.specs))
            return Wanted(wish.source, {})
        except _Unreadable:
            self.report.failed += len(wish.specs)
            self.report.note("original_unreadable", len(wish.specs))
            return Wanted(wish.source, {})
        self.report.note("not_built", sum(not wish.files[key] for key in wish.specs))
        rest = {key: spec.canonical for key, spec in wish.specs.items() if key not in done}
        return Wanted(wish.source, rest, wish.info, Priority.BACKGROUND)

    def _adopt(self, wish: _Wish) -> frozenset[str]:
        """Return the keys of what was taken over, or was built by others meanwhile."""
        original = self._read(wish)
        comparison = Comparison(self.app, self._files, original)
        files = comparison.same(wish.specs, wish.files)
        for fault in comparison.faults:
            self.report.note(fault)
        wish.info = original.info
        if self._dry_run:
            self._count(files)
            return frozenset(file.key for file in files)
        return self._publish(wish, content_version(original.data, wish.focus), files) if files else frozenset()

    def _read(self, wish: _Wish) -> Original:
        limits = self.app.settings.limits
        try:
            data = self.app.storage(wish.source.storage).read(wish.source.name, limits.max_bytes)
        except StorageError as exc:
            raise _Unreadable from exc
        info = header_engine(self.app).probe(data, limits.check_content(data))
        limits.check_info(info)
        return Original(data, info, wish.focus)

    def _count(self, files: Iterable[SameFile]) -> None:
        for file in files:
            self.report.adopted += 1
            self.report.bytes += len(file.data)

    def _publish(self, wish: _Wish, version: str, files: Sequence[SameFile]) -> frozenset[str]:
        """Claim the rows, write the copies, settle: as a build does, with which this may compete."""
        metadata, settings = self.app.metadata, self.app.settings
        specs = {file.key: file.spec.canonical for file in files}
        metadata.enqueue([Wanted(wish.source, specs, wish.info, Priority.BACKGROUND)])
        claims = metadata.claim(
            lease=settings.lease_seconds,
            max_attempts=settings.max_attempts,
            source_id=wish.source.id,
            keys=list(specs),
            gave_up=partial(tell_given_up, self.app),
        )
        taken: set[str] = set()
        for claim in claims:
            if claim.generation != wish.generation:
                metadata.release(claim)
                self.report.note("replaced", len(claim.variants))
                self.report.queued += len(claim.variants)
                taken |= {variant.key for variant in claim.variants}
                continue
            taken |= self._write(claim, wish, version, files)
        self.report.known += len(specs.keys() - taken)
        self.app.cache.discard(wish.source.id)
        return frozenset(specs)

    def _write(self, claim: Claim, wish: _Wish, version: str, files: Sequence[SameFile]) -> set[str]:
        """Write what was claimed and publish it; whatever goes wrong, the rows are given back."""
        claimed = {variant.key for variant in claim.variants}
        ours = [file for file in files if file.key in claimed]
        try:
            built = [self._copy(file, version) for file in ours]
            accepted = self.app.metadata.publish(claim, built, info=wish.info, version=version)
        except BaseException:
            self.app.metadata.release(claim)
            raise
        self._count(file for file in ours if file.key in accepted)
        self.report.known += len(claimed - accepted)
        return claimed

    def _copy(self, file: SameFile, version: str) -> Built:
        settings, form = self.app.settings, FORMATS[file.info.format]
        name = variant_name(settings.variants_prefix, file.key, version, form.extension)
        self._variants.write(name, file.data, form.mime)
        width, height = file.info.size
        return Built(file.key, settings.variants, name, form.name, width, height, len(file.data))


class _Unreadable(Exception):
    """The storage of an original did not answer."""
