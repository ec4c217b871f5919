"""Which files no row names any more."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from django.db import DatabaseError, connections, router
from django.db.models import FileField, QuerySet

from easyimg.logs import event
from easyimg.source import Source
from easyimg_django.storage import is_same, own_file_fields

_CHUNK = 500
"""Names per SELECT."""


def unnamed(dropped: Mapping[Source, FileField], using: str) -> set[Source]:
    """Return those of these files that no FileField of the site names: one SELECT for each field of the same storage.

    A file that is the default of a field is named by it. In doubt, a file counts as named.

    Args:
        dropped: file -> a field that named it.
        using: the database where that was; others are looked at as the routers say.
    """
    left = dict(dropped)
    try:
        for field in own_file_fields() if left else ():
            _leave_out(left, field, using)
    except DatabaseError as exc:
        event(logging.WARNING, "variants stay, since rows cannot be asked", error=exc)
        return set()
    return set(left)


def _leave_out(left: dict[Source, FileField], field: FileField, using: str) -> None:
    """Take out the files that a field names."""
    mine = {source.name: source for source, of in left.items() if is_same(of.storage, field.storage)}
    if not mine:
        return
    named = {str(field.get_default())} if field.has_default() else set()
    for alias in dict.fromkeys((using, router.db_for_write(field.model))):
        if router.allow_migrate_model(alias, field.model):
            named |= _named(alias, field, list(mine))
    for name in named & mine.keys():
        del left[mine[name]]


def _named(alias: str, field: FileField, names: list[str]) -> set[str]:
    found: set[str] = set()
    rows = QuerySet(field.model, using=alias).values_list(field.name, flat=True)
    try:
        for start in range(0, len(names), _CHUNK):
            found.update(rows.filter(**{f"{field.name}__in": names[start : start + _CHUNK]}))
    except DatabaseError:
        # A table that is not there names nothing: an app of another database, or not migrated yet.
        if field.model._meta.db_table in connections[alias].introspection.table_names():  # noqa: SLF001 - public
            raise
    return found
