"""Pictures of sources for people who look after them: the admin's lists and pages, and the form widget.

Each is one file of its own, ordered like any other variant. What is not built is not waited for, and nothing that is
wrong with a source, a storage or the rows breaks the page.
"""

from __future__ import annotations

import logging
from typing import Any, Final, NamedTuple

from django.utils.html import format_html
from django.utils.safestring import SafeString

from easyimg.batch import ImageBatch
from easyimg.bound import BoundImg
from easyimg.errors import EasyImgError
from easyimg.img import Img
from easyimg.markup import Parts, image_parts
from easyimg.ports import App
from easyimg.source import Source

logger = logging.getLogger("easyimg")

THUMBNAIL: Final = Img(width=240, ratio="square", crop=False, quality=70)
"""The whole picture in a square, shown half as large, so that it is sharp on every screen."""

LARGE: Final = Img(width=1200, ratio="square", crop=False)
"""The picture that the focus point is chosen on."""

_FORMAT: Final = "webp"


class Shown(NamedTuple):
    """A picture that can be shown now: its URL and its size in CSS pixels (0 = unknown)."""

    url: str
    width: int
    height: int

    def html(self, alt: str = "") -> SafeString:
        """Return the ``<img>``."""
        size = format_html(' width="{}" height="{}"', str(self.width), str(self.height)) if self.width else ""
        return format_html('<img src="{}" alt="{}"{} loading="lazy" decoding="async">', self.url, alt, size)


class Pictures:
    """Pictures of the sources of one page: asked for in one query when the first is shown.

    Args:
        app: the EasyImg.
        img: THUMBNAIL or LARGE.
        stand_in: while a picture is not built, the original itself is shown, where the settings let it
            (``pending="source"``). For pages with few pictures: originals are large.
    """

    def __init__(self, app: App, img: Img = THUMBNAIL, *, stand_in: bool = False) -> None:
        self._app = app
        self._img = img
        self._pending = app.settings.pending if stand_in else "placeholder"
        self._batch = ImageBatch(app)
        self._bound: dict[Source, BoundImg] = {}

    def add(self, source: Source) -> None:
        """Take a source in; one in a storage that the settings do not have any more has no picture."""
        if source not in self._bound and source.storage in self._app.settings.storages:
            self._bound[source] = self._img.url(source, format=_FORMAT, batch=self._batch)

    def show(self, source: Source) -> Shown | None:
        """Return a source's picture; None = there is none now."""
        bound = self._bound.get(source)
        try:
            parts = self._parts(bound, source) if bound is not None else None
        except EasyImgError:
            logger.exception("the picture of %s is left out", source)
            return None
        if parts is None or parts.stand_in == "placeholder":
            return None
        return Shown(parts.src, round(parts.width / 2), round(parts.height / 2))

    def url(self, alias: str, name: str) -> str | None:
        """Return a file's URL; None = its storage has none, or is not there any more."""
        try:
            return self._batch.url(alias, name)
        except EasyImgError:  # a storage that the settings have no more
            return None

    def _parts(self, bound: BoundImg, source: Source) -> Parts:
        record = self._batch.record(source)
        url_of = self._batch.url
        return image_parts(
            bound.plan, bound.keys, source, record, url_of, pending=self._pending, strict_csp=True, lazy=True
        )


def picture_of(app: App, source: Any, img: Img = THUMBNAIL) -> Shown | None:
    """Return the picture of one source, or the original itself in its place; None = neither can be shown."""
    pictures = Pictures(app, img, stand_in=True)
    pictures.add(source)
    return pictures.show(source)
