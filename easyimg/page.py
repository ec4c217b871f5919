"""Page: one running render of a template. Tokens stand for its images until all of them are known.

A token is ``<open> nonce "<" number <close>``: two noncharacters, a random number of this render, and the
image's place in it. The ``<`` inside tells what happened to the text around it: where a plain string with a token was
escaped, it reads ``&lt;``, and the image's HTML is escaped as often.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from markupsafe import Markup, escape

from easyimg.attributes import TOKEN_CLOSE, TOKEN_OPEN
from easyimg.batch import ImageBatch
from easyimg.bound import BoundImg, Tag, noted_as, remembered_html
from easyimg.errors import ConfigError, EasyImgError
from easyimg.plan import Plan
from easyimg.ports import App
from easyimg.signals import page_rendered
from easyimg.source import Source

logger = logging.getLogger("easyimg")

T = TypeVar("T")
Text = TypeVar("Text", bound=str)

_TOKEN = re.compile(f"{TOKEN_OPEN}(?:([0-9]+)(<|&(?:amp;)*lt;)([0-9]{{1,9}}){TOKEN_CLOSE})?|{TOKEN_CLOSE}")
_NOTHING = Markup("")


class Page:
    """One render from its beginning to its end: the images it made so far, and the batches they load with.

    Belongs to one thread or task. A render inside another one is a page of its own that knows its ``parent``, so that
    text handed from one to the other keeps its images. ``made`` counts what it had to do with images, for those who
    want to know whether anything was done. ``is_eager``: it makes no tokens now. ``ways`` is for ``img()``: what it
    found out for earlier images.
    """

    __slots__ = (
        "_app", "_batches", "_prefix", "closed", "images", "is_async", "is_eager", "made", "nonce", "parent", "ways",
    )  # fmt: skip

    def __init__(self, app: App | None, *, is_async: bool = False) -> None:
        self._app = app
        self._batches: dict[int, PageBatch] = {}
        self.is_eager = False
        self.images: list[BoundImg] = []
        self.nonce = str(secrets.randbits(64))
        self._prefix = f"{TOKEN_OPEN}{self.nonce}<"
        self.closed = False
        self.is_async = is_async
        self.made = 0
        self.parent = active_page()
        self.ways: dict[Any, Way] = {}

    @property
    def waiting(self) -> int:
        """How many tokens were handed out."""
        return len(self.images)

    def batch_for(self, app: App | None) -> PageBatch:
        """Return the batch in which this page's images of that app load."""
        batch = self._batches.get(id(app))
        if batch is None:
            batch = self._batches[id(app)] = PageBatch(app)
        return batch

    def show(self, bound: BoundImg) -> Markup:
        """Return the token of an image; its HTML where nothing may be left open, or need not be."""
        if bound.source is None:
            return _NOTHING
        if isinstance(bound, PageImg) and not bound.has_batch and not bound.build_choice and self.recalls(bound.app):
            batch = self.batch_for(bound.app)
            html = remembered_html(batch.app, bound.plan, bound.source, bound.tag, bound.tag.alt)
            if html is not None:
                batch.remembered += 1
                self.made += 1
                return html
        bound = self._own(bound)
        if self.is_eager:
            self.made += 1
            return bound.as_html()
        return Markup(self._token(bound))  # noqa: S704 - all of our own making

    def way(self, function: Any, app: App | None, plan: Plan, tag: Tag, start: Any) -> Way:
        """Return the short way from any source to its image with this plan and tag."""
        batch = self.batch_for(app)
        recall = batch.app.cache.made if batch.recalls else None
        return Way(function, app, plan, tag, noted_as(plan, tag), batch, recall, start)

    def token(self, way: Way, source: Source, alt: str) -> str:
        """Return the token of a new image."""
        bound = PageImg(way.plan, source, Tag(alt, *way.tag[1:]))  # half the time of _replace
        bound.app = way.app
        bound.join(way.batch)
        return self._token(bound)

    def _token(self, bound: BoundImg) -> str:
        self.made += 1
        images = self.images
        images.append(bound)
        return f"{self._prefix}{len(images) - 1}{TOKEN_CLOSE}"

    def recalls(self, app: App | None) -> bool:
        """Return whether anything of an app was remembered when this page showed its first image."""
        return not self.is_eager and self.batch_for(app).recalls

    def finished(self, bound: BoundImg) -> Markup:
        """Return the HTML of an image now, for where a token could be taken for text."""
        self.made += 1
        return _html(self._own(bound))

    def _own(self, bound: BoundImg) -> BoundImg:
        """Return the image in a batch of this page, unless it is in one of its author's."""
        if isinstance(bound, PageImg):
            batch = self.batch_for(bound.app)
            if not bound.has_batch:
                bound.join(batch)
            elif isinstance(bound.batch, PageBatch) and bound.batch is not batch:
                return bound.copy(batch)  # kept from an earlier page, whose answers are old
        elif not bound.has_batch:
            # A copy: the original may be shared by many pages, and must not keep the answers of one.
            return BoundImg(bound.plan, bound.source, bound.tag, self.batch_for(self._app), bound.build_choice)
        return bound

    @contextmanager
    def active(self) -> Iterator[None]:
        """Be the page that images join. Never held across a yield to the caller of a generator."""
        token = _active.set(self)
        try:
            yield
        finally:
            # A coroutine that is thrown away is closed in another context, where there is nothing to take back.
            with suppress(ValueError):
                _active.reset(token)

    @contextmanager
    def eager(self) -> Iterator[None]:
        """Make no tokens for a while: what is made now outlives the page."""
        before, self.is_eager = self.is_eager, True
        try:
            yield
        finally:
            self.is_eager = before

    def resolve(self, text: Text) -> Text:
        """Return the text with the HTML of its images; asks the metadata store for those not known yet, in one query.

        Tokens of other pages, and our characters from anywhere else, are removed and logged (raised where strict).
        """
        if TOKEN_OPEN not in text and TOKEN_CLOSE not in text:
            return text
        foreign: list[str] = []
        resolved = _TOKEN.sub(functools.partial(self._replace, foreign), str.__str__(text))
        if foreign:
            self._report(len(foreign))
        return type(text)(resolved)

    async def aresolve(self, text: Text) -> Text:
        """Do the same in a thread, so that an event loop is not held up."""
        if TOKEN_OPEN not in text and TOKEN_CLOSE not in text:
            return text
        return await in_thread(self.resolve, text)

    def close(self) -> None:
        """End: no image joins any more, and who listens is told what this page showed."""
        self.closed = True
        if page_rendered.receivers:
            for batch in self._batches.values():
                if len(batch):
                    page_rendered.send_robust(batch.app, batch=batch)

    def _replace(self, foreign: list[str], match: re.Match[str]) -> str:
        nonce, mark, number = match.groups()
        page = self if nonce == self.nonce else self._named(nonce)
        if page is None or int(number) >= len(page.images):
            foreign.append(match[0])
            return ""
        html: str = _html(page.images[int(number)])
        if mark == "<":
            return html
        for _ in range(mark.count(";")):
            html = str.__str__(escape(str.__str__(html)))
        return html

    def _named(self, nonce: str | None) -> Page | None:
        """Return the page of a nonce: one around this one."""
        page = self.parent
        while page is not None and page.nonce != nonce:
            page = page.parent
        return page

    def _report(self, count: int) -> None:
        message = (
            f"{count} image tokens in a page are not of its own making and were removed: text with the characters "
            f"U+{ord(TOKEN_OPEN):X} or U+{ord(TOKEN_CLOSE):X}, or HTML kept from another render before it was finished"
        )
        if self._is_strict():
            raise EasyImgError(message)
        logger.error("%s", message)

    def _is_strict(self) -> bool:
        try:
            return self.batch_for(self._app).app.settings.strict
        except ConfigError:  # a page without images needs no EasyImg
            return False


def _html(bound: BoundImg) -> Markup:
    """Return an image's HTML; none where something failed that nobody foresaw, rather than no page. Strict raises."""
    try:
        return bound.as_html()
    except EasyImgError:
        raise  # only where strict, or where there is no EasyImg
    except Exception:
        if bound.batch.app.settings.strict:
            raise
        logger.exception("image %s is left out of a page", bound.source)
        return _NOTHING


class Way(NamedTuple):
    """What is asked for one set of options on one page; found once, then used for each of its images.

    ``function`` is the ``img`` that was called. ``recall`` looks up what an earlier page noted; None = nothing is
    remembered. ``start`` is kept, so that its id stays its own.
    """

    function: Any
    app: App | None
    plan: Plan
    tag: Tag
    noted_as: tuple[Any, ...]
    batch: PageBatch
    recall: Callable[[str, Any], Any] | None
    start: Any


_active: ContextVar[Page | None] = ContextVar("easyimg_page", default=None)


def active_page() -> Page | None:
    """Return the render that is running in this context."""
    page = _active.get()
    return None if page is None or page.closed else page


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a thread; directly under an event loop that is not asyncio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function(*args)
    return await asyncio.to_thread(function, *args)


class PageBatch(ImageBatch):
    """A batch that was chosen by a page, not by an author: its images may move to the next page's.

    ``remembered`` = images that were shown without joining, as an earlier page had shown them.
    """

    def __init__(self, app: App | None) -> None:
        super().__init__(app)
        self.remembered = 0
        self._recalls: bool | None = None

    @property
    def recalls(self) -> bool:
        """Whether the process remembered anything when this was asked first."""
        if self._recalls is None:
            self._recalls = len(self.app.cache) > 0
        return self._recalls

    def __len__(self) -> int:
        return super().__len__() + self.remembered


class PageImg(BoundImg):
    """What ``img()`` gives: bound to no batch until it is printed or asked; then it joins the running page's.

    ``app`` = the EasyImg it belongs to.
    """

    __slots__ = ("app",)

    app: App | None

    @property
    def batch(self) -> ImageBatch:
        """The batch this image loads with: the running page's, else one of its own."""
        if self._batch is None:
            page = active_page()
            self.join(PageBatch(self.app) if page is None else page.batch_for(self.app))
        assert self._batch is not None
        return self._batch

    def copy(self, batch: ImageBatch) -> PageImg:
        """Return the same image in another batch."""
        made = PageImg(self.plan, self.source, self.tag, None, self.build_choice)
        made.app = self.app
        made.join(batch)
        return made
