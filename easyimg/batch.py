"""ImageBatch: one page's images -> one query.

A batch asks the metadata store once for everything that was added since it last asked, and orders what is missing
through the outbox. No storage is ever touched while rendering.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from easyimg.current import current_app
from easyimg.drain import drain
from easyimg.errors import ConfigError, EasyImgError, MetadataError, NoBuildProcess, StorageError, shown
from easyimg.joined import after_commit, resting
from easyimg.logs import event
from easyimg.markup import is_safe_url
from easyimg.piece import Choice, Piece
from easyimg.ports import App
from easyimg.signals import batch_loaded
from easyimg.source import Source
from easyimg.variant import SourceRecord, VariantStatus, Wanted

if TYPE_CHECKING:
    from easyimg.bound import BoundImg

logger = logging.getLogger("easyimg")

WAIT_SECONDS = 10.0
"""How long a page that builds inline waits for others who were quicker to claim the same."""


class ImageBatch:
    """Images that are loaded together: one metadata query for all that were added since the last one.

    Belongs to one page and one thread at a time. Images may be added at any time; the next access to any of them loads
    the new ones only.

    Args:
        app: the EasyImg to use; None = that of the first image's Img, else the current one when first needed.
    """

    def __init__(self, app: App | None = None) -> None:
        self._app = app
        self._items: list[BoundImg] = []
        self._fresh: list[Piece] = []
        self._unsure: list[Piece] = []  # loaded ones that may wait for files: all that the process did not remember
        self._records: dict[str, SourceRecord | None] = {}
        self._known: dict[str, set[str]] = {}
        self._url_of: dict[str, Callable[[str], str | None]] = {}
        self._previews = False

    @property
    def app(self) -> App:
        """The EasyImg of this batch."""
        if self._app is None:
            self._app = current_app()
        return self._app

    def use(self, app: App) -> None:
        """Say which EasyImg is meant.

        Raises:
            ConfigError: the batch belongs to another one already.
        """
        if self._app is not None and self._app is not app:
            raise ConfigError(f"the batch belongs to {self._app!r}, the Img to {app!r}")
        self._app = app

    @property
    def has_pending(self) -> bool:
        """Whether any image of this batch still waits for a file: tell page caches to keep the page briefly."""
        self.load()
        return self.is_owed

    @property
    def is_owed(self) -> bool:
        """Whether any image that was loaded so far still waits for a file; asks nothing."""
        return any(piece.owes(self._records.get(piece.source.id)) for piece in self._unsure if piece.source is not None)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True  # an empty batch is a batch all the same

    def load(self) -> None:
        """Ask for all images added since the last load, in one query, and order what is missing. Does nothing twice."""
        if not self._fresh:
            return
        fresh, self._fresh = self._fresh, []
        asked = self._not_cached(fresh)
        if asked:
            self._ask(fresh, asked)
            if batch_loaded.receivers:
                batch_loaded.send_robust(self.app, batch=self)

    def _ask(self, fresh: list[Piece], asked: dict[str, list[str]]) -> None:
        """Ask for rows, and order what is missing; without an answer, images are shown as if nothing was known."""
        since = self.app.cache.moment()
        try:
            records = self.app.metadata.fetch(asked, previews=self._previews)
        except MetadataError:
            if self.app.settings.strict:
                raise
            logger.exception("images are rendered without their variants")
            return
        self._learn(asked, records)
        self._order_missing(fresh, asked, since)

    async def aload(self) -> None:
        """Load in a thread, and build there what is to be built inline, so that no event loop is held up."""
        if self._fresh or any(item.builds_inline for item in self._items):
            import asyncio  # 8 MiB with what it loads, which a building process need not hold

            await asyncio.to_thread(self._load_and_rest)

    def _load_and_rest(self) -> None:
        with resting(self.app):
            self.load()
            for item in self._items:
                if item.builds_inline:
                    item.prepare()

    def build(self) -> None:
        """Build every image that was added with a ``build`` choice and is not built yet; one decode per source."""
        self._build_items(item for item in self._items if item.build_choice is not None)

    build.alters_data = True  # type: ignore[attr-defined]  # Django's templates call what they find

    def record(self, source: Source) -> SourceRecord | None:
        """Return what is known of a source after loading."""
        if self._fresh:
            self.load()
        return self._records.get(source.id)

    def url(self, alias: str, name: str) -> str | None:
        """Return a file's URL, or None where its storage has none, or gives one that must not be written."""
        try:
            url_of = self._url_of.get(alias)
            if url_of is None:
                url_of = self._url_of[alias] = self.app.storage(alias).url
            url = url_of(name)
        except Exception as exc:
            if isinstance(exc, EasyImgError) and not isinstance(exc, StorageError):
                raise  # a mistake in the settings; any other error is that of a storage, which may be anybody's
            kind = exc.kind if isinstance(exc, StorageError) else type(exc).__name__
            event(logging.WARNING, "no URL for a file", file=name, storage=alias, kind=kind, error=exc)
            return None
        if url is not None and not is_safe_url(url):
            event(logging.ERROR, "a storage gave a URL that is not written", storage=alias, url=shown(url))
            return None
        return url

    def add(self, bound: BoundImg) -> None:
        """Take an image in; asks nothing yet."""
        self._items.append(bound)
        if bound.source is not None:
            self._fresh.append(bound)
            if bound.art:
                self._fresh += bound.art
            self._previews = self._previews or bound.plan.placeholder is not None

    def build_item(self, bound: BoundImg) -> None:
        """Build one image's choice now, together with what other images of this batch chose of the same sources."""
        sources = {piece.source for piece in (bound, *bound.art)}
        same = (i for i in self._items if i is bound or (i.build_choice is not None and i.source in sources))
        self._build_items(same)

    def _not_cached(self, fresh: Iterable[Piece]) -> dict[str, list[str]]:
        """Return source id -> keys to ask for, after taking what the process remembers."""
        asked: dict[str, list[str]] = {}
        cache = self.app.cache
        for item in fresh:
            assert item.source is not None
            source_id = item.source.id
            new: Sequence[str] = item.keys
            known = self._known.get(source_id)
            if known is None:
                self._known[source_id] = set(new)
            else:
                new = [key for key in new if key not in known]
                if not new and source_id in self._records and self._is_enough(self._records[source_id]):
                    self._unsure.append(item)
                    continue
                known.update(new)
            cached = cache.get(source_id, new)
            if cached is not None and self._is_enough(cached):
                self._merge(cached)
            else:
                self._unsure.append(item)
                asked[source_id] = [*asked.get(source_id, ()), *new]
        return asked

    def _is_enough(self, record: SourceRecord | None) -> bool:
        """Return whether the previews that this page shows, if any, were asked for with a record."""
        return not self._previews or record is None or record.is_previewed

    def _merge(self, record: SourceRecord) -> None:
        old = self._records.get(record.id)
        if old is not None and old is not record:
            record = record._replace(variants={**old.variants, **record.variants})
        self._records[record.id] = record

    def _learn(self, asked: dict[str, list[str]], records: dict[str, SourceRecord]) -> None:
        for source_id in asked:
            record = records.get(source_id)
            if record is not None:
                self._merge(record)
            else:
                self._records.setdefault(source_id, None)

    def _order_missing(self, items: Iterable[Piece], asked: dict[str, list[str]], since: int) -> None:
        """Queue variants that have no row, and remember in the process what is completely built, as of ``since``."""
        wanted: dict[str, Wanted] = {}
        is_owed = False
        complete: list[tuple[Sequence[str], SourceRecord]] = []
        for item in items:
            source = item.source
            if source is None or source.id not in asked:
                continue
            record = self._records.get(source.id)
            if record is not None and item.is_complete(record):
                complete.append((item.keys, record))  # the common case: asked first, as the quickest to answer
                continue
            if item.is_svg(record):
                complete.append((item.keys, record or _unseen(source)))
                continue
            missing = item.missing_specs(record)
            if missing:
                order = wanted.setdefault(source.id, Wanted(source, {}))
                order.specs.update(missing)
            elif record is not None and not item.pending_keys(record):
                complete.append((item.keys, record))
            else:
                is_owed = True
        if complete:
            after_commit(self.app.metadata, lambda: self._remember(complete, since))
        new = self.app.outbox.order(list(wanted.values()))
        if new and self.app.queue.inline:
            self._reload(new)
        elif is_owed and not new:
            self.app.queue.ring(())  # owed since before a restart, perhaps: builders of this process must be there

    def _remember(self, complete: Iterable[tuple[Sequence[str], SourceRecord]], since: int) -> None:
        put = self.app.cache.put
        for keys, record in complete:
            put(keys, record, since)

    def _reload(self, source_ids: Iterable[str]) -> None:
        """Ask again for all that is known of some sources: something was just built."""
        asked = {source_id: sorted(self._known[source_id]) for source_id in source_ids if source_id in self._known}
        try:
            records = self.app.metadata.fetch(asked, previews=self._previews) if asked else {}
        except MetadataError:
            if self.app.settings.strict:
                raise
            logger.exception("images are rendered as they were before they were built")
            return
        for source_id in asked:
            self._records.pop(source_id, None)
        self._learn(asked, records)

    def _build_items(self, items: Iterable[BoundImg]) -> None:
        self.load()
        keys: dict[str, list[str]] = {}
        sources: dict[str, Source] = {}
        for source, piece, choice in _choices(items):
            due = piece.due_keys(self._records.get(source.id), choice)
            if due:
                sources[source.id] = source
                keys.setdefault(source.id, []).extend(due)
        if keys:
            after_commit(self.app.metadata, lambda: self._build_now(keys, sources))

    def _build_now(self, keys: dict[str, list[str]], sources: dict[str, Source]) -> None:
        self.app.outbox.flush()
        end = time.monotonic() + WAIT_SECONDS
        while True:
            for source_id, due in keys.items():
                self._build_source(sources[source_id], list(dict.fromkeys(due)))
            self._reload(keys)
            if not self._wait_for_others(keys, end):
                return

    def _build_source(self, source: Source, keys: list[str]) -> None:
        isolate = not self.app.queue.inline  # a page's process takes uploads from strangers
        try:
            # No patience: a visitor waits for this page, and the rows stay owed.
            drain(self.app, source_id=source.id, keys=keys, isolate=isolate, patience=0)
        except (MetadataError, NoBuildProcess):
            if self.app.settings.strict:
                raise
            event(logging.ERROR, "an image could not be built inline; it stays queued", exc_info=True, source=source)

    def _wait_for_others(self, keys: dict[str, list[str]], end: float) -> bool:
        """Wait while others build what this page chose to build; return whether some of that is to be built again.

        The queue of this very process may have been quicker: it was rung when the page ordered its images.
        """
        pause = 0.005
        waited = False
        while time.monotonic() < end and self._are(VariantStatus.BUILDING, keys):
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
            waited = True
            self._reload(keys)
        return waited and time.monotonic() < end and self._are(VariantStatus.QUEUED, keys)

    def _are(self, status: VariantStatus, keys: dict[str, list[str]]) -> bool:
        """Return whether any of these has a status, by what was loaded last."""
        for source_id, some in keys.items():
            record = self._records.get(source_id)
            rows = record.variants if record is not None else {}
            if any(key in rows and rows[key].status == status for key in some):
                return True
        return False


def _unseen(source: Source) -> SourceRecord:
    """Return the record of a source that has no row, and needs none."""
    return SourceRecord(source.id, 0, None, None, "", {}, is_previewed=True)


def _choices(items: Iterable[BoundImg]) -> Iterator[tuple[Source, Piece, Choice]]:
    """Yield what images chose to build inline (without a choice, ``src``), piece by piece; nothing of empty sources."""
    for item in items:
        for piece, choice in item.chosen(item.build_choice or "src"):
            if piece.source is not None:
                yield piece.source, piece, choice
