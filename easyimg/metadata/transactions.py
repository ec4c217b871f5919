"""One short write transaction on a connection in autocommit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from easyimg.metadata.dialects import Dialect


@contextmanager
def transaction(conn: Connection, dialect: Dialect, wait: float | None) -> Iterator[None]:
    """Begin by hand: the connection is in autocommit, and SQLite's BEGIN must be an IMMEDIATE one."""
    driver_error = conn.dialect.loaded_dbapi.Error
    try:
        with _as_sqlalchemy_errors(conn):
            dialect.start(conn, wait)
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
                dialect.end(conn, wait)


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
