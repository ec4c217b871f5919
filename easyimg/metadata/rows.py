"""What every metadata store knows of rows, whatever it speaks to its database with. Loads no database library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from easyimg.errors import MetadataError, shown
from easyimg.geometry import Focus
from easyimg.preview import Preview
from easyimg.source import Source, SourceInfo
from easyimg.variant import SourceDetail, SourceRecord, Variant, VariantDetail, VariantStatus, Wanted

MAX_NAME: Final = 1024
"""Longest source name, characters; longer ones are no storage names either."""

MAX_STORAGE: Final = 100
"""Longest alias of a storage, characters."""

GAVE_UP: Final = "GaveUp"
"""``error_kind`` of variants that were closed because nothing more will be tried."""

MAX_MESSAGE: Final = 2000
"""Longest error text kept in a row, characters."""

MAX_KIND: Final = 64
"""Longest class name of an error kept in a row, characters."""

EXACT_BELOW = 50_000
"""Rows in a table up to which ``sources`` and ``generated`` are counted whenever they are asked for."""

RECOUNT_AFTER = 300.0
"""Seconds after which a sweeper counts large tables again."""

OUTDATED = 3600.0
"""Seconds after which whoever asks counts again, because no sweeper runs."""

SUMMARY: Final = "counts"
"""Name of the row that remembers the totals of large tables."""

STATUSES: Final = tuple(VariantStatus)
"""Status by number: indexing is five times faster than calling the enum."""

FACTS: Final = ("width", "height", "format", "has_alpha", "frames", "interlaced")
"""Columns of a source's measured facts: all NULL until it was seen."""

FILE_COLUMNS: Final = ("file_storage", "file_name", "format", "width", "height", "bytes")
"""A variant's columns for the fields of ``Built`` after its key."""

FORGOTTEN: Final = {
    "file_storage": "",
    "file_name": "",
    "format": "",
    "width": 0,
    "height": 0,
    "bytes": 0,
    "built_at": None,
}
"""The columns of a variant that has no file."""

NewVariant = tuple[str, str, str, int]
"""Key, source id, canonical spec, priority."""

_CHUNK = 5000
"""Keys per SELECT."""


def check_source(source: Source) -> None:
    """Refuse what a database would cut short or choke on."""
    if "\0" in source.name or not 0 < len(source.name) <= MAX_NAME or len(source.storage) > MAX_STORAGE:
        raise MetadataError(f"source {shown(source.name)} cannot be stored: its name is empty, too long or holds a NUL")


def facts(info: SourceInfo | None) -> dict[str, Any]:
    """Return the columns of a source's measured facts."""
    return dict.fromkeys(FACTS) if info is None else {name: getattr(info, name) for name in FACTS}


def focus_of(row: Any) -> Focus | None:
    """Return a source row's own focus point."""
    return None if row.focus_x is None else Focus(row.focus_x, row.focus_y)


def info_of(row: Any) -> SourceInfo | None:
    """Return a source row's measured facts."""
    if row.width is None:
        return None
    return SourceInfo(row.width, row.height, row.format, bool(row.has_alpha), row.frames, bool(row.interlaced))


def closed(kind: str, error: str) -> dict[str, Any]:
    """Return the columns of a variant that is not owed any more."""
    return {"due_at": None, "token": None, "error_kind": said(kind)[:MAX_KIND], "error": said(error)}


def said(text: str) -> str:
    """Return an error's text as every database keeps it: not too long, without NUL and halves of characters.

    A verdict that cannot be written would be found again and again.
    """
    return text[:MAX_MESSAGE].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def iso(moment: Any) -> str:
    """Return a stored time as ISO 8601, UTC; SQLite gives text, MySQL a time without zone."""
    if moment is None:
        return ""
    time: datetime = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)).isoformat()


# Queueing.


def by_source(wanted: Iterable[Wanted]) -> dict[str, Wanted]:
    """Return one wish per source, sorted by id, one with facts where any has them.

    Raises:
        MetadataError: a name cannot be kept.
    """
    wishes = {item.source.id: item for item in sorted(wanted, key=lambda item: item.info is not None)}
    for item in wishes.values():
        check_source(item.source)
    return {id_: wishes[id_] for id_ in sorted(wishes)}


def new_variants(wanted: Iterable[Wanted]) -> list[NewVariant]:
    """Return one row per key, sorted, with the highest priority it is wanted with."""
    rows: dict[str, NewVariant] = {}
    for item in wanted:
        for key, spec in item.specs.items():
            known = rows.get(key)
            if known is None or known[3] < item.priority:
                rows[key] = (key, item.source.id, spec, int(item.priority))
    return sorted(rows.values())


# Fetching.


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


_RECORDS: Final = (
    "SELECT s.id, NULL, s.generation, {preview}, s.error, s.format, s.width, s.height,"
    " s.has_alpha, s.frames, s.interlaced, s.focus_x, s.focus_y FROM {sources}"
    " UNION ALL SELECT v.source_id, v.key, v.status, v.file_storage, v.file_name, v.format, v.width, v.height,"
    " NULL, CASE WHEN v.status = 0 AND v.priority = 0 THEN 1 END, NULL, NULL, NULL FROM {variants}"
)
"""Sources, and below them variants (those with a key) in the same columns.

A quarter less time than a join, which repeats a source's facts for each of its variants.
"""


def records(sources: str, variants: str, preview: str = "s.color || ' ' || COALESCE(s.blur, '')") -> tuple[str, str]:
    """Return the statement without previews, and with them: they take a seventh longer."""
    plain, full = (_RECORDS.format(sources=sources, variants=variants, preview=text) for text in ("NULL", preview))
    return plain, full


def collect(records: dict[str, SourceRecord], rows: list[Any]) -> None:
    """Put each variant's row of ``records()`` below its source's, in whatever order they came."""
    variants = {id_: record.variants for id_, record in records.items()}
    make = Variant._make  # half the time of calling the class, and a page has hundreds
    for id_, key, number, storage, text, format_, width, height, has_alpha, extra, interlaced, x, y in rows:
        below = variants.get(id_)
        if below is None:
            below = variants[id_] = {}
        if key is not None:
            below[key] = make((key, STATUSES[number], storage, text, format_, width, height, extra is not None))
        elif id_ not in records:
            info = None
            if width is not None:
                info = SourceInfo(width, height, format_, bool(has_alpha), extra, bool(interlaced))
            records[id_] = SourceRecord(id_, number, info, None if x is None else Focus(x, y), text, below)


def collect_previews(records: dict[str, SourceRecord], rows: list[Any]) -> None:
    """Add the previews to the records of the same rows."""
    for id_, key, _, text, *_ in rows:
        if key is None:
            preview = None if text is None else Preview(*text.split(" ", 1))
            records[id_] = records[id_]._replace(preview=preview, is_previewed=True)


def preview_of(row: Any) -> Preview | None:
    """Return a source row's preview."""
    return None if row.color is None else Preview(row.color, row.blur or "")


# Reports.


def detail_of(row: Any, variants: Iterable[Any]) -> SourceDetail:
    """Return all that the rows of a source and its variants say."""
    return SourceDetail(
        id=row.id,
        source=Source(row.storage, row.name),
        generation=row.generation,
        version=row.version,
        info=info_of(row),
        focus=focus_of(row),
        crashes=row.crashes,
        error=row.error,
        created_at=iso(row.created_at),
        variants=tuple(_variant_detail(variant) for variant in variants),
    )


def _variant_detail(row: Any) -> VariantDetail:
    return VariantDetail(
        key=row.key,
        spec=row.spec,
        status=STATUSES[row.status],
        attempts=row.attempts,
        errors=row.errors,
        error_kind=row.error_kind,
        error=row.error,
        due_at=iso(row.due_at),
        storage=row.file_storage,
        file_name=row.file_name,
        format=row.format,
        width=row.width,
        height=row.height,
        bytes=row.bytes,
        created_at=iso(row.created_at),
        built_at=iso(row.built_at),
    )
