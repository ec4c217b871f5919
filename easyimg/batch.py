"""ImageBatch and BoundImg: one page's images -> one query -> HTML.

A batch asks the metadata store once for everything that was added since it last asked, orders what is missing through
the outbox, and renders from what it knows. No storage is ever touched while rendering.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from markupsafe import Markup

from easyimg import build as building
from easyimg.current import current_app
from easyimg.errors import ConfigError, EasyImgError, MetadataError, SourceError, SpecError, StorageError, shown
from easyimg.markup import Parts, image_parts, is_safe_url, placeholder, write_img
from easyimg.plan import Plan
from easyimg.ports import App
from easyimg.source import Source
from easyimg.variant import ERROR_STATUSES, SourceRecord, VariantStatus, Wanted

logger = logging.getLogger("easyimg")

Choice = Literal["src", "srcset", "all"]
CHOICES: tuple[Choice, ...] = ("src", "srcset", "all")
"""What ``build=`` builds inline: the base image, the candidates, or both."""


class Tag(NamedTuple):
    """What one image's tag says apart from its files.

    Args:
        alt: alternative text; None leaves it out.
        lazy: whether ``tail`` holds ``loading="lazy"``.
        tail: further attributes as written by ``markup.write_tail``.
        style: the author's own style text.
    """

    alt: str | None = None
    lazy: bool = False
    tail: str = ""
    style: str | None = None


def check_choice(build: Any) -> Choice | None:
    """Return a valid ``build=`` choice, or raise SpecError."""
    if build is None or build in CHOICES:
        return build  # type: ignore[no-any-return]
    raise SpecError(f"build: {shown(build)} is not one of {', '.join(map(repr, CHOICES))} or None")


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
        self._fresh: list[BoundImg] = []
        self._records: dict[str, SourceRecord | None] = {}
        self._known: dict[str, set[str]] = {}
        self._url_of: dict[str, Callable[[str], str | None]] = {}

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
        return any(item.is_pending for item in self._items)

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
        if not asked:
            return
        try:
            records = self.app.metadata.fetch(asked)
        except MetadataError:
            if self.app.settings.strict:
                raise
            logger.exception("images are rendered without their variants")
            return
        self._learn(asked, records)
        self._order_missing(fresh, asked)

    async def aload(self) -> None:
        """Load in a thread, so that an event loop is not held up by the database."""
        if self._fresh:
            await asyncio.to_thread(self.load)

    def build(self) -> None:
        """Build every image that was added with a ``build`` choice and is not built yet; one decode per source."""
        self._build_items(item for item in self._items if item.build_choice is not None)

    def record(self, source: Source) -> SourceRecord | None:
        """Return what is known of a source after loading."""
        self.load()
        return self._records.get(source.id)

    def url(self, alias: str, name: str) -> str | None:
        """Return a file's URL, or None where its storage has none, or gives one that must not be written."""
        try:
            url_of = self._url_of.get(alias)
            if url_of is None:
                url_of = self._url_of[alias] = self.app.storage(alias).url
            url = url_of(name)
        except StorageError as exc:
            logger.warning("no URL for %s in storage %r: %s", shown(name), alias, exc)
            return None
        if url is not None and not is_safe_url(url):
            logger.error("storage %r gave a URL that is not written: %s", alias, shown(url))
            return None
        return url

    def add(self, bound: BoundImg) -> None:
        """Take an image in; asks nothing yet."""
        self._items.append(bound)
        if bound.source is not None:
            self._fresh.append(bound)

    def build_item(self, bound: BoundImg) -> None:
        """Build one image's choice now, together with what other images of this batch chose of the same source."""
        same = (i for i in self._items if i.build_choice is not None and i.source == bound.source)
        self._build_items(same)

    def _not_cached(self, fresh: Iterable[BoundImg]) -> dict[str, list[str]]:
        """Return source id -> keys to ask for, after taking what the process remembers."""
        asked: dict[str, list[str]] = {}
        cache = self.app.cache
        for item in fresh:
            assert item.source is not None
            source_id = item.source.id
            new = item.keys
            known = self._known.get(source_id)
            if known is None:
                self._known[source_id] = set(new)
            else:
                new = [key for key in new if key not in known]
                if not new and source_id in self._records:
                    continue
                known.update(new)
            cached = cache.get(source_id, new)
            if cached is not None:
                self._merge(cached)
            else:
                asked[source_id] = [*asked.get(source_id, ()), *new]
        return asked

    def _merge(self, record: SourceRecord) -> None:
        old = self._records.get(record.id)
        if old is not None:
            record = record._replace(variants={**old.variants, **record.variants})
        self._records[record.id] = record

    def _learn(self, asked: dict[str, list[str]], records: dict[str, SourceRecord]) -> None:
        for source_id in asked:
            record = records.get(source_id)
            if record is not None:
                self._merge(record)
            else:
                self._records.setdefault(source_id, None)

    def _order_missing(self, items: Iterable[BoundImg], asked: dict[str, list[str]]) -> None:
        """Queue variants that have no row, and remember in the process what is completely built."""
        wanted: dict[str, Wanted] = {}
        put = self.app.cache.put
        for item in items:
            source = item.source
            if source is None or source.id not in asked:
                continue
            record = self._records.get(source.id)
            if record is not None and item.is_complete(record):
                put(item.keys, record)  # the common case: asked first, as it is the quickest to answer
                continue
            if _is_svg(source):
                continue
            missing = item.missing_specs(record)
            if missing:
                order = wanted.setdefault(source.id, Wanted(source, {}))
                order.specs.update(missing)
            elif record is not None and not item.pending_keys(record):
                put(item.keys, record)
        new = self.app.outbox.order(list(wanted.values()))
        if new and self.app.queue.inline:
            self._reload(new)

    def _reload(self, source_ids: Iterable[str]) -> None:
        """Ask again for all that is known of some sources: something was just built."""
        asked = {source_id: sorted(self._known[source_id]) for source_id in source_ids if source_id in self._known}
        if asked:
            for source_id in asked:
                self._records.pop(source_id, None)
            self._learn(asked, self.app.metadata.fetch(asked))

    def _build_items(self, items: Iterable[BoundImg]) -> None:
        self.load()
        keys: dict[str, list[str]] = {}
        for item in items:
            if item.source is not None:
                due = item.due_keys(self._records.get(item.source.id))
                if due:
                    keys.setdefault(item.source.id, []).extend(due)
        if keys:
            self.app.outbox.flush()
        isolate = not self.app.queue.inline  # a page's process takes uploads from strangers
        for source_id, due in keys.items():
            try:
                building.drain(self.app, source_id=source_id, keys=list(dict.fromkeys(due)), isolate=isolate)
            except MetadataError:
                if self.app.settings.strict:
                    raise
                logger.exception("an image could not be built inline; it stays queued")
        if keys:
            self._reload(keys)


def _is_svg(source: Source) -> bool:
    return source.name[-4:].lower() == ".svg"


class BoundImg:
    """One Img applied to one source: lazy. ``str()`` gives safe HTML in Jinja2 and Django alike.

    A falsy source gives ``""`` everywhere.
    """

    __slots__ = ("_batch", "_built_inline", "_keys", "_parts", "build_choice", "plan", "source", "tag")

    def __init__(
        self, plan: Plan, source: Source | None, tag: Tag, batch: ImageBatch | None = None, build: Choice | None = None
    ) -> None:
        self.plan = plan
        self.source = source
        self.tag = tag
        self.build_choice = build
        self._batch: ImageBatch | None = None
        self._built_inline = False
        self._keys: list[str] | None = None
        self._parts: Parts | None = None
        if batch is not None:
            self.join(batch)

    def __bool__(self) -> bool:
        return self.source is not None

    def __repr__(self) -> str:
        return f"<BoundImg {self.source} {self.plan.base.canonical}>"

    def __str__(self) -> str:
        return self.as_html()

    def __html__(self) -> Markup:
        return self.as_html()

    @property
    def batch(self) -> ImageBatch:
        """The batch this image loads with; one of its own where none was given."""
        if self._batch is None:
            self.join(ImageBatch())
        assert self._batch is not None
        return self._batch

    @property
    def has_batch(self) -> bool:
        """Whether it belongs to a batch already."""
        return self._batch is not None

    def join(self, batch: ImageBatch) -> None:
        """Let this image load with a batch; only once."""
        self._batch = batch
        batch.add(self)

    @property
    def keys(self) -> list[str]:
        """The keys of the plan's specs for this source, in their order."""
        if self._keys is None:
            self._keys = [] if self.source is None else self.plan.keys(self.source.address)
        return self._keys

    @property
    def alt(self) -> str:
        """The alternative text; ``""`` for none."""
        return self.tag.alt or ""

    @property
    def srcset(self) -> str:
        """The value of ``srcset``: what is built now."""
        return self._resolved().srcset if self.source else ""

    @property
    def sizes(self) -> str:
        """The value of ``sizes``; ``""`` for a fixed slot."""
        return self._resolved().sizes if self.source else ""

    @property
    def width(self) -> int | None:
        """The ``width`` of the slot in CSS pixels; None when nothing tells it yet."""
        return (self._resolved().width or None) if self.source else None

    @property
    def height(self) -> int | None:
        """The ``height`` of the slot in CSS pixels; None when nothing tells it yet."""
        return (self._resolved().height or None) if self.source else None

    def base_url(self) -> str:
        """Return the URL of ``src``: the built base, or what stands in for it. Builds first if ``build`` says so."""
        return self._resolved().src if self.source else ""

    def as_html(self) -> Markup:
        """Return the ``<img>`` tag; ``""`` for an empty source."""
        if self.source is None:
            return Markup("")
        return Markup(write_img(self._resolved(), self.tag.alt, self.tag.tail, self.tag.style))

    def as_dict(self) -> dict[str, Any]:
        """Return the image as plain values, for JSON: src, srcset, sizes, width, height, alt, is_built."""
        if self.source is None:
            return {}
        parts = self._resolved()
        return {
            "src": parts.src,
            "srcset": parts.srcset,
            "sizes": parts.sizes,
            "width": parts.width or None,
            "height": parts.height or None,
            "alt": self.alt,
            "is_built": self.is_built,
        }

    @property
    def is_built(self) -> bool:
        """Whether every file that this image needs, or that ``build`` chose, is built."""
        if self.source is None:
            return False
        record = self.batch.record(self.source)
        needed = self._needed_keys(record, self.build_choice or "all")
        return record is not None and all(_status(record, key) == VariantStatus.BUILT for key in needed)

    @property
    def is_pending(self) -> bool:
        """Whether a file is still owed: not built, and not given up."""
        if self.source is None or _is_svg(self.source):
            return False
        record = self.batch.record(self.source)
        return record is None or bool(self.pending_keys(record))

    def build(self, choice: Choice = "all") -> bool:
        """Build this image now, in this process, and return whether the choice is built.

        Variants that another process is building, or that failed for good, are left alone.
        """
        if self.source is None:
            return False
        self.build_choice = check_choice(choice)
        self._parts = None
        self._built_inline = True
        self.batch.build_item(self)
        return self.is_built

    # Django's templates call what they find; a page must not start a build by accident.
    build.alters_data = True  # type: ignore[attr-defined]

    def is_complete(self, record: SourceRecord) -> bool:
        """Return whether the files of all specs are built, also of those not needed."""
        rows = record.variants
        for key in self.keys:
            row = rows.get(key)
            if row is None or row.status != VariantStatus.BUILT:
                return False
        return True

    def missing_specs(self, record: SourceRecord | None) -> dict[str, str]:
        """Return key -> canonical spec of what has no row yet and is worth building."""
        info = record.info if record is not None else None
        rows = record.variants if record is not None else {}
        keys = self.keys
        if all(key in rows for key in keys):
            return {}
        if record is not None and info is not None and info.format == "svg":
            return {}
        needed = self.plan.needed(info)
        return {
            key: spec.canonical
            for key, spec, need in zip(keys, self.plan.specs, needed, strict=True)
            if need and key not in rows
        }

    def pending_keys(self, record: SourceRecord) -> list[str]:
        """Return the keys of files that are owed."""
        return [
            key
            for key in self._needed_keys(record, "all")
            if _status(record, key) not in (VariantStatus.BUILT, *ERROR_STATUSES)
        ]

    def due_keys(self, record: SourceRecord | None) -> list[str]:
        """Return the keys of the build choice that may be built now."""
        due = (None, VariantStatus.QUEUED, VariantStatus.BUILDING)
        return [key for key in self._needed_keys(record, self.build_choice or "all") if _status(record, key) in due]

    def _needed_keys(self, record: SourceRecord | None, choice: Choice) -> list[str]:
        needed = self.plan.needed(record.info if record is not None else None)
        keys = [key for key, need in zip(self.keys, needed, strict=True) if need]
        if choice == "src":
            return keys[:1]
        return keys[1:] if choice == "srcset" else keys

    def _resolved(self) -> Parts:
        """Return the parts from what is known now, loading and building first where that is asked for."""
        if self._parts is None:
            if self.build_choice is not None and not self._built_inline:
                self._built_inline = True
                self.batch.build_item(self)
            self._parts = self._compute_parts()
        return self._parts

    def _compute_parts(self) -> Parts:
        assert self.source is not None
        batch = self.batch
        record = batch.record(self.source)
        settings = batch.app.settings
        keys = self.keys
        base = record.variants.get(keys[0]) if record is not None else None
        if record is not None and base is not None and base.status in ERROR_STATUSES:
            self._report_broken(record, settings.strict)
        try:
            return image_parts(
                self.plan,
                keys,
                self.source,
                record,
                batch.url,
                pending=settings.pending,
                strict_csp=settings.csp == "strict",
                lazy=self.tag.lazy,
            )
        except EasyImgError:
            if settings.strict:
                raise
            logger.exception("image %s is rendered as a placeholder", self.source)
            return Parts(placeholder(None), (), "", 0, 0, "", "placeholder")

    def _report_broken(self, record: SourceRecord, strict: bool) -> None:
        """Say that the base will not come: raise where strict, else log once per source and process."""
        message = f"{self.source}: {record.given_up or 'its build failed'}; see: easyimg inspect {self.source}"
        if strict:
            raise SourceError(message)
        if record.id not in _reported and len(_reported) < 10_000:
            _reported.add(record.id)
            logger.error("%s", message)


_reported: set[str] = set()
"""Sources whose failure was logged by this process."""


def _status(record: SourceRecord | None, key: str) -> VariantStatus | None:
    row = record.variants.get(key) if record is not None else None
    return None if row is None else row.status
