"""Sweeper: rings for what is owed too long, wherever a worker runs, one at a time."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Self

from easyimg.errors import EasyImgError
from easyimg.joined import resting
from easyimg.logs import event
from easyimg.maintain import sweep
from easyimg.ports import App
from easyimg.queues import uses_broker

_AT_ONCE: Final = 1000
"""Sources rung for by one sweep. When there were as many, more may wait, and the next sweep follows soon."""

FULL: Final = 1000
"""Messages that wait at the broker, from which on a sweep rings for nothing: while no worker answers, the broker's
memory would fill with the same doorbells again and again."""

_SOON: Final = 2.0

_LOOKS: Final = 2
"""Sweeps per ``sweep_seconds``, each for what was owed before the last one: nothing goes unnoticed for longer."""

_SUCCESSION: Final = 4
"""How often per sweep the others ask whether the one that sweeps is gone."""


class Sweeper:
    """Rings twice per ``sweep_seconds`` for rows owed too long: one process of all, elected through the rows.

    Without a broker there is nothing to ring: the workers look at the rows themselves.

    Args:
        app: whose rows and doorbell.
        ring: rings instead of the app's queue; may raise EasyImgError.
        waiting: returns how many messages wait at the broker, None = unknown; None = the app's queue is asked, if it
            knows.
    """

    def __init__(
        self,
        app: App,
        ring: Callable[[Iterable[str]], None] | None = None,
        waiting: Callable[[], int | None] | None = None,
    ) -> None:
        self._app = app
        self._ring = ring
        self._waiting = waiting
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._is_elected = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="easyimg-sweeper", daemon=True)

    def __enter__(self) -> Self:
        if self._ring is not None or uses_broker(self._app.settings.queue):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def sweep(self) -> int:
        """Sweep once, if this process is the elected one; return for how many sources was rung."""
        # For one interval only: when it is gone, another takes over at once. Two that sweep at a time do no harm.
        self._is_elected = self._app.metadata.elect("sweeper", self._owner, self._every)
        if not self._is_elected:
            return 0
        rung = 0

        def ring(ids: Iterable[str]) -> None:
            nonlocal rung
            ids = list(ids)
            if self._has_room():
                (self._ring or self._app.queue.ring)(ids)
                rung = len(ids)

        sweep(self._app, limit=_AT_ONCE, ring=ring)
        if rung:
            event(logging.INFO, "swept", sources=rung)
        return rung

    def _has_room(self) -> bool:
        """Return whether more doorbells help. Each that waits already makes a worker look at what is owed longest."""
        ask = self._waiting or getattr(self._app.queue, "waiting", None)
        waiting = ask() if ask else None
        if waiting is not None and waiting >= FULL:
            event(logging.INFO, "not rung again: enough doorbells wait", doorbells=waiting)
            return False
        return True

    @property
    def _every(self) -> float:
        return self._app.settings.sweep_seconds / _LOOKS

    def _run(self) -> None:
        while True:
            count = 0
            try:
                with resting(self._app):
                    count = self.sweep()
            except EasyImgError as exc:
                event(logging.WARNING, "sweeping failed", kind=exc.kind, error=exc)
            except Exception:  # noqa: BLE001  # this thread must live on
                event(logging.ERROR, "sweeping failed in an unforeseen way", exc_info=True)
            pause = self._every if self._is_elected else self._every / _SUCCESSION
            if self._stopping.wait(min(pause, _SOON) if count >= _AT_ONCE else pause):
                break
        if self._is_elected:
            # The next one need not wait for the end of our term.
            with suppress(Exception), resting(self._app):
                self._app.metadata.elect("sweeper", self._owner, 0.0)
