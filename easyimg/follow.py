"""Following the files of a site's models: one was stored under a name that a row holds, or no row holds it any more.

Adapters call this after the commit. Whether a name that was used before means another picture now is told by content,
never by name or time: storages that overwrite, names that are free again, and rows that are copied look alike.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, NamedTuple

from easyimg.build import content_version
from easyimg.errors import EasyImgError, UnsupportedFormat
from easyimg.joined import after_commit
from easyimg.logs import event
from easyimg.plan import Plan
from easyimg.ports import App
from easyimg.signals import file_post_save, queued_img
from easyimg.source import Source, SourceInfo
from easyimg.upload import check_picture
from easyimg.variant import Priority, SourceRow, Wanted

_DOCUMENTS: Final = (None, "pdf", "eps")
"""What ``formats.sniff`` says of content that nobody means to be a picture on a page."""


class _Seen(NamedTuple):
    """What was found in a stored file: its content, what its header says, and whether it is a picture at all."""

    data: bytes | None = None
    info: SourceInfo | None = None
    is_picture: bool = True


def file_stored(app: App, source: Source, plans: Iterable[Plan] = (), *, only_known: bool = False) -> SourceInfo | None:
    """Record what a stored file's header says, queue what some plans mean, and return the facts.

    Another picture than the one its rows know starts all its variants over. What is no picture is left alone; one that
    is refused or cannot be read is queued all the same, so that its rows say why. Safe to repeat.

    Args:
        only_known: read nothing unless the source has a row; for files that need not be pictures.

    Raises:
        ConfigError: there is no such storage, or this process cannot read pictures.
        MetadataError: the rows could not be written.
    """
    if source.is_svg:
        return None
    row = app.metadata.source_rows([source.id]).get(source.id)
    if only_known and row is None:
        return None
    seen = _look(app, source)
    is_another = _record(app, source, row, seen)
    new = _queue(app, source, plans) if seen.is_picture else []
    if is_another and not new:
        after_commit(app.metadata, lambda: _announce(app, source))
    after_commit(app.metadata, lambda: file_post_save.send_robust(app, source=source, info=seen.info))
    return seen.info


def _look(app: App, source: Source) -> _Seen:
    data = None
    try:
        data = app.storage(source.storage).read(source.name, app.settings.max_bytes)
        return _Seen(data, check_picture(app, data))
    except UnsupportedFormat as exc:
        return _Seen(data, None, is_picture=exc.found not in _DOCUMENTS)
    except EasyImgError as exc:
        event(logging.WARNING, "a stored file cannot be used", source=source, kind=exc.kind, error=exc)
        return _Seen(data)


def _record(app: App, source: Source, row: SourceRow | None, seen: _Seen) -> bool:
    """Record facts and content; return whether all variants were started over, since the content is another."""
    if seen.data is None:
        return False
    version = content_version(seen.data, row.focus if row else None)
    if row is not None:
        if row.version == version:
            return False
        app.metadata.replace(source, seen.info)
        app.cache.discard(source.id)
    if seen.info is not None:
        app.metadata.record_info(source, seen.info, version)
    return row is not None


def _queue(app: App, source: Source, plans: Iterable[Plan]) -> list[str]:
    specs: dict[str, str] = {}
    for plan in plans:
        specs |= plan.wanted(source)
    return app.outbox.order([Wanted(source, specs, priority=Priority.BACKGROUND)], wait=None) if specs else []


def _announce(app: App, source: Source) -> None:
    """Say that variants were queued again, as if they were new."""
    queued_img.send_robust(app, source=source, source_id=source.id)
    app.queue.ring([source.id])
