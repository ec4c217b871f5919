"""Tending: what people decide about sources and variants that they have chosen: try again, or build anew.

What is known of them elsewhere follows the commit, where the metadata store is part of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from easyimg.joined import rows_changed
from easyimg.ports import App
from easyimg.variant import VariantStatus


def try_again(app: App, source_ids: Iterable[str]) -> int:
    """Queue the failed variants of these sources again, and return how many.

    All of a source's: what gave up one of its variants is mostly the source.

    Raises:
        MetadataError: the rows could not be written; those of earlier sources are.
    """
    count, changed = 0, []
    try:
        for id_ in dict.fromkeys(source_ids):
            number = app.metadata.requeue(source_id=id_)
            count += number
            changed += [id_] if number else []
    finally:
        rows_changed(app, changed)
    return count


def build_anew(app: App, source_ids: Sequence[str]) -> int:
    """Queue all variants of these sources again, as if their originals had been replaced; return how many sources.

    What is known of the originals (their size above all) stays known until the build has read them again.

    Raises:
        MetadataError: the rows could not be written; those of earlier sources are.
    """
    rows = app.metadata.source_rows(source_ids)
    records = app.metadata.fetch(dict.fromkeys(rows, ()))
    changed: list[str] = []
    try:
        for id_, row in rows.items():
            record = records.get(id_)
            app.metadata.replace(row.source, record.info if record is not None else None)
            changed.append(id_)
    finally:
        rows_changed(app, changed)
    return len(changed)


def build_files_anew(app: App, keys: Sequence[str]) -> int:
    """Queue these variants again, if they are built or being built, and return how many.

    Raises:
        MetadataError: the rows could not be written.
    """
    rows = app.metadata.file_rows(keys)
    begun = [row for row in rows.values() if row.status in (VariantStatus.BUILT, VariantStatus.BUILDING)]
    owed = app.metadata.owe(begun)
    rows_changed(app, [row.source_id for row in begun if row.key in owed])
    return len(owed)
