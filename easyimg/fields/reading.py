"""How rows of models are read outside of a site's own sessions: models know no database of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Executable, Row
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from easyimg.errors import SpecError, shown

Reader = Callable[[Executable], list[Row[Any]]]
"""Runs a query and returns all its rows."""

_bound: WeakKeyDictionary[type, Reader] = WeakKeyDictionary()


def bind(base: type, session: Any) -> None:
    """Say what the rows of mapped classes are read with: by ``easyimg clean``, and by ``Img.queue_existing``.

    Connects to nothing. A second call for a class replaces the first.

    Args:
        base: a mapped class, or one that mapped classes derive from.
        session: a sessionmaker, a scoped_session or an Engine; of an async site, one for the same database that is not.

    Raises:
        SpecError: it is none of these.
    """
    if not isinstance(base, type):
        raise SpecError(f"base: {shown(base)} is not a class")
    _bound[base] = reader_of(session)


def bound_reader(model: type) -> Reader | None:
    """Return what a class, or the nearest that it derives from, is bound to."""
    return next((_bound[base] for base in model.__mro__ if base in _bound), None)


def reader_of(session: Any) -> Reader:
    """Return what runs queries with a Session, a maker of Sessions, an Engine or a Connection.

    Raises:
        SpecError: it is none of these.
    """
    if isinstance(session, Engine):
        return partial(_read_with_engine, session)
    if isinstance(session, Session | scoped_session | Connection):
        return partial(_read_with_session, session)
    if isinstance(session, sessionmaker):
        return partial(_read_with_maker, session)
    raise SpecError(
        f"session: {shown(session)} is not a Session, sessionmaker or Engine of SQLAlchemy; "
        "of an async site, give create_engine(...) for the same database"
    )


def _read_with_engine(engine: Engine, query: Executable) -> list[Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(query))


def _read_with_session(session: Any, query: Executable) -> list[Row[Any]]:
    return list(session.execute(query))


def _read_with_maker(maker: sessionmaker[Any], query: Executable) -> list[Row[Any]]:
    with maker() as session:
        return list(session.execute(query))
