"""The end of the process: what is open is closed then, and nothing new starts."""

from __future__ import annotations

import atexit
import sys
import weakref
from typing import Any

from easyimg._fork import after_fork


class _AtExit:
    """Closes what is open at the end of the process. A signal without a handler ends it at once, and nothing can.

    ``atexit`` runs in the main process and in those made by ``os.fork``. A process of ``multiprocessing`` that was
    forked ends by ``os._exit``, after the finalisers of that package.
    """

    def __init__(self) -> None:
        self.is_ending = False
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self._is_registered = False

    def add(self, owner: Any) -> None:
        self._open.add(owner)
        if self._is_registered:
            return
        self._is_registered = True
        atexit.register(self.close_all)
        after_fork(self._tell_multiprocessing)
        self._tell_multiprocessing()
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:
            self._finalize()

    def close_all(self) -> None:
        self.is_ending = True
        for owner in list(self._open):
            owner.close()

    def _tell_multiprocessing(self) -> None:
        """Have ``_finalize`` called in its processes once they have dropped their parent's finalisers."""
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.register_after_fork(self, _AtExit._finalize)

    def _finalize(self) -> None:
        sys.modules["multiprocessing.util"].Finalize(None, self.close_all, exitpriority=10)


_at_exit = _AtExit()


def close_at_exit(owner: Any) -> None:
    """Call ``owner.close()`` when this process ends, or one forked from it; the owner is not kept alive."""
    _at_exit.add(owner)


def is_ending() -> bool:
    """Return whether the process is ending: threads may still run, but what they start now would be cut off."""
    return _at_exit.is_ending
