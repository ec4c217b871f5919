"""The last look: whether any row names a file, asked of the database right before the file would be deleted.

What a transaction says of itself is not enough to delete a file by. A file may have been given to another row or
column; a statement may have copied its name; SQLite's driver may have committed a savepoint that was to be rolled back,
and an engine with ``AUTOCOMMIT`` rolls nothing back at all. So every mapped column of the file's storage is asked, over
a connection that sees what is committed, and the file goes only where all of them answer that they do not have it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Executable,
    Row,
    Select,
    String,
    Table,
    inspect,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from easyimg.fields.columns import ImageColumn, columns_of
from easyimg.fields.reading import Reader, bound_reader
from easyimg.fields.type import begins
from easyimg.logs import event
from easyimg.presence import batches

_NAMES = 250
"""Files per query."""


def named(read: Reader, column: ImageColumn, names: Collection[str]) -> set[str]:
    """Return those of these files that any row of a column names.

    Asks the table itself: no filter that a site puts on its models is in the way.
    """
    found = column.defaults
    for batch in batches(names, _NAMES):
        found.update(image.name for (image,) in read(_query(column, batch)) if image is not None)
    return found.intersection(names)  # some databases are blind to case


def _query(column: ImageColumn, names: Collection[str]) -> Select[Any]:
    """A row may hold the facts beside the name, or not, whatever another row of the same file holds."""
    text = type_coerce(column.column, String)
    return select(column.column).where(or_(text.in_(names), *(begins(text, f"{name}|") for name in names)))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the rows of a column are; ``bind`` = None where nobody knows."""

    column: ImageColumn
    bind: Engine | Connection | Reader | None


class LastLook:
    """All columns that may name files of one storage, and where their rows are.

    Made inside a flush: there, a session that reads from replicas says which database it writes to.

    Args:
        session: that flushes.
        connection: that it writes to.
        alias: of the storage.
    """

    def __init__(self, session: Session, connection: Connection, alias: str) -> None:
        self._alias = alias
        self._schemas = connection.get_execution_options().get("schema_translate_map")
        self._places = [_Place(column, _bind(session, cls, column)) for cls, column in columns_of(alias)]

    def wrote(self, column: ImageColumn, connection: Connection) -> None:
        """Ask where a column is being written as well: a session with shards names one of them only."""
        binds = [place.bind for place in self._places if place.column.column is column.column]
        if not any(getattr(bind, "engine", None) is connection.engine for bind in binds):
            self._places.append(_Place(column, connection.engine))

    @property
    def is_early(self) -> bool:
        """Whether the session has only joined a transaction that goes on: nothing is committed, whatever it says."""
        return any(isinstance(place.bind, Connection) and _is_open(place.bind) for place in self._places)

    def named(self, names: Collection[str], written: Collection[Column[Any]]) -> set[str] | None:
        """Return those of these files that any row names, as it is committed now; None = nobody can tell. Never raises.

        Args:
            names: of files.
            written: the columns that the transaction wrote; their tables have to be found.
        """
        found: set[str] = set()
        known = {place.column.column for place in self._places}
        late = [column.where for _, column in columns_of(self._alias) if column.column not in known]
        if late:  # mapped since the first flush: nobody has asked the session where their rows are
            what = "files that no row may need any more are left to clean: a class was mapped meanwhile"
            event(logging.WARNING, what, column=late[0], storage=self._alias)
            return None
        for place in self._places:
            try:
                found |= self._named(place, names, place.column.column in written)
            except Exception as exc:  # noqa: BLE001  # the border: the transaction has ended, and the file must stay
                what = "files that no row may need any more are left to clean: a column cannot be asked"
                event(logging.WARNING, what, column=place.column.where, storage=self._alias, error=exc)
                return None
        return found

    def _named(self, place: _Place, names: Collection[str], is_written: bool) -> set[str]:
        if place.bind is None:
            raise LookupError("nothing says where its rows are; call easyimg.fields.bind(Base, Session)")
        if not isinstance(place.bind, Engine | Connection):
            return named(place.bind, place.column, names)
        try:
            return named(partial(self._read, place.bind), place.column, names)
        except DBAPIError:
            if is_written or not self._is_absent(place.bind, place.column.column):
                raise
            return set()  # what the database has not, no row is in

    def _read(self, bind: Engine | Connection, query: Executable) -> list[Row[Any]]:
        with _connected(bind) as connection:
            return list(connection.execute(query, execution_options={"schema_translate_map": self._schemas}))

    def _is_absent(self, bind: Engine | Connection, column: Column[Any]) -> bool:
        """Return whether a table was never made, or is another application's of the same name, without that column."""
        table: Any = column.table
        if self._schemas or not isinstance(table, Table):
            return False
        with _connected(bind) as connection:
            database = inspect(connection)
            if not database.has_table(table.name, schema=table.schema):
                return True
            known = database.get_columns(table.name, schema=table.schema)
            return column.name.lower() not in {str(each["name"]).lower() for each in known}


def _bind(session: Session, cls: type, column: ImageColumn) -> Engine | Connection | Reader | None:
    table = column.column.table
    try:
        return session.get_bind(inspect(cls), clause=update(table) if isinstance(table, Table) else None)
    except Exception:  # noqa: BLE001  # a site's own get_bind; the flush must not fail for a class that is not in it
        return bound_reader(cls)


def _is_open(connection: Connection) -> bool:
    return not connection.closed and not connection.invalidated and connection.in_transaction()


@contextmanager
def _connected(bind: Engine | Connection) -> Iterator[Connection]:
    """Lend a connection that sees what is committed, and leave a site's own as it was."""
    if isinstance(bind, Engine) or bind.closed or bind.invalidated:
        with bind.engine.connect() as connection:
            yield connection
    elif bind.in_transaction():
        with bind.begin_nested():  # an error would else end the transaction, in PostgreSQL
            yield bind
    else:
        try:
            yield bind
        finally:
            bind.rollback()
