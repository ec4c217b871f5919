"""BoundImg: one Img applied to one source. Lazy; ``str()`` gives its HTML from what its batch knows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

from markupsafe import Markup

from easyimg.attributes import Attributes, escape
from easyimg.batch import ImageBatch
from easyimg.errors import EasyImgError, SourceError, SpecError, shown
from easyimg.links import preload_header, write_preload
from easyimg.markup import (
    Parts,
    PictureSource,
    art_sources,
    image_parts,
    placeholder,
    whole_style,
    with_art,
    write_front,
    write_rest,
)
from easyimg.piece import CHOICES, Choice, Piece
from easyimg.plan import Plan
from easyimg.ports import App
from easyimg.source import Source
from easyimg.variant import ERROR_STATUSES, SourceRecord

logger = logging.getLogger("easyimg")

_REMEMBERED: Final = 16
"""How many tags are kept of one source: an ``alt`` may be another one on each page."""

_KEPT: Final = 64
"""How many tags and parts are kept of one source at most. Equal options have one plan, so few sites come near it."""


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


class BoundImg(Piece):
    """One Img applied to one source: lazy. ``str()`` gives safe HTML in Jinja2 and Django alike.

    A falsy source gives ``""`` everywhere. ``art`` holds the pictures of art direction, in the order of ``plan.art``;
    the image itself is what is shown where none of them is.
    """

    __slots__ = ("_batch", "_built_inline", "_front", "_parts", "art", "build_choice", "tag")

    def __init__(
        self, plan: Plan, source: Source | None, tag: Tag, batch: ImageBatch | None = None, build: Choice | None = None
    ) -> None:
        super().__init__(plan, source)
        self.art: tuple[Piece, ...] = ()
        if plan.art and source is not None:
            self.art = tuple([Piece(entry.plan, entry.source or source) for entry in plan.art])
        self.tag = tag
        self.build_choice = build
        self._batch: ImageBatch | None = None
        self._built_inline = False
        self._parts: Parts | None = None
        self._front = ""
        if batch is not None:
            self.join(batch)

    def __bool__(self) -> bool:
        return self.source is not None

    def __repr__(self) -> str:
        return f"<BoundImg {self.source} {self.plan.base.canonical}>"

    def __str__(self) -> str:
        return _text_of(self)

    def __len__(self) -> int:
        return len(self.as_html())

    def __add__(self, other: Any) -> str:
        return str(self) + other  # type: ignore[no-any-return]

    def __radd__(self, other: Any) -> str:
        return other + str(self)  # type: ignore[no-any-return]

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
        """The value of the ``<img>``'s ``srcset``: what is built now.

        With ``formats``, whose files are in :attr:`sources`: ``""``, or, in a lazy fluid slot, what ``src`` shows, for
        ``auto`` to count.
        """
        return self._resolved().srcset if self.source else ""

    @property
    def sources(self) -> tuple[PictureSource, ...]:
        """The ``<source>`` elements of a ``<picture>``, in the order in which browsers look: what is built now."""
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

    @property
    def style(self) -> str:
        """The value of ``style``: what keeps a stand-in in shape, what CSS cuts, the placeholder, and your own.

        ``""`` for none, and always with ``csp="strict"``.
        """
        if self.source is None:
            return ""
        own = self.tag.style
        return whole_style(self._resolved(), None if own is None else _own_style(own, self.batch.app))

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
        style = None if tag.style is None else _own_style(tag.style, self.batch.app)
        return Markup(self._front + write_rest(parts, tag.alt, tag.tail, style))  # noqa: S704 - escaped in markup

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
        """Return the image as plain values, for JSON.

        They are src, srcset, sizes, sources, width, height, alt, loading, style and is_built. ``sources`` are those of
        a ``<picture>``: media, type, srcset, sizes, width and height of each. ``media``, ``sizes`` and ``style`` are
        ``""``, the others None, where the tag has none. ``sizes`` may begin with ``auto``, which needs
        ``loading="lazy"``.
        """
        if self.source is None:
            return {}
        parts = self._resolved()
        return {
            "src": parts.src,
            "srcset": parts.srcset,
            "sizes": parts.sizes,
            "sources": [_source_as_dict(source) for source in parts.sources],
            "width": parts.width or None,
            "height": parts.height or None,
            "alt": self.tag.alt,
            "loading": "lazy" if self.tag.lazy else None,
            "style": self.style,
            "is_built": self.is_built,
        }

    @property
    def is_built(self) -> bool:
        """Whether every file that this image needs, or that ``build`` chose, is built."""
        choices = self.chosen(self.build_choice or "all")
        return bool(self) and all(piece.has_built(self._record(piece), choice) for piece, choice in choices)

    @property
    def is_pending(self) -> bool:
        """Whether a file is still owed: not built, and not given up."""
        return bool(self) and any(piece.owes(self._record(piece)) for piece, _ in self.chosen("all"))

    def chosen(self, choice: Choice) -> Iterator[tuple[Piece, Choice]]:
        """Yield what a choice is about: the image itself; unless that is ``src``, also all of its art direction."""
        yield self, choice
        if choice != "src":
            for piece in self.art:
                yield piece, "all"

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

    @property
    def is_ready(self) -> bool:
        """Whether its HTML can be given with no query and no build."""
        return self.source is None or self._parts is not None

    @property
    def builds_inline(self) -> bool:
        """Whether it will be built, in this process, when something is first asked of it."""
        if self.source is None or self._built_inline:
            return False
        return self.build_choice is not None or self.batch.app.settings.pending == "build"

    def prepare(self) -> None:
        """Ask and build what its HTML needs; from then on it is ready. Does nothing twice."""
        if self.source is not None:
            self._resolved()

    def _resolved(self) -> Parts:
        """Return the parts from what is known now, loading and building first where that is asked for."""
        if self._parts is None:
            if self.builds_inline:
                self._built_inline = True
                self.batch.build_item(self)
            self._parts, self._front = self._remembered()
        return self._parts

    def _remembered(self) -> tuple[Parts, str]:
        """Return the parts and the tag's beginning, made once for all pages while the record is remembered.

        Not with art direction of other sources, whose records change on their own.
        """
        assert self.source is not None
        batch = self.batch
        record = batch.record(self.source)
        memo = None if record is None else batch.app.cache.memo(record)
        found = None if memo is None else memo.get((id(self.plan), self.tag.lazy))
        if found is None:
            parts = self._compute_parts(record)
            found = (parts, write_front(parts), self.plan)  # the plan is kept, so that its id stays its own
            if memo is not None and all(piece.source == self.source for piece in self.art):
                if len(memo) >= _KEPT:
                    memo.clear()
                memo[id(self.plan), self.tag.lazy] = found
        return found[0], found[1]

    def _record(self, piece: Piece) -> SourceRecord | None:
        assert piece.source is not None
        return self.batch.record(piece.source)

    def _compute_parts(self, record: SourceRecord | None) -> Parts:
        assert self.source is not None
        batch = self.batch
        settings = batch.app.settings
        _report_broken(self, record, settings.strict)
        try:
            parts = image_parts(
                self.plan,
                self.keys,
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
            parts = Parts(placeholder(None), (), "", 0, 0, "", "placeholder")
        return with_art(parts, self._art_sources()) if self.art else parts

    def _art_sources(self) -> list[PictureSource]:
        """Return the ``<source>`` elements of art direction; one that cannot be shown is left out and logged."""
        batch = self.batch
        strict = batch.app.settings.strict
        found: list[PictureSource] = []
        for entry, piece in zip(self.plan.art, self.art, strict=True):
            assert piece.source is not None
            record = batch.record(piece.source)
            _report_broken(piece, record, strict)
            try:
                found += art_sources(
                    piece.plan, entry.media, piece.keys, piece.source, record, batch.url, lazy=self.tag.lazy
                )
            except EasyImgError:
                if strict:
                    raise
                logger.exception("image %s is left out of art direction", piece.source)
        return found


def remembered_html(app: App, plan: Plan, source: Source, tag: Tag, alt: str | None) -> Markup | None:
    """Return the ``<img>`` tag if all that it is made from was made for an earlier page and still holds; else None.

    Never with art direction, which has rows of its own.
    """
    if plan.art or tag.kind != "img":
        return None
    memo = app.cache.recall(source.id, plan.keys(source.address))
    if memo is None:
        return None
    what = (noted_as(plan, tag), alt)
    html: Markup | None = memo.get(what)
    if html is None and (found := memo.get((id(plan), tag.lazy))) is not None:
        style = None if tag.style is None else _own_style(tag.style, app)
        html = Markup(found[1] + write_rest(found[0], alt, tag.tail, style))  # noqa: S704 - escaped in markup
        if len(memo) < _REMEMBERED:
            memo[what] = html
    return html


def noted_as(plan: Plan, tag: Tag) -> tuple[Any, ...]:
    """Return what, with an ``alt``, a whole tag is noted as in the memo of its source's record."""
    return id(plan), tag.tail, tag.style


def _own_style(style: str, app: App) -> str | None:
    """Return the author's own style; None where no page may have any: logged once a process, raised where strict."""
    settings = app.settings
    if settings.csp != "strict":
        return style
    message = f'img_style: {shown(style)} is inline style, which csp="strict" forbids; use a class (img_class)'
    if settings.strict:
        raise SpecError(message)
    if style not in _refused and len(_refused) < 1_000:
        _refused.add(style)
        logger.error("%s; it is left out", message)
    return None


def _report_broken(piece: Piece, record: SourceRecord | None, strict: bool) -> None:
    """Say that a base will not come, if so: raise where strict, else log once per source and process."""
    base = record.variants.get(piece.keys[0]) if record is not None else None
    if record is None or base is None or base.status not in ERROR_STATUSES:
        return
    message = f"{piece.source}: {record.given_up or 'its build failed'}; see: easyimg inspect {piece.source}"
    if strict:
        raise SourceError(message)
    if record.id not in _reported and len(_reported) < 10_000:
        _reported.add(record.id)
        logger.error("%s", message)


def _source_as_dict(source: PictureSource) -> dict[str, Any]:
    return {
        "media": source.media,
        "type": source.type,
        "srcset": source.srcset,
        "sizes": source.sizes,
        "width": source.width or None,
        "height": source.height or None,
    }


_text_of: Callable[[BoundImg], str] = BoundImg.as_html


def show_text_by(text_of: Callable[[BoundImg], str]) -> None:
    """Let a framework choose what ``str()`` of an image gives: its own kind of safe text. Called by adapters, once."""
    global _text_of  # noqa: PLW0603 - one process has one such framework
    _text_of = text_of


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

    Raises:
        SpecError: an image is lazy.
    """
    found = [image for image in images if image]
    if any(image.tag.lazy for image in found):
        raise SpecError(LAZY_PRELOAD)
    html = Markup("\n").join(filter(None, [image.preload_html() for image in found]))
    return PreloadLinks(html, ", ".join(filter(None, [image.preload_header() for image in found])))


LAZY_PRELOAD: Final = "preload: a lazy image is not preloaded; give its Img priority=True (or loading='eager')"
"""Browsers would load another file for it later: its slot is measured by then."""

_reported: set[str] = set()
"""Sources whose failure was logged by this process."""

_refused: set[str] = set()
"""Styles that were left out and logged by this process."""
