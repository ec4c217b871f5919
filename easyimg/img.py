"""Img: the recipe for one ``<img>``. Immutable, hashable, reusable, thread-safe; made once, applied to many sources."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from easyimg.attributes import Attributes, check_alt, parse_attributes
from easyimg.batch import ImageBatch
from easyimg.bound import LAZY_PRELOAD, BoundImg, Tag, check_choice
from easyimg.checks import check_format
from easyimg.current import current_app
from easyimg.errors import SpecError, did_you_mean, shown
from easyimg.existing import queue_pictures
from easyimg.markup import write_tail
from easyimg.models import models_of
from easyimg.options import ImgOptions, laid_over, parse_options
from easyimg.piece import Choice
from easyimg.plan import Plan, make_plan, url_plan
from easyimg.source import as_source

if TYPE_CHECKING:
    from easyimg.ports import App


class Img:
    """The recipe for one ``<img>``.

    Calling it with a source gives a :class:`~easyimg.bound.BoundImg`. Two Imgs with equal options are equal; a batch or
    an app that one carries does not count.

    Args:
        batch: a batch that every image made by this Img joins. For one page; a module-level Img must not carry one.
        app: the EasyImg to use instead of the current one.
        **options: see the options page of the documentation; checked now.

    Raises:
        SpecError: an option is unknown, out of range, or contradicts another.
    """

    do_not_call_in_templates = True
    """Django calls what it finds in a template's context; an Img is an argument there."""

    __slots__ = ("_app", "_batch", "_given", "_link", "_options", "_plan", "_tail")

    def __init__(self, batch: ImageBatch | None = None, app: App | None = None, **options: Any) -> None:
        if batch is not None and not isinstance(batch, ImageBatch):
            raise SpecError(f"batch: {shown(batch)} is not an ImageBatch; options are given by name, as width=300")
        self._batch = batch
        self._app = app
        self._given = options
        self._options = parse_options(options)
        self._plan = make_plan(self._options)
        o = self._options
        self._tail = write_tail(o.loading, o.decoding, o.fetchpriority, o.img_attrs)
        self._link = _link(o.fetchpriority, o.img_attrs)

    @property
    def options(self) -> ImgOptions:
        """The checked options."""
        return self._options

    @property
    def plan(self) -> Plan:
        """The variants this Img means."""
        return self._plan

    @property
    def app(self) -> App | None:
        """The EasyImg it was given; None = the current one."""
        return self._app

    @property
    def batch(self) -> ImageBatch | None:
        """The batch it was given, which every image made by it joins."""
        return self._batch

    def __eq__(self, other: object) -> bool:
        return self._options == other._options if isinstance(other, Img) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._options)

    def __repr__(self) -> str:
        return f"Img({', '.join(f'{name}={shown(value)}' for name, value in self._given.items())})"

    def extend(self, **options: Any) -> Img:
        """Return a new Img with some options changed; batch and app stay. ``img_attrs`` replaces, ``img_*`` adds."""
        return Img(batch=self._batch, app=self._app, **laid_over(self._given, options))

    def __call__(
        self,
        source: Any,
        alt: str | None = None,
        *,
        build: Choice | None = None,
        immediate: bool = False,
        batch: ImageBatch | None = None,
        **img_attrs: Any,
    ) -> BoundImg:
        """Return this recipe applied to a source. Asks nothing until the result is used.

        Args:
            source: a name, a Source, or an object with ``__easyimg_source__()``; a falsy one renders as ``""``.
            alt: alternative text, ``""`` for decoration; None = the Img's own.
            build: ``"src"``, ``"srcset"`` or ``"all"``: built inline when a property is first used.
            immediate: build before this call returns (``"all"`` unless ``build`` says less).
            batch: join this batch.
            **img_attrs: ``img_class="rounded"`` adds an attribute to the tag.

        Raises:
            SpecError: the source, ``alt``, ``build`` or an attribute is not allowed.
        """
        choice = check_choice(build) or ("all" if immediate else None)
        bound = self._bind(self._plan, source, self.tag(alt, img_attrs), choice, batch)
        if immediate:
            bound.build(choice or "all")
        return bound

    def url(
        self,
        source: Any,
        *,
        format: str | None = None,
        root: str = "",
        build: Choice | None = None,
        batch: ImageBatch | None = None,
    ) -> BoundImg:
        """Return the URL of one file, for CSS, Open Graph, e-mails: lazy, as an image is; ``str()`` or ``.url()``.

        The file is that of ``src``: as wide as the slot, and no other is ordered. Until it is built, what stands in for
        ``src`` does here as well.

        Args:
            source: as in a call.
            format: instead of the one that everything can read (JPEG; PNG with transparency).
            root: ``"https://example.com"``, put before URLs that begin with a slash; then ``""`` comes instead of an
                inline placeholder.
            build: ``"src"`` builds the file when the URL is first used.
            batch: join this batch.

        Raises:
            SpecError: the source, ``format``, ``root`` or ``build`` is not allowed.
        """
        return self._bind(self.url_plan(format), source, self.url_tag(root), check_choice(build), batch)

    def url_plan(self, format: str | None = None) -> Plan:
        """Return the plan of the one file that ``url`` is about.

        Raises:
            SpecError: there is no such format.
        """
        return url_plan(self._options, None if format is None else check_format("format", format))

    def url_tag(self, root: str = "") -> Tag:
        """Return what ``url`` writes.

        Raises:
            SpecError: ``root`` is no beginning of a URL.
        """
        return Tag(kind="url", root=_root(root))

    def preload(self, source: Any, *, batch: ImageBatch | None = None) -> BoundImg:
        """Return ``<link rel="preload">`` for the image that this Img makes of the source: lazy, as the image is.

        Raises:
            SpecError: the source is not allowed, or the image is not to be loaded eagerly.
        """
        self.check_preload()
        return self._bind(self._plan, source, Tag(kind="preload", link=self._link), None, batch)

    def check_preload(self) -> None:
        """Refuse to preload an image that is not needed at once: browsers would load another file for it later.

        Raises:
            SpecError: it is lazy.
        """
        if self._options.loading == "lazy":
            raise SpecError(LAZY_PRELOAD)

    def queue(
        self, model: Any, *, fields: Any = None, build: Choice | None = None, dispatch_uid: str | None = None
    ) -> None:
        """Queue this recipe's variants whenever a file is saved in a model, after the commit: for start-up code.

        Args:
            model: a Django model, or a class mapped by SQLAlchemy; its subclasses count.
            fields: names of fields, or a class of fields; None = all that hold images, else all that hold files.
            build: ``"src"``, ``"srcset"`` or ``"all"``: built at once after the commit, before ``save()`` returns.
            dispatch_uid: a name for this wish: a second one for this model replaces it.

        Raises:
            SpecError: it is no such model, or has no such field; or this Img carries a batch, which is for one page.
        """
        if self._batch is not None:
            raise SpecError("queue: this Img carries a batch, which is for one page; listen with one that has none")
        models_of(model).listen(self, model, fields=fields, build=check_choice(build), dispatch_uid=dispatch_uid)

    def queue_existing(
        self,
        model: Any,
        *,
        fields: Any = None,
        session: Any = None,
        progress: Callable[[int], None] = lambda steps: None,
    ) -> int:
        """Queue this recipe's variants of the files that a model's rows have now; return how many got something new.

        Args:
            model, fields: as in :meth:`queue`.
            session: what to read the rows with: a Session, sessionmaker or Engine of SQLAlchemy; None = what
                ``easyimg.fields.bind`` named. Django finds its database by itself.
            progress: called with the number of files looked at since the last call.

        Raises:
            SpecError: it is no such model, or has no such field.
            MetadataError: the rows could not be written; those of earlier files are.
        """
        _, sources = models_of(model).stored(model, fields=fields, session=session)
        return queue_pictures(self._app or current_app(), self._plan, sources, progress)

    def order(self, source: Any, *, build: Choice | None = None, app: App | None = None) -> None:
        """Queue this recipe's variants of a source without showing it, and build some of them at once.

        Inside a transaction that the metadata store joins, building waits for the commit.

        Args:
            source: as in a call.
            build: as in :meth:`queue`.
            app: the EasyImg that has the source, where the Img was given none; None = the current one.

        Raises:
            SpecError: the source or ``build`` is not allowed.
            MetadataError: the rows could not be written.
        """
        found = as_source(source)
        if found is None:
            return
        chosen = self._app or app or current_app()
        queue_pictures(chosen, self._plan, [found])
        if check_choice(build):
            self(found, alt="", batch=ImageBatch(chosen)).build(build or "all")

    def _bind(self, plan: Plan, source: Any, tag: Tag, choice: Choice | None, batch: ImageBatch | None) -> BoundImg:
        chosen = batch if batch is not None else self._batch
        if self._app is not None:
            chosen = ImageBatch(self._app) if chosen is None else chosen
            chosen.use(self._app)
        return BoundImg(plan, as_source(source), tag, chosen, choice)

    def tag(self, alt: str | None, img_attrs: Mapping[str, Any]) -> Tag:
        """Return what one image's tag says apart from its files; ``alt`` and attributes as in a call.

        Raises:
            SpecError: ``alt`` or an attribute is not allowed.
        """
        o = self._options
        alt = o.alt if alt is None else check_alt(alt)
        (tail, style), link = self._tail, self._link
        if img_attrs:
            for name in img_attrs:
                if not name.startswith("img_"):
                    raise SpecError(
                        f"unknown argument {name!r}: options belong to Img(...), attributes begin with img_"
                    )
            extra = dict(parse_attributes({name[4:]: value for name, value in img_attrs.items()}))
            merged = {**dict(o.img_attrs), **extra}
            tail, style = write_tail(o.loading, o.decoding, o.fetchpriority, tuple(merged.items()))
            link = _link(o.fetchpriority, tuple(merged.items()))
        return Tag(alt, o.loading == "lazy", tail, style, link)


def _link(fetchpriority: str | None, attributes: Attributes) -> Attributes:
    """Return what an ``<img>`` and the link that preloads it must have in common."""
    first = (("fetchpriority", fetchpriority),) if fetchpriority is not None else ()
    return (*first, *((name, text) for name, text in attributes if name in ("crossorigin", "referrerpolicy")))


def _root(root: Any) -> str:
    if root and not (isinstance(root, str) and re.fullmatch(r"https?://[^\s/?#\"'<>\\]+/?", root)):
        raise SpecError(f"root: {shown(root)} is not like 'https://example.com'")
    return root.rstrip("/") if root else ""


def preset(name: str, app: App | None = None, **options: Any) -> Img:
    """Return the Img of a preset in the settings, with some options changed.

    Raises:
        SpecError: there is no such preset.
    """
    chosen = app or current_app()
    presets = chosen.settings.presets
    if name not in presets:
        raise SpecError(f"preset: no preset {shown(name)}{did_you_mean(str(name), presets)}")
    return Img(app=app, **laid_over(presets[name], options))
