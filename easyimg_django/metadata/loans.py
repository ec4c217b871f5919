"""Loans: connections of Django's that easyimg uses, and which of them a forked process must not inherit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from django.db import connections

from easyimg import _fork

_OUR_THREADS: Final = "easyimg-"
"""How the names of threads begin that nobody but us knows of."""


class Loans:
    """Which connections were opened for us, by thread. Those that the site has opened are its own affair.

    Before a fork, the forking thread closes what was opened for us in it: the two processes would speak over one
    connection. SQLite's must not be open in other threads either (see ``easyimg._fork.NoFork``), and cannot be closed
    from here, since the site may be using them. So threads of ours close theirs after each use, and nobody forks while
    one is in use.
    """

    def __init__(self) -> None:
        self._opened = threading.local()
        _fork.before_fork(self._close_opened)

    @contextmanager
    def lent(self, connection: Any) -> Iterator[None]:
        """Use this thread's connection; Django opens it in the block where it is closed."""
        is_sqlite = connection.vendor == "sqlite"
        with _fork.no_fork if is_sqlite else nullcontext():
            was_closed = connection.connection is None
            try:
                yield
            finally:
                if was_closed and connection.connection is not None:
                    self._note(connection, is_ours=threading.current_thread().name.startswith(_OUR_THREADS))

    def _note(self, connection: Any, *, is_ours: bool) -> None:
        if is_ours and connection.vendor == "sqlite" and not connection.in_atomic_block:
            connection.close()
        else:
            vars(self._opened)[connection.alias] = connection.connection

    def _close_opened(self) -> None:
        for alias, opened in vars(self._opened).items():
            connection = connections[alias]
            if connection.connection is opened and not connection.in_atomic_block:
                connection.close()
        vars(self._opened).clear()
