"""Forking: a forked process starts afresh (threads, child processes and held locks are the parent's), and waits for it.

``no_fork`` keeps what must not be torn apart from a fork by another thread.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

_reset: list[weakref.WeakMethod[Callable[[], Any]]] = []

no_fork = threading.RLock()
"""Held while other threads must not fork this process; ``subprocess`` does not count as forking.

It is for starting a child process. A process forked in the middle of that inherits the pipe by which ``subprocess``
learns that its child runs, and ``Popen`` does not return as long as it lives (``Popen._execute_child`` reads
``errpipe_read`` to its end; seen in CPython 3.11).
"""


def after_fork(reset: Callable[[], Any]) -> None:
    """Call a bound method in every process forked from here on, before anything else runs there.

    The method's object is not kept alive. Does nothing where processes cannot be forked.
    """
    if not hasattr(os, "register_at_fork"):
        return
    if not _reset:
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_start_afresh)
    _reset[1:] = [known for known in _reset[1:] if known() is not None]  # the first stays: it says we are registered
    _reset.append(weakref.WeakMethod(reset))


def _hold() -> None:
    no_fork.acquire()


def _let_go() -> None:
    no_fork.release()


def _start_afresh() -> None:
    global no_fork  # noqa: PLW0603
    no_fork = threading.RLock()
    for known in list(_reset):
        reset = known()
        if reset is not None:
            reset()
