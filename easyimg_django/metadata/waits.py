"""Transactions that wait for locks as long as they may, which each database is told in its own way."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

from django.db import transaction

LOCK_WAIT: Final = 5.0
"""Seconds a write normally waits for a lock."""


@contextmanager
def begun(connection: Any, wait: float | None, *, is_joined: bool) -> Iterator[None]:
    """Begin a write transaction, or a savepoint of the caller's.

    Args:
        wait: seconds to wait for locks; None = as long as usual.
        is_joined: the caller has begun one: how it reads and waits stays its own affair.
    """
    with _BEGIN[connection.vendor](connection, wait, is_joined):
        yield


def is_transient(vendor: str, error: BaseException | None) -> bool:
    """Return whether a lock, a deadlock or a serialization failure is to blame, so that a retry helps."""
    cause = getattr(error, "__cause__", None)
    if cause is None:
        return False
    if vendor == "sqlite":
        code = getattr(cause, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if vendor == "postgresql":
        return getattr(cause, "sqlstate", getattr(cause, "pgcode", None)) in ("40001", "40P01", "55P03")
    return bool(cause.args) and cause.args[0] in (1213, 1205, 1020, 3572)


@contextmanager
def _sqlite(connection: Any, wait: float | None, is_joined: bool) -> Iterator[None]:
    """Take the write lock first: over a read one it could be had at once or never."""
    with _busy(connection, wait), transaction.atomic(using=connection.alias):
        if not is_joined:
            _run(connection, "UPDATE easyimg_meta SET value = '' WHERE name = ''")
        yield


@contextmanager
def _busy(connection: Any, wait: float | None) -> Iterator[None]:
    if wait is None:
        yield
        return
    usual = _run(connection, "PRAGMA busy_timeout")
    _run(connection, f"PRAGMA busy_timeout = {round(wait * 1000)}")
    try:
        yield
    finally:
        _restore(connection, f"PRAGMA busy_timeout = {usual}")


@contextmanager
def _postgres(connection: Any, wait: float | None, is_joined: bool) -> Iterator[None]:
    """READ COMMITTED in transactions of our own, whatever is the site's default; bounded waiting."""
    with transaction.atomic(using=connection.alias):
        if not is_joined:
            millis = max(1, round((LOCK_WAIT if wait is None else wait) * 1000))
            _run(
                connection, f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {millis}", False
            )
            yield
        elif wait is None:
            yield
        else:
            usual = _run(connection, "SELECT current_setting('lock_timeout')")
            _run(connection, f"SET LOCAL lock_timeout = {max(1, round(wait * 1000))}", False)
            yield  # if it fails, the savepoint takes the setting back as well
            _run(connection, f"SET LOCAL lock_timeout = '{usual}'", False)


@contextmanager
def _mysql(connection: Any, wait: float | None, is_joined: bool) -> Iterator[None]:
    """READ COMMITTED in transactions of our own: other levels would lock gaps, and read from before our locks."""
    with _lock_wait(connection, LOCK_WAIT if wait is None and not is_joined else wait):
        if not is_joined and getattr(connection, "isolation_level", None) != "read committed":
            _run(connection, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED", False)
        with transaction.atomic(using=connection.alias):
            yield


@contextmanager
def _lock_wait(connection: Any, wait: float | None) -> Iterator[None]:
    """Whole seconds only; 0 means "do not wait" to MariaDB, so that no deadlock costs the caller its transaction."""
    if wait is None:
        yield
        return
    seconds = math.floor(wait + 0.5) if connection.mysql_is_mariadb else max(1, round(wait))
    usual = "@easyimg_wait = @@innodb_lock_wait_timeout"
    _run(connection, f"SET {usual}, SESSION innodb_lock_wait_timeout = {seconds}", False)
    try:
        yield
    finally:
        _restore(connection, "SET SESSION innodb_lock_wait_timeout = @easyimg_wait")


_BEGIN: Final = {"sqlite": _sqlite, "postgresql": _postgres, "mysql": _mysql}

VENDORS: Final = tuple(_BEGIN)
"""Databases that are spoken to, as Django names them."""


def _restore(connection: Any, sql: str) -> None:
    """Set something back on the driver's own connection: Django's refuses, where a transaction is broken."""
    if connection.connection is not None:
        with suppress(connection.Database.Error), closing(connection.connection.cursor()) as cursor:
            cursor.execute(sql)


def _run(connection: Any, sql: str, has_rows: bool = True) -> Any:
    """Run a statement; return the first column of its first row."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone() if has_rows and cursor.description else None
    return row[0] if row else None
