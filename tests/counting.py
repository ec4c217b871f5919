"""Instruments, not mocks: what counts the statements and doorbells of a real site."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Self

import sqlalchemy

from easyimg import EasyImg


class Bell:
    """A queue that only remembers what was rung for, one list a ring; a ring for no source is none."""

    inline = False

    def __init__(self) -> None:
        self.rung: list[list[str]] = []

    def ring(self, source_ids: Iterable[str]) -> None:
        if ids := list(source_ids):
            self.rung.append(ids)

    def close(self) -> None:
        pass


class _Watch(list[Any]):
    """What each SQL statement since the block began is noted as."""

    def __init__(self, app: EasyImg) -> None:
        super().__init__()
        self._engine = app.metadata.engine  # type: ignore[attr-defined]

    def _note(self, _conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        sqlalchemy.event.listen(self._engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        sqlalchemy.event.remove(self._engine, "before_cursor_execute", self._note)


class Statements(_Watch):
    """The SQL statements sent since the block began."""

    def _note(self, _conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.append(statement)


class Threads(_Watch):
    """The threads that have sent a statement since the block began, one for each statement."""

    def _note(self, *_: Any) -> None:
        self.append(threading.get_ident())
