"""Short transactions on a connection in autocommit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from easyimg.metadata.dialects import Dialect


@contextmanager
def transaction(conn: Connection, dialect: Dialect, wait: float | None) -> Iterator[None]:
    """Begin by hand: the connection is in autocommit, and SQLite's BEGIN must be an IMMEDIATE one."""
    with _begun(conn, lambda: dialect.start(conn, wait), lambda: dialect.end(conn, wait)):
        yield


@contextmanager
def look(conn: Connection, dialect: Dialect) -> Iterator[None]:
    """Read along an index: in a transaction of its own where the database must be told not to gather and sort."""
    begin = dialect.look
    if not begin:
        yield
        return
    with _begun(conn, lambda: _execute(conn, begin)):
        yield


@contextmanager
def _begun(conn: Connection, begin: Callable[[], None], end: Callable[[], None] = lambda: None) -> Iterator[None]:
    driver_error = conn.dialect.loaded_dbapi.Error
    try:
        with _as_sqlalchemy_errors(conn):
            begin()
        yield
        with _as_sqlalchemy_errors(conn):
            conn.connection.commit()
    except BaseException:
        if not conn.invalidated:
            with suppress(driver_error):
                conn.connection.rollback()
        raise
    finally:
        if not conn.invalidated:
            with suppress(driver_error):
                end()


def _execute(conn: Connection, text: str) -> None:
    cursor = conn.connection.cursor()
    cursor.execute(text)
    cursor.close()


@contextmanager
def _as_sqlalchemy_errors(conn: Connection) -> Iterator[None]:
    """Say of a driver's error what SQLAlchemy would: above all, whether the connection is lost."""
    driver_error = conn.dialect.loaded_dbapi.Error
    try:
        yield
    except driver_error as exc:
        lost = conn.dialect.is_disconnect(exc, conn.connection.dbapi_connection, None)
        if lost:
            conn.invalidate(exc)
        raise DBAPIError.instance("BEGIN or COMMIT", None, exc, driver_error, connection_invalidated=lost) from exc
