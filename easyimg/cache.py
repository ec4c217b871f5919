"""RowCache: built rows remembered in this process for a few seconds, so that a warm page asks no query."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from easyimg._fork import after_fork
from easyimg.variant import SourceRecord

if sys.platform == "linux":  # where monotonic() stands still while the machine sleeps
    _always: Callable[[], float] = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
else:
    _always = time.monotonic

_CHANGED: Final = 1024
"""How many sources are known to have changed lately. Of others the oldest of these moments is assumed."""


class _Entry(NamedTuple):
    expires: float
    keys: frozenset[str]
    record: SourceRecord
    memo: dict[Any, Any]

    def adds_to(self, newer: _Entry) -> bool:
        """Return whether it knows something of the same generation that the newer one does not."""
        return self.record.generation == newer.record.generation and not self.keys <= newer.keys


class RowCache:
    """A bounded map of source id to a record whose asked variants need no second look. Thread-safe.

    Args:
        seconds: how long an entry is used; 0 turns the cache off.
        size: how many sources are kept; the least recently stored go first.
        clock: seconds, monotonic, also while the machine sleeps: the signed URLs in what is remembered go on ageing.
    """

    def __init__(self, seconds: float, size: int, clock: Callable[[], float] = _always) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._changes = 0
        self._changed: OrderedDict[str, int] = OrderedDict()  # source id -> its last change; older ones:
        self._forgotten = 0
        self._lock = threading.Lock()
        after_fork(self._forked)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, source_id: str, keys: Collection[str]) -> SourceRecord | None:
        """Return the record if it is fresh and answers for all these keys."""
        entry = self._entries.get(source_id)
        if entry is None or entry.expires < self._clock() or not entry.keys.issuperset(keys):
            return None
        return entry.record

    def memo(self, record: SourceRecord) -> dict[Any, Any] | None:
        """Return the place for what was made of this very record; it is forgotten with it. None = not remembered."""
        entry = self._entries.get(record.id)
        return entry.memo if entry is not None and entry.record is record else None

    def recall(self, source_id: str, keys: Collection[str]) -> dict[Any, Any] | None:
        """Return what was made of a record that is fresh and answers for all these keys; None where there is none."""
        entry = self._entries.get(source_id)
        if entry is None or entry.expires < self._clock() or not entry.keys.issuperset(keys):
            return None
        return entry.memo

    def made(self, source_id: str, what: Any) -> Any:
        """Return what was noted in the memo of a fresh record under a name; None where there is no such thing.

        Whatever is in a memo was made of a record that answered for all its keys.
        """
        entry = self._entries.get(source_id)
        return None if entry is None or entry.expires < self._clock() else entry.memo.get(what)

    def moment(self) -> int:
        """Return when it is now, counted in changes: taken before rows are read, and given to ``put`` with them."""
        return self._changes

    def put(self, keys: Collection[str], record: SourceRecord, since: int | None = None) -> None:
        """Remember a record that answers for these keys, together with what is known already and still fresh.

        Not if the source was discarded after the moment ``since``: the record may be from before the change. None = it
        was not read, or just now.
        """
        if not self._seconds or not self._size:
            return
        now = self._clock()
        with self._lock:
            if since is not None and since < self._changed.get(record.id, self._forgotten):
                return
            old = self._entries.pop(record.id, None)
            entry = _Entry(now + self._seconds, frozenset(keys), record, {})
            if old is not None and old.expires >= now and old.adds_to(entry):
                keys = entry.keys | old.keys
                if old.record is record:  # what was made of it stays true
                    entry = _Entry(old.expires, keys, record, old.memo)
                else:
                    merged = record._replace(variants={**old.record.variants, **record.variants})
                    entry = _Entry(old.expires, keys, merged, {})
            self._entries[record.id] = entry
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def discard(self, source_id: str) -> None:
        """Forget a source: it was replaced, or one of its variants changed."""
        with self._lock:
            self._entries.pop(source_id, None)
            self._changes += 1
            self._changed.pop(source_id, None)
            self._changed[source_id] = self._changes
            if len(self._changed) > _CHANGED:
                self._forgotten = self._changed.popitem(last=False)[1]

    def _forked(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._changed.clear()
            self._changes += 1
            self._forgotten = self._changes
