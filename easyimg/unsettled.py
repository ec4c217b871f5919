"""Originals whose fate hangs on an open transaction: a note beside them, so that a killed process leaves no secret.

A file is stored, or is to be deleted, in the middle of a transaction that may yet be undone. Before that, a small note
is written into the same storage: which column of which table will name the file if it is to stay. The note goes once
the transaction has ended and its files were seen to. A note that is left over tells ``clean`` to ask the table; only
then is it known whether the file belongs to somebody. Nothing without a note is ever looked at.

The notes lie in the storage and not among the rows: the transaction may hold the one lock that an SQLite file has.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from easyimg.ports import Storage

FOLDER: Final = ".easyimg-unsettled"
"""Where notes lie, in every storage that has some."""

LEAST_AGE: Final = 3600.0
"""Seconds that a transaction is always given; younger notes are left alone, whatever was asked for."""


class Note(NamedTuple):
    """What a note says.

    Args:
        column: ``"table.column"``, whose rows name what is kept.
        files: name -> what the column holds then.
    """

    column: str
    files: Mapping[str, str]


class Keeper(Protocol):
    """Knows the columns that name originals."""

    def watches(self, alias: str) -> bool:
        """Return whether any of them names files of that storage."""
        ...

    def kept(self, alias: str, note: Note) -> frozenset[str] | None:
        """Return those of the note's files that any committed row names; None = cannot tell.

        Args:
            alias: of the storage that has the files.
            note: the note.
        """
        ...


_keepers: list[Keeper] = []


def add_keeper(keeper: Keeper) -> None:
    """Let an adapter answer for the columns of its models; once each."""
    if keeper not in _keepers:
        _keepers.append(keeper)


def is_watched(alias: str) -> bool:
    """Return whether there can be notes in that storage, as far as this process knows."""
    return any(keeper.watches(alias) for keeper in _keepers)


def kept(alias: str, note: Note) -> frozenset[str] | None:
    """Return those of the note's files that a row names; None = nobody can tell, so none may be touched."""
    for keeper in _keepers:
        names = keeper.kept(alias, note)
        if names is not None:
            return names
    return None


def write_note(place: Storage, note: Note) -> str:
    """Write a note and return its name; one call of the storage.

    Raises:
        StorageError: it could not be written.
    """
    name = f"{FOLDER}/{secrets.token_hex(16)}.json"
    text = json.dumps({"v": 1, "column": note.column, "files": dict(note.files)})
    place.write(name, text.encode(), "application/json")
    return name


def read_note(data: bytes) -> Note | None:
    """Return what a note's file says; None of a file that is none."""
    try:
        value: Any = json.loads(data)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("v") != 1:
        return None
    column, files = value.get("column"), value.get("files")
    if not isinstance(column, str) or not isinstance(files, dict):
        return None
    return Note(column, files) if all(isinstance(text, str) for text in files.values()) else None
