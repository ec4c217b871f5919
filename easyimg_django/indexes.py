"""An index on some of the rows, where the database knows such indexes; on all of them elsewhere."""

from __future__ import annotations

from typing import Any

from django.db import models


class PartialIndex(models.Index):
    """An index with a condition that MariaDB and MySQL leave out, without the warning ``models.W037``.

    Args:
        where: the condition.
        **options: as for every index; ``name`` is needed.
    """

    def __init__(self, *, where: models.Q, **options: Any) -> None:
        super().__init__(**options)
        self.where = where

    def deconstruct(self) -> Any:
        """Return what a migration writes."""
        path, expressions, options = super().deconstruct()
        return path, expressions, {**options, "where": self.where}

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **options: Any) -> Any:
        """Return the statement, with the condition where that is possible."""
        is_partial = schema_editor.connection.features.supports_partial_indexes
        index = models.Index(fields=self.fields, name=self.name, condition=self.where if is_partial else None)
        return index.create_sql(model, schema_editor, using=using, **options)
