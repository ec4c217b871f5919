"""Database: the site's own connections, and how transactions are begun in them, joined, and tried again."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

from django.db import Error, InterfaceError, OperationalError, ProgrammingError, connections, router, transaction
from django.db.models import QuerySet

from easyimg.errors import ConfigError, MetadataError, did_you_mean, shown
from easyimg_django.metadata import waits
from easyimg_django.metadata.loans import Loans
from easyimg_django.models import Note, Source, Variant

T = TypeVar("T")

_TRIES: Final = 8
"""How often a write is tried when a lock, a deadlock or a lost connection is to blame."""

_ABSENT: Final = tuple(
    f"{before}{table}{after}"
    for table in ("easyimg_source", "easyimg_variant", "easyimg_meta")
    for before, after in (("no such table: ", ""), ('relation "', '" does not exist'), (".", "' doesn't exist"))
)


class Rows(NamedTuple):
    """The tables, in the database of one alias."""

    alias: str

    @property
    def sources(self) -> QuerySet:
        """The originals."""
        return Source.objects.using(self.alias)

    @property
    def variants(self) -> QuerySet:
        """The files, and those that are owed."""
        return Variant.objects.using(self.alias)

    @property
    def notes(self) -> QuerySet:
        """Roles and totals."""
        return Note.objects.using(self.alias)


class Database:
    """Lends this thread's connection of an alias, joining the transaction that its caller may have begun.

    Args:
        using: the alias; None = what the site's routers say of our models, each time.
    """

    def __init__(self, using: str | None) -> None:
        if using is not None and using not in connections:
            raise ConfigError(f"metadata: no database {using!r} in DATABASES{did_you_mean(using, list(connections))}")
        self._using = using
        vendor = connections[self.writer].vendor
        if vendor not in waits.VENDORS:
            what = "DATABASES names none" if vendor == "unknown" else f"{vendor} is not supported"
            raise ConfigError(f"metadata: {what}; use one of {', '.join(waits.VENDORS)}, or a database URL")
        self._loans = Loans()

    @property
    def writer(self) -> str:
        """The alias of rows that are changed, or must be the newest."""
        return self._using or str(router.db_for_write(Variant))

    @property
    def reader(self) -> str:
        """The alias of rows that are shown: a replica, where the routers say so."""
        return self._using or str(router.db_for_read(Variant))

    def read(self, work: Callable[[Rows], T], *, newest: bool = True) -> T:
        """Run single statements, each committed by itself unless the caller has begun a transaction.

        Args:
            newest: False = a replica will do.
        """
        if is_async_unsafe():
            return self._in_thread(lambda: self.read(work, newest=newest))
        alias = self.writer if newest else self.reader
        connection = connections[alias]

        def attempt(_: int) -> T:
            with translated(connection), _guarded(connection):
                return work(Rows(alias))

        with self._loans.lent(connection):
            return self._retrying(attempt, connection, 1 if _joins(connection) else _TRIES)

    def write(self, work: Callable[[Rows, int], T], *, wait: float | None = None) -> T:
        """Run one short transaction, or a savepoint of the caller's; ``work`` is told how often it was lost before.

        Args:
            wait: seconds to wait for a lock, tried once; None = as long as usual, and tried again.
        """
        if is_async_unsafe():
            return self._in_thread(lambda: self.write(work, wait=wait))
        alias = self.writer
        connection = connections[alias]

        with self._loans.lent(connection):
            is_joined = _joins(connection)

            def attempt(lost: int) -> T:
                with translated(connection), waits.begun(connection, wait, is_joined=is_joined):
                    return work(Rows(alias), lost)

            return self._retrying(attempt, connection, _TRIES if wait is None and not is_joined else 1)

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Call back after the caller's transaction, or at once where there is none (or it is managed by hand)."""
        if connections[self.writer].in_atomic_block:
            # Robust: no failure of ours reaches who commits, or keeps the site's own callbacks from being called.
            transaction.on_commit(callback, using=self.writer, robust=True)
        else:
            callback()

    def rest(self) -> None:
        """Close this thread's connections; never those in a transaction."""
        for alias in {self.writer, self.reader}:
            if not connections[alias].in_atomic_block:
                connections[alias].close()

    def _in_thread(self, work: Callable[[], T]) -> T:
        """Do something in a thread of its own, with a connection of its own."""

        def call() -> T:
            try:
                return work()
            finally:
                self.rest()

        with ThreadPoolExecutor(1, "easyimg-rows") as pool:
            return pool.submit(call).result()

    def _retrying(self, attempt: Callable[[int], T], connection: Any, tries: int) -> T:
        """Try again, a little later each time, while a lock or a lost connection is to blame."""
        lost = 0
        for tried in range(1, tries + 1):
            before = connection.connection
            try:
                return attempt(lost)
            except MetadataError as exc:
                if tried == tries:
                    raise
                gone = _is_lost(connection, before, exc.__cause__)
                if not (waits.is_transient(connection.vendor, exc.__cause__) or (gone and not lost)):
                    raise
                lost += gone
            time.sleep(random.uniform(0.005, 0.015) * 2**tried)  # noqa: S311 - jitter, no secret
        raise AssertionError("unreachable")


@contextmanager
def translated(connection: Any) -> Iterator[None]:
    """Make MetadataError of whatever the database raises."""
    try:
        yield
    except (Error, UnicodeError) as exc:
        text = str(exc)
        password = str(connection.settings_dict.get("PASSWORD") or "")
        if password:
            text = text.replace(password, "***")
        advice = ""
        if isinstance(exc, ProgrammingError | OperationalError) and any(words in text for words in _ABSENT):
            advice = f"; run: python manage.py migrate easyimg_django --database {connection.alias}"
        raise MetadataError(f"{connection.display_name}: {type(exc).__name__}: {shown(text, 500)}{advice}") from exc


def is_async_unsafe() -> bool:
    """Return whether an event loop runs in this thread, where Django refuses to use its connections.

    An async view that renders a page there holds its loop up, but has its page.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")


def _joins(connection: Any) -> bool:
    """Return whether the caller has begun a transaction, or manages them by hand."""
    with translated(connection):
        return bool(connection.in_atomic_block or not connection.get_autocommit())


@contextmanager
def _guarded(connection: Any) -> Iterator[None]:
    """Keep a failed SELECT from breaking the caller's transaction, which only PostgreSQL's does."""
    if connection.in_atomic_block and connection.vendor == "postgresql":
        with transaction.atomic(using=connection.alias):
            yield
    else:
        yield


def _is_lost(connection: Any, before: Any, error: BaseException | None) -> bool:
    """Return whether the driver's connection is gone; the next statement opens a new one then."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    if connection.connection is not before:
        return True  # the end of a transaction noticed it, and Django has opened the next one already
    if connection.connection is not None and connection.is_usable():
        return False
    connection.close()
    return True
