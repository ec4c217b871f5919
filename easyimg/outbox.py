"""Outbox: new rows on their way from a page to the metadata store.

Queueing must never hold up or break the page that noticed something missing. It waits a moment for a lock, tries once,
and keeps what could not be written in a bounded list that a background thread sends later. The page's next view would
notice the same things again, so what is dropped when the list is full costs latency, never a picture.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from easyimg._fork import after_fork
from easyimg.errors import MetadataError, shown
from easyimg.joined import after_commit, rest
from easyimg.logs import event
from easyimg.ports import MetadataStore
from easyimg.variant import Wanted

PAGE_WAIT = 0.05
"""Seconds a page waits for a lock."""


class Outbox:
    """Orders new variants, at once or a little later. Thread-safe.

    Args:
        metadata: gives the store; asked each time, so that making an Outbox connects nothing.
        on_queued: called after the commit with the ids of sources that got something new.
        size: how many sources are kept at most while the store cannot be written.
        every: seconds between two attempts to send what is kept.
    """

    def __init__(
        self,
        metadata: Callable[[], MetadataStore],
        on_queued: Callable[[Sequence[Wanted], Sequence[str]], None],
        *,
        size: int = 10_000,
        every: float = 1.0,
    ) -> None:
        self._metadata = metadata
        self._on_queued = on_queued
        self._size = size
        self._every = every
        self._kept: dict[str, Wanted] = {}
        self._lock = threading.Lock()
        self._sending = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        after_fork(self._forked)

    def __len__(self) -> int:
        return len(self._kept)

    def order(self, wanted: Sequence[Wanted], *, wait: float | None = PAGE_WAIT) -> list[str]:
        """Queue variants and return the ids of sources that got something new; never raises.

        A name that no database can hold is left out and logged: trying again would not help.

        Args:
            wait: seconds to wait for a lock; None = as patiently as the store can.
        """
        for item in wanted:
            if not item.source.is_storable:
                name = shown(item.source.name)
                event(logging.ERROR, "a name with NUL or half a character is not queued", source=name)
        wanted = [item for item in wanted if item.source.is_storable]
        if not wanted:
            return []
        try:
            return self._send(wanted, wait)
        except MetadataError as exc:
            event(logging.WARNING, "images are queued a little later", sources=len(wanted), kind=exc.kind, error=exc)
            after_commit(self._metadata(), lambda: self._keep(wanted))  # what is undone shall not come back
            return []

    def insist(self, wanted: Sequence[Wanted]) -> list[str]:
        """Queue variants for somebody who can wait; return the ids of sources that got something new.

        Raises:
            MetadataError: the rows cannot be written now.
        """
        new = self.order(wanted, wait=None)
        if len(self) and not self.flush():
            raise MetadataError("the metadata store does not take new rows now; see the log")
        return new

    def flush(self) -> bool:
        """Send what is kept, patiently; return whether nothing is left, nor in the hands of another thread."""
        with self._sending:
            with self._lock:
                kept, self._kept = self._kept, {}
            if not kept:
                return True
            try:
                self._send(list(kept.values()), None)
            except MetadataError as exc:
                event(logging.WARNING, "images still wait to be queued", sources=len(kept), kind=exc.kind, error=exc)
                self._keep(list(kept.values()))
                return False
            return True

    def close(self) -> None:
        """Send what is kept, once, and stop the thread."""
        with self._lock:
            self._closed = True
            self._wake.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=5)
        if thread is None or not thread.is_alive():  # else the store holds it up, and would hold us up
            self.flush()
        self._closed = False

    def _send(self, wanted: Sequence[Wanted], wait: float | None) -> list[str]:
        store = self._metadata()
        new = store.enqueue(wanted, wait=wait)
        if new:
            after_commit(store, lambda: self._on_queued(wanted, new))
        return new

    def _keep(self, wanted: Sequence[Wanted]) -> None:
        with self._lock:
            for item in wanted:
                old = self._kept.get(item.source.id)
                if old is not None:
                    item = item._replace(specs={**old.specs, **item.specs}, priority=max(old.priority, item.priority))
                elif len(self._kept) >= self._size:
                    continue
                self._kept[item.source.id] = item
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return
            self._wake.clear()
            thread = threading.Thread(target=self._run, name="easyimg-outbox", daemon=True)
            try:
                thread.start()
            except RuntimeError as exc:  # no room for one more, or the interpreter is shutting down
                event(logging.WARNING, "what is kept waits for the next order or sweep", error=exc)
                return
            self._thread = thread

    def _forked(self) -> None:
        """Start anew: a thread does not survive a fork, and the parent sends what it kept."""
        self._lock, self._sending, self._wake = threading.Lock(), threading.RLock(), threading.Event()
        self._kept, self._thread, self._closed = {}, None, False

    def _run(self) -> None:
        while not self._wake.wait(self._every):
            had_any = bool(self._kept)
            is_empty = self.flush()
            if had_any:
                rest(self._metadata())
            if is_empty:
                with self._lock:
                    if not self._kept:
                        self._thread = None
                        return
