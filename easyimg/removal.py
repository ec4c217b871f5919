"""Removing a picture for good: its rows, its variants' files, its original."""

from __future__ import annotations

from easyimg.ports import App
from easyimg.source import Source


def remove_picture(app: App, source: Source) -> None:
    """Delete a source's rows, the files of its variants, and the original; safe to repeat.

    Rows go first: no page shows what is being deleted, and what an interruption leaves behind belongs to no row, which
    ``clean`` finds. A build under way can no longer publish.

    Raises:
        MetadataError: the rows cannot be changed; nothing was deleted.
        StorageError: a file could not be deleted; those before it are.
    """
    detail = app.metadata.inspect(source)
    rows = list(app.metadata.source_rows([source.id]).values()) if detail is not None else []
    gone = app.metadata.remove(rows) if rows else frozenset()
    app.cache.discard(source.id)
    if detail is not None and source.id in gone:
        for variant in detail.variants:
            if variant.file_name:
                app.storage(variant.storage).delete(variant.file_name)
    app.storage(source.storage).delete(source.name)
