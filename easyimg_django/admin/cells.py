"""What both lists show and search alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from easyimg.source import Source
from easyimg_django.admin.site import site_app
from easyimg_django.pictures import Pictures


def is_key(term: str) -> bool:
    """Return whether a search means one row by its primary key."""
    return re.fullmatch(r"[0-9a-f]{32}", term) is not None


def vendor(queryset: Any) -> str:
    """Return what kind of database a queryset asks."""
    return str(connections[queryset.db].vendor)


def add_pictures(rows: Sequence[Any], sources: Iterable[Source]) -> None:
    """Give each row the picture of its source; one query for all."""
    app = site_app()
    if app is None:
        return
    pictures, known = Pictures(app), list(sources)
    for source in known:
        pictures.add(source)
    for row, source in zip(rows, known, strict=True):
        row.easyimg_picture = pictures.show(source)


def picture(row: Any) -> Any:
    """Return a row's picture, or a word in its place."""
    if row.easyimg_picture is None:
        return format_html('<span class="easyimg-thumbnail easyimg-absent">{}</span>', _("no picture"))
    return format_html('<span class="easyimg-thumbnail">{}</span>', row.easyimg_picture.html())


def size(width: int, height: int, rest: str) -> Any:
    """Return a size in pixels and what follows, in this order in every language."""
    return format_html('<bdi dir="ltr">{} × {} {}</bdi>', str(width), str(height), rest)


def link(alias: str, name: str, text: str = "") -> Any:
    """Return a file's name (or a text), a link to it where it has a URL."""
    app = site_app()
    url = Pictures(app).url(alias, name) if app is not None and name else None
    return format_html('<a href="{}">{}</a>', url, text or name) if url else text or name


def queued_text(count: int) -> str:
    """Return how many variants were queued."""
    if not count:
        return str(_("There was nothing to queue again."))
    text = ngettext("%(count)d variant is queued again.", "%(count)d variants are queued again.", count)
    return str(text % {"count": count})
