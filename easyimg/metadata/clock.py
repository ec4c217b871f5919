"""The database's clock as SQL. No host's time ever enters a condition: hosts' clocks differ."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, DateTime, Double, String, bindparam
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine


def moment() -> TypeEngine[Any]:
    """Return the type of times: UTC by the database's clock. SQLite has no such type; its text sorts as it should."""
    kind: TypeEngine[Any] = DateTime(timezone=True)
    kind = kind.with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    return kind.with_variant(String(23), "sqlite")


class now(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock plus some seconds (microsecond resolution, milliseconds in SQLite).

    Args:
        seconds: the seconds, or the name of a parameter that holds :func:`micros`.
    """

    inherit_cache = True
    type = moment()

    def __init__(self, seconds: float | str = 0.0) -> None:
        if isinstance(seconds, str):
            super().__init__(bindparam(seconds, type_=BigInteger))
        elif seconds:
            super().__init__(bindparam(None, micros(seconds), BigInteger, unique=True))
        else:
            super().__init__()


def micros(seconds: float) -> int:
    """Return seconds as the databases are told them: whole microseconds."""
    return round(seconds * 1_000_000)


@compiles(now, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    if not len(element.clauses):
        return "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    offset = compiler.process(element.clauses, **kw)
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', ({offset} / 1000000.0) || ' seconds')"


@compiles(now, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    # statement_timestamp(), not now(): the latter stands still within a transaction that waited for a lock.
    if not len(element.clauses):
        return "statement_timestamp()"
    return f"(statement_timestamp() + {compiler.process(element.clauses, **kw)} * interval '1 microsecond')"


@compiles(now, "mysql")
@compiles(now, "mariadb")
def _now_mysql(element: Any, compiler: Any, **kw: Any) -> str:
    if not len(element.clauses):
        return "UTC_TIMESTAMP(6)"
    return f"(UTC_TIMESTAMP(6) + INTERVAL {compiler.process(element.clauses, **kw)} MICROSECOND)"


class seconds_since(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """Seconds from a stored time to the database's clock; NULL of NULL."""

    inherit_cache = True
    type = Double()


@compiles(seconds_since, "sqlite")
def _since_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"((julianday('now') - julianday({compiler.process(element.clauses, **kw)})) * 86400.0)"


@compiles(seconds_since, "postgresql")
def _since_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return f"EXTRACT(EPOCH FROM statement_timestamp() - {compiler.process(element.clauses, **kw)})"


@compiles(seconds_since, "mysql")
@compiles(seconds_since, "mariadb")
def _since_mysql(element: Any, compiler: Any, **kw: Any) -> str:
    return f"(TIMESTAMPDIFF(MICROSECOND, {compiler.process(element.clauses, **kw)}, UTC_TIMESTAMP(6)) / 1000000.0)"
