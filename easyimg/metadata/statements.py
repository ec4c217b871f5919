"""Statements whose text is made once: building and looking up SQLAlchemy's costs more than the databases need for them.

They are still written as SQLAlchemy constructs, by functions that take the tables (and what changes the text); the text
that comes of them is kept per database and run as it is, with its parameters by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column
from sqlalchemy.engine import Dialect as SqlDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from easyimg.metadata.dialects import Dialect
from easyimg.metadata.tables import Tables

Build = Callable[..., ClauseElement]
"""Takes the tables and what else changes the text, all hashable."""


class among(FunctionElement[Any]):  # noqa: N801 - reads as the SQL operator it is
    """Whether a column equals any value of a list parameter, whose length does not change the text."""

    inherit_cache = True
    type = NullType()  # of a Boolean, SQLAlchemy would make `... = 1` for SQLite and MariaDB, which no index serves

    def __init__(self, column: Any, name: str) -> None:
        super().__init__(column, bindparam(name))


def literal(number: int) -> ColumnElement[int]:
    """Return a number as part of the text: partial indexes then apply whatever the parameters are."""
    text: ColumnElement[int] = literal_column(str(int(number)))
    return text


def by_no_index(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column's value in a form that no index serves: few rows are to be looked at, and another finds them.

    Of a nearly empty table, a planner may think that any index will do, and keep to it.
    """
    return func.coalesce(column, column)


@compiles(among, "sqlite")
def _among_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    column, values = (compiler.process(part, **kw) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"


@compiles(among, "postgresql")
def _among_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    column, values = (compiler.process(part, **kw) for part in element.clauses)
    return f"{column} = ANY({values})"


@compiles(among, "mysql")
@compiles(among, "mariadb")
def _among_mysql(element: Any, compiler: Any, **kw: Any) -> str:
    column, values = (compiler.process(part, **kw) for part in element.clauses)
    return f"{column} IN {values}"


class Prepared(NamedTuple):
    """A statement's text, the values that are part of it, and the order of its parameters (None = by name)."""

    text: str
    constants: Mapping[str, Any]
    order: Sequence[str] | None

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return what the driver takes beside the text."""
        given = {**self.constants, **values}
        return given if self.order is None else tuple([given[name] for name in self.order])


class Statements:
    """The statements of one store.

    Args:
        tables: ours.
        dialect: speaks to the database.
        sql_dialect: SQLAlchemy's, of the engine in use.
    """

    def __init__(self, tables: Tables, dialect: Dialect, sql_dialect: SqlDialect) -> None:
        self.tables = tables
        self.dialect = dialect
        self._many = dialect.many
        self._sql_dialect = sql_dialect
        self._prepared = lru_cache(maxsize=None)(self._prepare)

    def _prepare(self, build: Build, *shape: Any) -> Prepared:
        compiled: Any = build(self.tables, *shape).compile(dialect=self._sql_dialect)
        constants = {name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required}
        return Prepared(str(compiled), constants, compiled.positiontup if compiled.positional else None)

    def rows(self, conn: Connection, build: Build, *shape: Any, **values: Any) -> list[Any]:
        """Run a statement that returns rows; gives the driver's own tuples."""
        result = self._run(conn, build, shape, values)
        rows: list[Any] = list(result.cursor.fetchall()) if result.cursor is not None else []
        result.close()
        return rows

    def change(self, conn: Connection, build: Build, *shape: Any, **values: Any) -> int:
        """Run a statement that returns no rows; return how many it changed."""
        return int(self._run(conn, build, shape, values).rowcount)

    def change_each(self, conn: Connection, build: Build, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run a statement once for each row of parameters."""
        prepared = self._prepared(build)
        conn.exec_driver_sql(prepared.text, [prepared.parameters(row) for row in rows])

    def _run(self, conn: Connection, build: Build, shape: tuple[Any, ...], values: dict[str, Any]) -> Any:
        prepared = self._prepared(build, *shape)
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = self._many(value)
        return conn.exec_driver_sql(prepared.text, prepared.parameters(values))
