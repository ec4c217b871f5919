"""Builds of one process side by side; one that may kill the process, alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from easyimg._fork import after_fork


class Builds:
    """The builds of this process: any number at a time, or one that is alone. Thread-safe.

    A process that dies takes all its claims with it, and each counts as a crash of its source. Alone, the picture that
    kills is the only one that is blamed.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: set[int] = set()
        self._alone: int | None = None
        after_fork(self._start_anew)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Claim and build inside the block; waits while another thread's build is alone, or waits to be."""
        me = threading.get_ident()
        if me in self._running:  # what a build's signals set off belongs to it
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._alone is None)
            self._running.add(me)
        try:
            yield
        finally:
            with self._changed:
                self._running.discard(me)
                if self._alone == me:
                    self._alone = None
                self._changed.notify_all()

    def be_alone(self, seconds: float, stop: Callable[[], bool]) -> bool:
        """Wait until the other builds are over; return whether this one, inside its block, is alone until its end.

        False if another was quicker, if the others take longer than ``seconds``, or if ``stop`` says so.
        """
        me, end = threading.get_ident(), time.monotonic() + seconds
        with self._changed:
            if self._alone not in (None, me):
                return False
            self._alone = me
            while len(self._running) > 1 and time.monotonic() < end and not stop():
                self._changed.wait(0.1)  # `stop` tells nobody
            if len(self._running) > 1:
                self._alone = None
                self._changed.notify_all()
            return self._alone is not None

    def _start_anew(self) -> None:
        self._changed = threading.Condition()
        self._running, self._alone = set(), None
