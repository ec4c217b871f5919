"""The database's clock as expressions, the same as in ``easyimg.metadata.clock``.

Not Django's ``Now``: on MariaDB and MySQL that is the server's local time.
"""

from __future__ import annotations

from typing import Any

from django.db.models import FloatField, Func, IntegerField, Value

from easyimg_django.fields import MomentField

Sql = tuple[str, list[Any]]


class DbNow(Func):
    """The database's clock plus some seconds, UTC (microsecond resolution, milliseconds in SQLite)."""

    def __init__(self, seconds: float = 0.0, **extra: Any) -> None:
        super().__init__(output_field=MomentField(), **extra)
        self._micros = round(seconds * 1_000_000)

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        """Return text, which sorts as it should: SQLite has no type for times."""
        if not self._micros:
            return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')", []
        return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s)", [f"{self._micros / 1_000_000:+.6f} seconds"]

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        """Return statement_timestamp(): now() stands still in a transaction that waited for a lock."""
        if not self._micros:
            return "statement_timestamp()", []
        return "(statement_timestamp() + %s * interval '1 microsecond')", [self._micros]

    def as_mysql(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        """Return UTC whatever the session's time zone is."""
        if not self._micros:
            return "UTC_TIMESTAMP(6)", []
        return "(UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND)", [self._micros]


class SecondsSince(Func):
    """Seconds from a stored time to the database's clock; NULL of NULL."""

    arity = 1
    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Sql:
        """Return a difference of days, as seconds."""
        return self._filled(compiler, connection, "((julianday('now') - julianday(%(expressions)s)) * 86400.0)", extra)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Sql:
        """Return the interval's seconds as a float."""
        template = "EXTRACT(EPOCH FROM statement_timestamp() - %(expressions)s)::double precision"
        return self._filled(compiler, connection, template, extra)

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Sql:
        """Return a difference of microseconds, as seconds."""
        template = "(TIMESTAMPDIFF(MICROSECOND, %(expressions)s, UTC_TIMESTAMP(6)) / 1000000.0)"
        return self._filled(compiler, connection, template, extra)

    def _filled(self, compiler: Any, connection: Any, template: str, extra: Any) -> Sql:
        sql, params = self.as_sql(compiler, connection, template=template, **extra)
        return sql, list(params)


class Literal(Value):
    """An integer as part of the text: SQLite uses a partial index only if it can see that it applies."""

    def __init__(self, value: int, output_field: Any = None) -> None:
        super().__init__(int(value), output_field=output_field or IntegerField())

    def as_sql(self, compiler: Any, connection: Any) -> Sql:
        """Return the number itself."""
        return str(self.value), []
