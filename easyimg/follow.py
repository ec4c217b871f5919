"""Following the files of a site's models: one was stored under a name that a row holds, or no row holds it any more.

Adapters call this after the commit. Whether a name that was used before means another picture now is told by content,
never by name or time: storages that overwrite, names that are free again, and rows that are copied look alike.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from easyimg.build import content_version
from easyimg.clean import make_good
from easyimg.errors import ConfigError, EasyImgError, StorageError, UnsupportedFormat
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


def names_dropped(app: App, sources: Sequence[Source]) -> int:
    """Remove the rows and the variants of sources that nothing names any more; return how many had a row.

    Their originals are not touched. A variant that is ordered again in the same moment is queued, not lost.

    Raises:
        MetadataError: the rows could not be removed; their files are as they were.
    """
    rows = list(app.metadata.source_rows([source.id for source in sources]).values())
    files = {row.id: _files(app, row) for row in rows}
    gone = app.metadata.remove(rows)
    for id_ in gone:
        app.cache.discard(id_)
        for alias, keys in files[id_].items():
            _delete(app, alias, keys)
    return len(gone)


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


def _files(app: App, row: SourceRow) -> dict[str, dict[str, str]]:
    """Return the files of a source's variants: alias -> name -> key."""
    found: dict[str, dict[str, str]] = {}
    detail = app.metadata.inspect(row.source)
    for variant in detail.variants if detail else ():
        if variant.file_name:
            found.setdefault(variant.storage, {})[variant.file_name] = variant.key
    return found


def _delete(app: App, alias: str, keys: Mapping[str, str]) -> None:
    """Delete files by name -> key; ``easyimg clean`` finds what cannot be deleted now."""
    try:
        storage = app.storage(alias)
        for name in keys:
            storage.delete(name)
        make_good(app, storage, keys)
    except (StorageError, ConfigError) as exc:  # ConfigError: the settings have no such storage any more
        event(logging.WARNING, "files cannot be removed", storage=alias, kind=exc.kind, error=exc)
