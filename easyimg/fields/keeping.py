"""Telling ``clean`` which originals rows name."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import String, select, type_coerce

from easyimg.fields.columns import ImageColumn, mapped_columns
from easyimg.fields.reading import Reader, bound_reader
from easyimg.presence import batches
from easyimg.unsettled import Note

_NAMES = 250
"""Files per query."""


class MappedRows:
    """The rows of the mapped classes of this process, read with what they are bound to."""

    def watches(self, alias: str) -> bool:
        """Return whether any class keeps files in that storage."""
        return any(column.field.storage == alias for _, column in mapped_columns())

    def kept(self, alias: str, note: Note) -> frozenset[str] | None:
        """Return the files that any row names, in whichever column; None where one of them cannot be read."""
        columns = {column.where: (cls, column) for cls, column in mapped_columns() if column.field.storage == alias}
        if note.column not in columns:
            return None
        readers = [(bound_reader(cls), column) for cls, column in columns.values()]
        found: set[str] = set()
        for reader, column in readers:
            if reader is None:
                return None
            for names in batches(note.files, _NAMES):
                found |= _named(reader, column, [*names, *(note.files[name] for name in names)])
        return frozenset(found)


def _named(read: Reader, column: ImageColumn, texts: Sequence[str]) -> set[str]:
    """Ask the table itself: no filter that a site puts on its models is in the way."""
    query = select(column.column).where(type_coerce(column.column, String).in_(texts))
    return {image.name for (image,) in read(query) if image is not None}
