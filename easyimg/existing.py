"""Queueing what lies in a storage already: pictures uploaded before easyimg, or before a new size was wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from easyimg.formats import ALIASES, FORMATS
from easyimg.plan import Plan
from easyimg.ports import App
from easyimg.source import Source
from easyimg.variant import Priority, Wanted

_CHUNK = 500
"""Sources per insert: a few thousand rows, well below any database's limit of parameters."""


def find_pictures(app: App, where: Sequence[str], storage: str = "default") -> list[Source]:
    """Return the pictures of a storage that are named, or lie below a named folder; each once, in order.

    Pictures are told by their extension here, and by their content when they are built: opening every file of a large
    storage would take hours. Variants, which may lie in the same storage, are left out.

    Raises:
        StorageError: the storage cannot answer.
    """
    found: dict[str, None] = {}
    for name in where:
        found.update(dict.fromkeys(_pictures(app, name, storage)))
    return [Source(storage, name) for name in found]


def queue_pictures(
    app: App, plan: Plan, sources: Iterable[Source], progress: Callable[[int], None] = lambda steps: None
) -> int:
    """Queue a plan's variants of existing pictures; return how many pictures got something new. Safe to repeat.

    They are built behind what pages wait for. Art direction that shows another source is left to the pages; an SVG is
    shown as it is.

    Args:
        progress: called with the number of pictures looked at since the last call.

    Raises:
        MetadataError: the rows could not be written; those of earlier chunks are.
    """
    new = 0
    rest = iter(sources)
    while chunk := list(islice(rest, _CHUNK)):
        wanted = [Wanted(s, plan.wanted(s), priority=Priority.BACKGROUND) for s in chunk if not s.is_svg]
        new += len(app.outbox.insist(wanted))
        progress(len(chunk))
    return new


def _pictures(app: App, name: str, storage: str) -> Iterator[str]:
    place = app.storage(storage)
    folder = name.rstrip("/")
    if folder == name != "" and place.size(name) is not None:
        yield name
        return
    settings = app.settings
    variants = f"{settings.variants_prefix}/" if settings.variants == storage and settings.variants_prefix else None
    for file in place.list(folder):
        if claimed_format(file.name) in settings.formats and not (variants and file.name.startswith(variants)):
            yield file.name


def claimed_format(name: str) -> str:
    """Return the format that a name's extension claims; ``""`` = none that is known."""
    extension = name.rpartition(".")[2].lower()
    claimed = ALIASES.get(extension, extension)
    return next((f.name for f in FORMATS.values() if claimed in (f.name, f.extension)), "")
