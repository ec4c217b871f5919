"""What of a file an HTTP request is to get: all of it, a part, or word that the browser has it already. Pure.

Rules: https://www.rfc-editor.org/rfc/rfc9110#section-13 (conditions) and section 14 (ranges). Of several ranges in one
request none is honoured, which the rules allow: nobody asks for a picture like that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_RANGE: Final = re.compile(r"bytes=(?:(?P<start>\d{1,18})-(?P<last>\d{0,18})|-(?P<suffix>\d{1,18}))", re.ASCII)


class Answer(NamedTuple):
    """How a request for a file is answered.

    Args:
        status: 200, 206, 304 or 416.
        headers: those that follow from it.
        start: of what is sent, bytes from the file's beginning.
        stop: where that ends; ``start`` = nothing is sent.
    """

    status: int
    headers: Mapping[str, str]
    start: int = 0
    stop: int = 0


def answer(asked: Mapping[str, str], size: int, etag: str) -> Answer:
    """Return how a GET or HEAD request for a file is answered.

    Args:
        asked: the request's headers; names in lower case. Of a HEAD request without ``range``, which means nothing
            there.
        size: of the file, bytes.
        etag: without quotes.
    """
    headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
    if _has_it(asked.get("if-none-match", ""), etag):
        return Answer(304, headers)
    part = _part(asked.get("range", ""), size) if _is_same(asked.get("if-range"), etag) else None
    if part is None:
        return Answer(200, {**headers, "Content-Length": str(size)}, 0, size)
    start, stop = part
    if start >= stop:
        said = {"Content-Length": "0", "Content-Range": f"bytes */{size}", "Cache-Control": "no-store"}
        return Answer(416, headers | said)
    said = {"Content-Length": str(stop - start), "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Answer(206, headers | said, start, stop)


def _has_it(tags: str, etag: str) -> bool:
    return any(tag.strip().removeprefix("W/") in (f'"{etag}"', "*") for tag in tags.split(","))


def _is_same(condition: str | None, etag: str) -> bool:
    """Return whether a part continues what the browser has of the file; dates are not believed."""
    return condition is None or condition.strip() == f'"{etag}"'


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """Return start and stop of the part that is asked for, an empty one if there is none; None = all is to be sent."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None:
        return None
    if found["suffix"]:
        return max(0, size - int(found["suffix"])), size
    start = int(found["start"])
    stop = min(size, int(found["last"]) + 1) if found["last"] else size
    return None if found["last"] and int(found["last"]) < start else (start, stop)
