"""BoundImg: one Img applied to one source. Lazy; ``str()`` gives its HTML from what its batch knows."""

from __future__ import annotations

import logging
from typing import Any, Literal, NamedTuple

from markupsafe import Markup

from easyimg.attributes import Attributes, escape
from easyimg.batch import ImageBatch
from easyimg.errors import EasyImgError, SourceError, SpecError, shown
from easyimg.links import preload_header, write_preload
from easyimg.markup import Parts, PictureSource, image_parts, placeholder, write_front, write_rest
from easyimg.plan import Plan
from easyimg.source import Source
from easyimg.variant import ERROR_STATUSES, SourceRecord, VariantStatus

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
        link: those of its attributes that a link preloading it has too.
        kind: what becomes of the image in HTML: its tag, its URL alone, or the link that preloads it.
        root: put before the URL where that begins with a slash, for ``kind="url"``.
    """

    alt: str | None = None
    lazy: bool = False
    tail: str = ""
    style: str | None = None
    link: Attributes = ()
    kind: Literal["img", "url", "preload"] = "img"
    root: str = ""


def check_choice(build: Any) -> Choice | None:
    """Return a valid ``build=`` choice, or raise SpecError."""
    if build is None or build in CHOICES:
        return build  # type: ignore[no-any-return]
    raise SpecError(f"build: {shown(build)} is not one of {', '.join(map(repr, CHOICES))} or None")


class BoundImg:
    """One Img applied to one source: lazy. ``str()`` gives safe HTML in Jinja2 and Django alike.

    A falsy source gives ``""`` everywhere.
    """

    __slots__ = ("_batch", "_built_inline", "_front", "_parts", "build_choice", "keys", "plan", "source", "tag")

    def __init__(
        self, plan: Plan, source: Source | None, tag: Tag, batch: ImageBatch | None = None, build: Choice | None = None
    ) -> None:
        self.plan = plan
        self.source = source
        self.tag = tag
        self.build_choice = build
        self._batch: ImageBatch | None = None
        self._built_inline = False
        self._parts: Parts | None = None
        self._front = ""
        self.keys: tuple[str, ...] = () if source is None else plan.keys(source.address)
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
    def alt(self) -> str:
        """The alternative text; ``""`` for none."""
        return self.tag.alt or ""

    @property
    def srcset(self) -> str:
        """The value of ``srcset``: what is built now; ``""`` with ``formats``, see :attr:`sources`."""
        return self._resolved().srcset if self.source else ""

    @property
    def sources(self) -> tuple[PictureSource, ...]:
        """The ``<source>`` elements of a ``<picture>``, in order of preference: what is built now."""
        return self._resolved().sources if self.source else ()

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
        """Return the ``<img>`` tag; ``""`` for an empty source.

        Of what ``Img.url`` and ``Img.preload`` give: the URL alone, escaped as well, or the ``<link>``.
        """
        if self.source is None:
            return Markup("")
        parts, tag = self._resolved(), self.tag
        if tag.kind != "img":
            return Markup(escape(self.url())) if tag.kind == "url" else self.preload_html()  # noqa: S704
        return Markup(self._front + write_rest(parts, tag.alt, tag.tail, tag.style))  # noqa: S704 - escaped in markup

    def url(self) -> str:
        """Return the URL of ``src`` for CSS, e-mails and meta tags, as ``base_url``, after the root it was given.

        ``""`` for an empty source, and with a root also while only an inline placeholder could stand in.
        """
        url, root = self.base_url(), self.tag.root
        if not root:
            return url
        if url.startswith("data:"):
            return ""
        return root + url if url.startswith("/") and not url.startswith("//") else url

    def preload_html(self) -> Markup:
        """Return ``<link rel="preload">`` for exactly the file that the ``<img>`` will load; ``""`` for none yet."""
        return Markup(write_preload(self._resolved(), self.tag.link)) if self.source else Markup("")  # noqa: S704

    def preload_header(self) -> str:
        """Return the same as the value of an HTTP header ``Link`` (or of an early hint); ``""`` for none yet."""
        return preload_header(self._resolved(), self.tag.link) if self.source else ""

    def as_dict(self) -> dict[str, Any]:
        """Return the image as plain values, for JSON: src, srcset, sizes, sources, width, height, alt, is_built.

        ``sources`` are those of a ``<picture>``: type, srcset and sizes of each.
        """
        if self.source is None:
            return {}
        parts = self._resolved()
        return {
            "src": parts.src,
            "srcset": parts.srcset,
            "sizes": parts.sizes,
            "sources": [{"type": s.type, "srcset": s.srcset, "sizes": s.sizes} for s in parts.sources],
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
        if self.source is None or self.source.is_svg:
            return False
        record = self.batch.record(self.source)
        return record is None or bool(self.pending_keys(record))

    def build(self, choice: Choice = "all") -> bool:
        """Build this image now, in this process, and return whether the choice is built.

        What another thread or process is building already is waited for, ten seconds at most; variants that failed for
        good are left alone.
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
        """Return key -> canonical spec of what is worth building and has no row yet, or one no page has asked for."""
        info = record.info if record is not None else None
        rows = record.variants if record is not None else {}
        keys = self.keys
        asked = {key for key in keys if (row := rows.get(key)) is not None and not row.is_background}
        if len(asked) == len(keys):
            return {}
        if record is not None and info is not None and info.format == "svg":
            return {}
        needed = self.plan.needed(info)
        return {
            key: spec.canonical
            for key, spec, need in zip(keys, self.plan.specs, needed, strict=True)
            if need and key not in asked
        }

    def pending_keys(self, record: SourceRecord) -> list[str]:
        """Return the keys of files that are owed."""
        return [
            key
            for key in self._needed_keys(record, "all")
            if _status(record, key) not in (VariantStatus.BUILT, *ERROR_STATUSES)
        ]

    def due_keys(self, record: SourceRecord | None) -> list[str]:
        """Return the keys of the build choice (without one, the base: ``pending="build"``) that may be built now."""
        due = (None, VariantStatus.QUEUED, VariantStatus.BUILDING)
        return [key for key in self._needed_keys(record, self.build_choice or "src") if _status(record, key) in due]

    def _needed_keys(self, record: SourceRecord | None, choice: Choice) -> list[str]:
        needed = self.plan.needed(record.info if record is not None else None)
        keys = [key for key, need in zip(self.keys, needed, strict=True) if need]
        if choice == "src":
            return keys[:1]
        return keys[1:] if choice == "srcset" else keys

    def _resolved(self) -> Parts:
        """Return the parts from what is known now, loading and building first where that is asked for."""
        if self._parts is None:
            if not self._built_inline and (self.build_choice is not None or self.batch.app.settings.pending == "build"):
                self._built_inline = True
                self.batch.build_item(self)
            self._parts, self._front = self._remembered()
        return self._parts

    def _remembered(self) -> tuple[Parts, str]:
        """Return the parts and the tag's beginning, made once for all pages while the record is remembered."""
        assert self.source is not None
        batch = self.batch
        record = batch.record(self.source)
        memo = None if record is None else batch.app.cache.memo(record)
        found = None if memo is None else memo.get((id(self.plan), self.tag.lazy))
        if found is None:
            parts = self._compute_parts(record)
            found = (parts, write_front(parts), self.plan)  # the plan is kept, so that its id stays its own
            if memo is not None:
                memo[id(self.plan), self.tag.lazy] = found
        return found[0], found[1]

    def _compute_parts(self, record: SourceRecord | None) -> Parts:
        assert self.source is not None
        batch = self.batch
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


class PreloadLinks(NamedTuple):
    """What ``preload_links`` returns.

    Args:
        html: the ``<link>`` elements, for the ``<head>``.
        header: the value of an HTTP header ``Link``, or of an early hint (103).
    """

    html: Markup
    header: str


def preload_links(*images: BoundImg) -> PreloadLinks:
    """Return what has browsers load some images at once, before their ``<img>`` is met; for the few that come first.

    Exactly the file is loaded that the ``<img>`` will ask for: give the same Img, and an eager one (``priority=True``).
    """
    found = [image for image in images if image]
    html = Markup("\n").join(filter(None, [image.preload_html() for image in found]))
    return PreloadLinks(html, ", ".join(filter(None, [image.preload_header() for image in found])))


_reported: set[str] = set()
"""Sources whose failure was logged by this process."""


def _status(record: SourceRecord | None, key: str) -> VariantStatus | None:
    row = record.variants.get(key) if record is not None else None
    return None if row is None else row.status
