"""ThreadQueue: a few daemon threads of this process build what is due. The default: nothing to install or start."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Final

from easyimg._exit import is_ending
from easyimg._fork import after_fork
from easyimg.joined import resting
from easyimg.logs import event
from easyimg.ports import App
from easyimg.queues.builder import Builder

FINISH_SECONDS: Final = 5.0
"""How long ``close`` waits for the builds under way before it gives them back."""

_PAUSES: Final = (1.0, 30.0)
"""Seconds until the rows are asked for again after an error: first, and at most."""


class ThreadQueue:
    """Builds in daemon threads, each picture in a limited child unless settings say otherwise. Thread-safe.

    The threads start at the first doorbell, never before; they also look every ``sweep_seconds`` for rows that are
    owed since before a restart, or due for another try. A forked process starts its own at its first doorbell.

    Args:
        app: whose rows are built; ``settings.threads`` says by how many threads.
    """

    inline = False

    def __init__(self, app: App) -> None:
        self._app = app
        self._builder = Builder(app, isolate=True)
        self._bell = threading.Condition()
        self._rings = 0
        self._threads: list[threading.Thread] = []
        after_fork(self._forked)

    def ring(self, source_ids: Iterable[str]) -> None:
        """Wake the threads, starting them when there are none; returns at once. They build whatever is due."""
        is_new = any(True for _ in source_ids)
        if not is_new and self._threads:
            return  # they look by themselves; a page that waits must not make them look at once, again and again
        with self._bell:
            self._rings += 1
            if not self._threads and not is_ending():
                self._start()
            self._bell.notify_all()

    def close(self) -> None:
        """Stop the threads: builds under way are finished within a few seconds, or given back and stopped.

        A second Ctrl-C while it waits gives them back at once.
        """
        with self._bell:
            threads, self._threads = self._threads, []
            self._builder.stopping.set()
            self._bell.notify_all()
        try:
            if _join(threads, FINISH_SECONDS):
                self._builder.release()
                return
        except KeyboardInterrupt:
            self._builder.release()
            raise
        count = self._builder.release()
        event(logging.INFO, "builds given back at the end of this process", released=count)
        self._end_children()
        _join(threads, 2.0)

    def _start(self) -> None:
        self._builder.stopping = threading.Event()
        for number in range(self._app.settings.threads):
            thread = threading.Thread(target=self._run, name=f"easyimg-build-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError as exc:  # the interpreter is shutting down; the rows stay
                event(logging.DEBUG, "no builder thread", error=exc)
                return
            self._threads.append(thread)

    def _run(self) -> None:
        stopping, seen, pause = self._builder.stopping, -1, 0.0
        while not stopping.is_set():
            seen = self._wait(stopping, seen)
            try:
                with resting(self._app):
                    self._builder.run()
                pause = 0.0
            except Exception as exc:  # noqa: BLE001  # this thread must live on: the next row may do better
                pause = min(max(pause * 2, _PAUSES[0]), _PAUSES[1])
                event(logging.WARNING, "building pauses", seconds=pause, kind=type(exc).__name__, error=exc)
                stopping.wait(pause)
                seen = -1

    def _wait(self, stopping: threading.Event, seen: int) -> int:
        """Wait for a doorbell that was not answered yet, or for the time to sweep."""
        with self._bell:
            if not stopping.is_set() and self._rings == seen:
                self._bell.wait(self._app.settings.sweep_seconds)
            return self._rings

    def _end_children(self) -> None:
        """End what the builds under way wait for, so that their threads can end too."""
        close = getattr(self._app.limited_engine, "close", None)
        if close is not None:
            close()

    def _forked(self) -> None:
        self._bell = threading.Condition()
        self._threads = []
        self._builder.forget()


def _join(threads: Iterable[threading.Thread], seconds: float) -> bool:
    """Wait for threads to end, all together so long at most; return whether they have."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
