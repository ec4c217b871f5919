"""Forking: a forked process starts afresh (threads, child processes and held locks are the parent's), and waits for it.

``no_fork`` keeps what must not be torn apart from a fork by another thread; ``before_fork`` lets go of what a forked
process must not inherit.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

Method = weakref.WeakMethod[Callable[[], Any]]

_before: list[Method] = []
_reset: list[Method] = []
_registered: list[bool] = []

PATIENCE: Final = 10.0
"""Seconds a fork waits for threads that are inside ``no_fork``."""


class NoFork:
    """Entered by any number of threads; while one is inside, other threads do not fork this process.

    ``subprocess`` does not count as forking. It is for

    - starting a child process. A process forked in the middle of that inherits the pipe by which ``subprocess`` learns
      that its child runs, and ``Popen`` does not return as long as it lives (``Popen._execute_child`` reads
      ``errpipe_read`` to its end; seen in CPython 3.11);
    - using an SQLite file. What SQLite knows of its process's locks is forked along, while the locks stay the parent's:
      a process forked beside a writer would find the file locked for ever (https://www.sqlite.org/howtocorrupt.html,
      2.6, "Carrying an open database connection across a fork").
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: dict[int, int] = {}
        self._forking: int | None = None

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            if me not in self._inside:
                self._changed.wait_for(lambda: self._forking in (None, me))
            self._inside[me] = self._inside.get(me, 0) + 1

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        with self._changed:
            left = self._inside.get(me, 0) - 1
            if left > 0:
                self._inside[me] = left
            else:
                self._inside.pop(me, None)
                self._changed.notify_all()

    def close(self, seconds: float) -> None:
        """Let nobody in, and wait so long for those inside, but for this thread itself."""
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._forking in (None, me))
            self._forking = me
            self._changed.wait_for(lambda: self._inside.keys() <= {me}, seconds)

    def open(self) -> None:
        """Let everybody in again."""
        with self._changed:
            self._forking = None
            self._changed.notify_all()


no_fork = NoFork()


def before_fork(prepare: Callable[[], Any]) -> None:
    """Call a bound method before this process forks, with nobody inside ``no_fork``; its object is not kept alive."""
    _keep(_before, prepare)


def after_fork(reset: Callable[[], Any]) -> None:
    """Call a bound method in every process forked from here on, before anything else runs there.

    The method's object is not kept alive. Does nothing where processes cannot be forked.
    """
    _keep(_reset, reset)


def _keep(methods: list[Method], method: Callable[[], Any]) -> None:
    if not hasattr(os, "register_at_fork"):
        return
    if not _registered:
        _registered.append(True)
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_start_afresh)
    methods.append(weakref.WeakMethod(method))
    for known in list(methods):  # one by one: another thread may be adding its own
        if known() is None:
            with suppress(ValueError):
                methods.remove(known)


def _call(methods: list[Method]) -> None:
    for known in list(methods):
        method = known()
        if method is not None:
            method()


def _hold() -> None:
    no_fork.close(PATIENCE)
    _call(_before)


def _let_go() -> None:
    no_fork.open()


def _start_afresh() -> None:
    global no_fork  # noqa: PLW0603
    no_fork = NoFork()
    _call(_reset)
