"""Indexes that databases know in different ways."""

from __future__ import annotations

from typing import Any

from django.db import models


class PartialIndex(models.Index):
    """An index on some of the rows, and on all of them on MariaDB and MySQL, without the warning ``models.W037``.

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


class BeginningIndex(models.Index):
    """An index that finds a text column's values by their first characters; see ``begins_with``.

    Args:
        **options: as for every index; ``fields`` names one column, and ``name`` is needed.
    """

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **options: Any) -> Any:
        """Return the statement.

        PostgreSQL compares by language unless told otherwise. InnoDB's indexes take 3,072 bytes of a column at most.
        """
        vendor = schema_editor.connection.vendor
        classes = ["varchar_pattern_ops"] if vendor == "postgresql" else []
        index = models.Index(fields=self.fields, name=self.name, opclasses=classes)
        if vendor != "mysql":
            return index.create_sql(model, schema_editor, using=using, **options)
        quote, column = schema_editor.quote_name, model._meta.get_field(self.fields[0]).column  # noqa: SLF001
        table = quote(model._meta.db_table)  # noqa: SLF001 - Django's public Options
        return f"CREATE INDEX {quote(self.name)} ON {table} ({quote(column)}(255))"


def begins_with(path: str, text: str, vendor: str) -> models.Q:
    """Return the condition that a NameField's value begins with a text, as the index of its column can answer it.

    On MySQL and SQLite it is a range: ``LIKE BINARY`` and ``LIKE ... ESCAPE`` would read every row.

    Args:
        path: of the field, as in a lookup.
        text: one character at least.
        vendor: of the connection.
    """
    after = _after(text) if vendor != "postgresql" else ""
    if not after:
        return models.Q(**{f"{path}__startswith": text})
    return models.Q(**{f"{path}__gte": text, f"{path}__lt": after})


def _after(text: str) -> str:
    """Return the first text, in the order of code points, that does not begin with this one; ``""`` = there is none."""
    stem = text.rstrip("\U0010ffff")
    if not stem:
        return ""
    last = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)  # no text holds half a surrogate pair
