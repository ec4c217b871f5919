"""Who may use a filesystem, and when: one for all threads, or connections lent to one thread at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from fsspec import AbstractFileSystem

from easyimg._fork import after_fork
from easyimg.errors import EasyImgError
from easyimg.storages.ways import ABSENT

T = TypeVar("T")

_KEPT: Final = 8
"""Idle connections that are kept."""

_ABOUT_A_FILE: Final = (*ABSENT, PermissionError, FileExistsError, EasyImgError)
"""What says something about a file, by a connection that works."""


class Lender(Protocol):
    """Lends filesystems."""

    def run(self, job: Callable[[AbstractFileSystem], T]) -> T:
        """Return what a job makes of a filesystem; it may be called twice."""
        ...

    @contextmanager
    def lent(self) -> Iterator[AbstractFileSystem]:
        """Give one away for a block."""
        ...

    def close(self) -> None:
        """Close what is open; it may be used again afterwards."""
        ...


class Connection(Protocol):
    """What a ``Pool`` must know of its filesystems; ``sftp.SftpWay`` is one."""

    def prepare(self, fs: AbstractFileSystem) -> None: ...  # noqa: D102

    def is_alive(self, fs: AbstractFileSystem) -> bool: ...  # noqa: D102

    def close(self, fs: AbstractFileSystem) -> None: ...  # noqa: D102

    def abandon(self, fs: AbstractFileSystem) -> None: ...  # noqa: D102


class Shared:
    """One filesystem for all threads of a process; a new one after a fork: asynchronous ones own a thread."""

    def __init__(self, fs: AbstractFileSystem, reopen: Callable[[], AbstractFileSystem]) -> None:
        self._fs = fs
        self._reopen = reopen
        self._pid = os.getpid()

    @property
    def fs(self) -> AbstractFileSystem:
        """This process's filesystem."""
        if self._pid != os.getpid():
            self._fs, self._pid = self._reopen(), os.getpid()
        return self._fs

    def run(self, job: Callable[[AbstractFileSystem], T]) -> T:
        """Return what a job makes of the filesystem."""
        return job(self.fs)

    @contextmanager
    def lent(self) -> Iterator[AbstractFileSystem]:
        """Give it away for a block."""
        yield self.fs

    def close(self) -> None:
        """Leave it alone: fsspec gives the same one to everybody who asks for it."""


class Pool:
    """Filesystems that are a connection each, opened when needed and kept for the next who asks. Thread-safe.

    One that was dropped while idle is replaced, and the job done again, without anybody noticing.
    """

    def __init__(self, open_: Callable[[], AbstractFileSystem], connection: Connection) -> None:
        self._open = open_
        self._connection = connection
        self._idle: list[AbstractFileSystem] = []  # its append and pop are atomic: no lock that a fork could tear
        after_fork(self._forked)

    def run(self, job: Callable[[AbstractFileSystem], T]) -> T:
        """Return what a job makes of a filesystem; done again on a new connection if one that waited fails."""
        waiting = self._waiting()
        if waiting is not None:
            try:
                with self._used(waiting):
                    return job(waiting)
            except _ABOUT_A_FILE:
                raise
            except Exception:  # noqa: BLE001, S110 - of whatever kind: it is met again if it was not the connection's
                pass
        with self._used(self._new()) as fs:
            return job(fs)

    @contextmanager
    def lent(self) -> Iterator[AbstractFileSystem]:
        """Give one away for a block."""
        with self._used(self._waiting() or self._new()) as fs:
            yield fs

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._connection.close(self._idle.pop())

    @contextmanager
    def _used(self, fs: AbstractFileSystem) -> Iterator[AbstractFileSystem]:
        try:
            yield fs
        except _ABOUT_A_FILE:
            self._keep(fs)
            raise
        except BaseException:
            self._connection.close(fs)
            raise
        self._keep(fs)

    def _waiting(self) -> AbstractFileSystem | None:
        while True:
            try:
                fs = self._idle.pop()
            except IndexError:
                return None
            if self._connection.is_alive(fs):
                return fs
            self._connection.close(fs)

    def _new(self) -> AbstractFileSystem:
        fs = self._open()
        self._connection.prepare(fs)
        return fs

    def _keep(self, fs: AbstractFileSystem) -> None:
        if len(self._idle) < _KEPT:
            self._idle.append(fs)
        else:
            self._connection.close(fs)

    def _forked(self) -> None:
        mine, self._idle = self._idle, []
        for fs in mine:
            self._connection.abandon(fs)
