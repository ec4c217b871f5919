"""Which storage names are safe: relative, ``/``-separated, the same file on every system, never outside a root."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from easyimg.errors import UnsafeName, shown

MAX_BYTES: Final = 1024
"""Longest name in UTF-8 (object keys of S3 and others)."""

MAX_PART_BYTES: Final = 255
"""Longest part between slashes in UTF-8 (file systems)."""

_DEVICE = r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])"
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: reserved with any extension
_IS_DEVICE = re.compile(rf"{_DEVICE} *(?:\..*)?", re.IGNORECASE | re.DOTALL)
_PART = rf"(?!{_DEVICE}(?:[./]|\Z))[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_PLAIN = re.compile(rf"{_PART}(?:/{_PART})*", re.IGNORECASE | re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|.*(?:://|::)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Decoded once too often somewhere, these would be dots, slashes, backslashes or controls; %25 is a percent sign.
_ENCODED = re.compile(r"%(?:25)*(?:2e|2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)


@lru_cache(maxsize=16_384)  # pages show the same files again and again
def is_plain(name: str) -> bool:
    """Return whether a name is safe and needs no percent-encoding: one look at the commonest kind, under 1 us."""
    return len(name) <= MAX_PART_BYTES and _PLAIN.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Return the name unchanged if it is safe.

    Raises:
        UnsafeName: with the reason. Nothing was read or written.
    """
    # Past the cache: a worker hardly meets a name twice, and would fill it with thousands that nobody asks for again.
    if not (isinstance(name, str) and is_plain.__wrapped__(name)):
        reason = _reason(name)
        if reason:
            raise UnsafeName(
                f"storage name {shown(name)} {reason}; names are relative and '/'-separated, without '..' and controls"
            )
    return name


def _reason(name: str) -> str:
    """Return what is wrong with a name as a whole, ``""`` if nothing."""
    if not isinstance(name, str):
        return "is not a string"
    if not name:
        return "is empty"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate)"
    if size > MAX_BYTES:
        return f"has {size} bytes, more than {MAX_BYTES}"
    if _SCHEME.match(name):
        return "looks like a URL or a drive; URLs are not names"
    return _reason_of_text(name) or next(filter(None, map(_reason_of_part, name.split("/"))), "")


def _reason_of_text(name: str) -> str:
    if name.startswith("/"):
        return "is absolute"
    if "\\" in name:
        return "holds a backslash"
    if _CONTROL.search(name):
        return "holds a control character"
    return "holds a percent-encoded dot, slash or control" if _ENCODED.search(name) else ""


def _reason_of_part(part: str) -> str:
    if part in ("", ".", ".."):
        return f"has the part {part!r}"
    if part[-1] in ". ":
        return "has a part that ends with a dot or a space"
    if len(part.encode()) > MAX_PART_BYTES:
        return f"has a part of more than {MAX_PART_BYTES} bytes"
    return "is the name of a device on Windows" if _IS_DEVICE.fullmatch(part) else ""
