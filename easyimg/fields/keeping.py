"""Telling ``clean`` which originals rows name."""

from __future__ import annotations

import logging

from easyimg.fields.columns import columns_of
from easyimg.fields.looking import named
from easyimg.fields.reading import bound_reader
from easyimg.logs import event
from easyimg.unsettled import Note


class MappedRows:
    """The rows of the mapped classes of this process, read with what they are bound to."""

    def watches(self, alias: str) -> bool:
        """Return whether any class keeps files in that storage."""
        return any(True for _ in columns_of(alias))

    def kept(self, alias: str, note: Note) -> frozenset[str] | None:
        """Return the files that any row names, in whichever column; None where one of them cannot be read."""
        columns = list(columns_of(alias))
        if not any(column.where == note.column for _, column in columns):
            return None
        found: set[str] = set()
        for cls, column in columns:
            read = bound_reader(cls)
            if read is None:
                return None
            try:
                found |= named(read, column, list(note.files))
            except Exception as exc:  # noqa: BLE001  # the site's own session, which may want more than there is here
                event(logging.WARNING, "rows that may name originals cannot be read", column=column.where, error=exc)
                return None
        return frozenset(found)
