"""Reading what a page needs: one SELECT, plain tuples, values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from easyimg.geometry import Focus
from easyimg.metadata.dialects import Dialect
from easyimg.metadata.tables import STATUSES
from easyimg.preview import Preview
from easyimg.source import SourceInfo
from easyimg.variant import SourceRecord, Variant

_CHUNK = 5000
"""Keys per SELECT."""


def select(dialect: Dialect, ids: list[str], keys: list[str], previews: bool, conn: Connection) -> list[Any]:
    """Return the rows of sources and variants, as ``dialects`` has them."""
    statement = dialect.preview_sql if previews else dialect.fetch_sql
    result = conn.exec_driver_sql(statement, (dialect.many(ids), dialect.many(keys)))
    # The driver's own tuples: SQLAlchemy's rows would cost as much again as the query.
    rows: list[Any] = list(result.cursor.fetchall()) if result.cursor is not None else []
    result.close()
    return rows


def chunks(wanted: Mapping[str, Sequence[str]]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield source ids and keys, up to ``_CHUNK`` keys (or sources) at a time; a source's keys may be split."""
    ids: list[str] = []
    keys: list[str] = []
    for source_id, asked in wanted.items():
        ids.append(source_id)
        keys.extend(asked)
        while len(keys) > _CHUNK:
            yield ids, keys[:_CHUNK]
            ids, keys = [source_id], keys[_CHUNK:]
        if len(ids) >= _CHUNK or len(keys) == _CHUNK:
            yield ids, keys
            ids, keys = [], []
    if ids:
        yield ids, keys


def collect(records: dict[str, SourceRecord], rows: list[Any]) -> None:
    """Put each variant's row below its source's, in whatever order they came."""
    for id_, key, generation, _, error, format_, width, height, has_alpha, frames, interlaced, x, y in rows:
        if key is None and id_ not in records:
            info = None
            if width is not None:
                info = SourceInfo(width, height, format_, bool(has_alpha), frames, bool(interlaced))
            records[id_] = SourceRecord(id_, generation, info, None if x is None else Focus(x, y), error, {})
    for id_, key, status, storage, file_name, format_, width, height, _, behind, *_ in rows:
        if key is not None and id_ in records:
            variant = Variant(key, STATUSES[status], storage, file_name, format_, width, height, behind is not None)
            records[id_].variants[key] = variant


def collect_previews(records: dict[str, SourceRecord], rows: list[Any]) -> None:
    """Add the previews to the records of the same rows."""
    for id_, key, _, text, *_ in rows:
        if key is None:
            preview = None if text is None else Preview(*text.split(" ", 1))
            records[id_] = records[id_]._replace(preview=preview, is_previewed=True)
