"""Reading what a page needs: one SELECT, plain tuples."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from easyimg.metadata.dialects import Dialect


def select(dialect: Dialect, ids: list[str], keys: list[str], previews: bool, conn: Connection) -> list[Any]:
    """Return the rows of sources and variants, as ``dialects`` has them."""
    statement = dialect.preview_sql if previews else dialect.fetch_sql
    result = conn.exec_driver_sql(statement, (dialect.many(ids), dialect.many(keys)))
    # The driver's own tuples: SQLAlchemy's rows would cost as much again as the query.
    rows: list[Any] = list(result.cursor.fetchall()) if result.cursor is not None else []
    result.close()
    return rows
