"""Starting afresh in a forked process: threads, child processes and held locks are the parent's, not ours."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

_reset: list[weakref.WeakMethod[Callable[[], Any]]] = []


def after_fork(reset: Callable[[], Any]) -> None:
    """Call a bound method in every process forked from here on, before anything else runs there.

    The method's object is not kept alive. Does nothing where processes cannot be forked.
    """
    if not hasattr(os, "register_at_fork"):
        return
    if not _reset:
        os.register_at_fork(after_in_child=_reset_all)
    _reset[1:] = [known for known in _reset[1:] if known() is not None]  # the first stays: it says we are registered
    _reset.append(weakref.WeakMethod(reset))


def _reset_all() -> None:
    for known in list(_reset):
        reset = known()
        if reset is not None:
            reset()
