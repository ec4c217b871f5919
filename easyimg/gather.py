"""Putting bytes together that come in parts, without holding them twice."""

from __future__ import annotations

import io
from typing import Final

_MOST: Final = 64 << 20
"""Bytes that are made room for before the first of them has come: whoever announces a size may be wrong."""


class Gathered:
    """Bytes that come in parts. Joining a list of parts holds all of them twice for a moment; this does not.

    Args:
        expected: how many will come, if that is known; room for more is made when they come, an eighth too much.
    """

    def __init__(self, expected: int = 0) -> None:
        self._buffer = io.BytesIO()
        if expected > 0:
            self._buffer.seek(min(expected, _MOST) - 1)
            self._buffer.write(b"\0")
            self._buffer.seek(0)

    @property
    def size(self) -> int:
        """How many have come."""
        return self._buffer.tell()

    def add(self, part: bytes) -> None:
        """Take the next part."""
        self._buffer.write(part)

    def whole(self) -> bytes:
        """Return all that came; nothing can be added afterwards. CPython's BytesIO gives away what it has, uncopied."""
        self._buffer.truncate()
        data = self._buffer.getvalue()
        self._buffer.close()
        return data
