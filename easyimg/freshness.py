"""Which answers still wait for files, and how long those may be kept: their caching headers, cut short. Pure.

A page cache, a CDN or a browser that kept such a page as long as the site allows would go on showing what stands in
long after the files are there.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

from easyimg.errors import ConfigError, shown


class Batch(Protocol):
    """What is asked of a batch."""

    @property
    def is_owed(self) -> bool:
        """Whether any image in it waits for a file, by what was loaded."""
        ...


class Shown:
    """What one answer shows that waited when its rows were asked for. Looks at it again when asked: it may be built."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []

    def note(self, batch: Batch) -> None:
        """Take in a batch that was loaded just now."""
        if batch.is_owed and batch not in self._batches:
            self._batches.append(batch)

    @property
    def waits(self) -> bool:
        """Whether any of it waits for a file; asks nothing."""
        return any(batch.is_owed for batch in self._batches)


_FOR_CDNS: Final = ("CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control")
"""Headers with the directives of ``Cache-Control`` for those in between alone (RFC 9213, Edge Architecture)."""

_DIRECTIVE: Final = re.compile(r'\s*([^=,"\s]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^,]*))?(?:,|$)')
_AGES: Final = frozenset({"max-age", "s-maxage", "stale-while-revalidate"})
_SAYS_HOW_LONG: Final = frozenset({"max-age", "s-maxage", "no-cache", "no-store"})


class Headers(Protocol):
    """What a framework's headers can be asked; names in any case."""

    def __contains__(self, name: str, /) -> bool:
        """Return whether a header is there."""
        ...

    def __getitem__(self, name: str, /) -> str:
        """Return its value."""
        ...


def check_age(seconds: Any, setting: str) -> None:
    """Refuse a time for which pages that wait may be kept; None is allowed: their headers stay as they are.

    Args:
        seconds: the time.
        setting: what the site calls it, for the message.

    Raises:
        ConfigError: it is out of range.
    """
    is_number = isinstance(seconds, int) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and 0 <= seconds <= 86_400):
        raise ConfigError(f"{setting}: {shown(seconds)} is not in 0..86400 seconds, and not None")


def brief_headers(headers: Headers, seconds: int) -> dict[str, str | None]:
    """Return what to change in a response's headers so that nobody keeps it longer; None = remove the header.

    Where the site says nothing about caching, everybody is to ask again each time (``no-cache``). Validators go as
    well: the page will change, and what they were made from, such as a date of the site's own, need not.

    Args:
        headers: of the response.
        seconds: how long the page may be kept at most; 0 = never without asking.
    """
    said = headers["Cache-Control"] if "Cache-Control" in headers else ""  # noqa: SIM401 - not all have get()
    changes: dict[str, str | None] = {"Cache-Control": shorten(said, seconds)}
    for name in _FOR_CDNS:
        if name in headers:
            changes[name] = shorten(headers[name], seconds)
    if "X-Accel-Expires" in headers:  # nginx: seconds, or @ and a time
        text = headers["X-Accel-Expires"].strip()
        changes["X-Accel-Expires"] = str(min(int(text), seconds) if text.isdecimal() else seconds)
    return changes | {name: None for name in ("Expires", "ETag", "Last-Modified") if name in headers}


def shorten(directives: str, seconds: int) -> str:
    """Return the value of a ``Cache-Control`` header that lets nobody keep a page for longer.

    Everything else in it stays: what was private or not to be stored is so still.
    """
    kept, names = [], set()
    for match in _DIRECTIVE.finditer(directives):
        name, value = match[1].lower(), match[2]
        names.add(name)
        if name in _AGES:
            kept.append(f"{name}={_at_most(value, seconds)}")
        elif name != "immutable":
            kept.append(match[1] if value is None else f"{match[1]}={value.strip()}")
    if not kept and not names:
        return "no-cache"
    if not names & _SAYS_HOW_LONG:
        kept.append(f"max-age={seconds}")
    return ", ".join(kept)


def _at_most(value: str | None, seconds: int) -> int:
    """Return a number of seconds; one that cannot be read is taken for too long."""
    text = (value or "").strip().strip('"')
    return min(int(text), seconds) if text.isascii() and text.isdecimal() else seconds
