"""Leases: claims are renewed while their pictures are built, by one thread for all builds of a process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from easyimg._fork import after_fork
from easyimg.joined import rest
from easyimg.logs import event
from easyimg.ports import MetadataStore
from easyimg.variant import Claim


@dataclass(slots=True)
class _Held:
    """A claim in hand: when to renew it next, and until when at all (``time.monotonic``)."""

    claim: Claim
    seconds: float
    next: float
    end: float


class Leases:
    """Renews the claims in hand, each at a third of its lease. Thread-safe.

    The thread starts with the first claim and ends when none was in hand for a while; most builds are over before
    anything had to be renewed, and cost no thread.

    Args:
        metadata: gives the store; asked each time.
    """

    def __init__(self, metadata: Callable[[], MetadataStore]) -> None:
        self._metadata = metadata
        self._changed = threading.Condition()
        self._held: dict[int, _Held] = {}
        self._thread: threading.Thread | None = None
        self._wakes = 0.0
        after_fork(self._start_anew)

    @contextmanager
    def keep(self, claim: Claim, *, seconds: float, limit: float) -> Iterator[None]:
        """Keep a claim inside the block.

        Args:
            seconds: length of the lease.
            limit: seconds after which it is not renewed any more: the build takes too long, and others may have it.
        """
        now = time.monotonic()
        held = _Held(claim, seconds, now + seconds / 3, now + limit)
        with self._changed:
            self._held[id(held)] = held
            if self._thread is None:
                self._start()
            elif held.next < self._wakes:
                self._wakes = held.next
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._held.pop(id(held), None)

    def close(self) -> None:
        """End the thread; claims still in hand are renewed no more."""
        with self._changed:
            self._held.clear()
            thread, self._thread = self._thread, None
            self._changed.notify()
        if thread is not None:
            thread.join(timeout=5)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="easyimg-leases", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # no room for one more, or the interpreter is shutting down: the next claim tries
            event(logging.WARNING, "no thread renews leases now", error=exc)
            return
        self._thread, self._wakes = thread, 0.0

    def _start_anew(self) -> None:
        """Hold nothing: what is in hand is the parent's."""
        self._changed = threading.Condition()
        self._held, self._thread, self._wakes = {}, None, 0.0

    def _run(self) -> None:
        me = threading.current_thread()
        failed: list[_Held] = []
        while True:
            with self._changed:
                if self._thread is not me:  # closed while it renewed: nobody will notify it
                    return
                # When to wake is looked up under the lock that `keep` sets it under: a claim that came while others
                # were being renewed had nobody to notify.
                now = time.monotonic()
                for held in failed:
                    held.next = now + held.seconds / 12
                    self._wakes = min(self._wakes, held.next)
                self._changed.wait(self._wakes - now)
                if self._thread is not me:
                    return
                if not self._held and self._wakes:
                    self._thread = None
                    return
                now = time.monotonic()
                due = [held for held in self._held.values() if held.next <= now < held.end]
                for held in due:
                    held.next = now + held.seconds / 3
                waiting = [held.next for held in self._held.values() if held.next < held.end]
                self._wakes = max(now + 0.01, min(waiting, default=now + _IDLE))
            failed = [held for held in due if not self._renew(held)]
            if due:
                self._rest()

    def _renew(self, held: _Held) -> bool:
        """Renew a lease once; return False where it has to be tried again."""
        try:
            self._metadata().renew(held.claim, held.seconds)
        except Exception as exc:  # noqa: BLE001  # this thread must live on: all other leases hang on it
            kind = type(exc).__name__
            event(logging.WARNING, "a lease was not renewed", source=held.claim.source, kind=kind, error=exc)
            return False
        return True

    def _rest(self) -> None:
        try:
            rest(self._metadata())
        except Exception as exc:  # noqa: BLE001  # as above
            event(logging.DEBUG, "a connection was not given back", kind=type(exc).__name__, error=exc)


_IDLE = 10.0
"""Seconds until a thread with nothing in hand ends."""
