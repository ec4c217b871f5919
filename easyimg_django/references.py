"""Which files no row names any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from django.db import DatabaseError, connections, router
from django.db.models import FileField, QuerySet, Value

from easyimg.logs import event
from easyimg.source import Source
from easyimg_django.storage import is_same, own_file_fields, shared_name

_NameIn = Callable[[str, Any, Any], str | None]
"""Name, its storage, another storage -> the name that the other may have the file under."""

_CHUNK = 500
"""Names per SELECT."""


def unnamed(dropped: Mapping[Source, FileField], using: str) -> set[Source]:
    """Return those of these files that no FileField of the site names: one SELECT for each field of the same storage.

    A file that is the default of a field is named by it. In doubt, a file counts as named.

    Args:
        dropped: file -> a field that named it.
        using: the database where that was; others are looked at as the routers say.
    """
    return _left(dropped, using, _name_in_the_same)


def unnamed_elsewhere(dropped: Mapping[Source, FileField], using: str) -> set[Source]:
    """Return those of these files that no field of *another* storage names, which may hold the same files.

    Args:
        dropped, using: as for ``unnamed``, of which these are a part.
    """
    return _left(dropped, using, _name_in_another)


def _name_in_the_same(name: str, one: Any, other: Any) -> str | None:
    return name if is_same(one, other) else None


def _name_in_another(name: str, one: Any, other: Any) -> str | None:
    return None if is_same(one, other) else shared_name(name, one, other)


def _left(dropped: Mapping[Source, FileField], using: str, name_in: _NameIn) -> set[Source]:
    left = dict(dropped)
    try:
        for field in own_file_fields() if left else ():
            _leave_out(left, field, using, name_in)
    except DatabaseError as exc:
        event(logging.WARNING, "files count as named, since rows cannot be asked", error=exc)
        return set()
    return set(left)


def _leave_out(left: dict[Source, FileField], field: FileField, using: str, name_in: _NameIn) -> None:
    """Take out the files that a field names."""
    names = {source: name_in(source.name, of.storage, field.storage) for source, of in left.items()}
    mine = {name for name in names.values() if name is not None}
    if not mine:
        return
    named = _defaults(field)
    for alias in _databases(field, using, {of.model for of in left.values()}):
        named |= _named(alias, field, list(mine))
    for source, name in names.items():
        if name in named:
            del left[source]


def _defaults(field: FileField) -> set[str]:
    value = getattr(field, "db_default", None)  # since Django 5.0
    found = {str(value.value if isinstance(value, Value) else value)}
    return found | ({str(field.get_default())} if field.has_default() else set())


def _databases(field: FileField, using: str, dropped: Collection[Any]) -> Iterator[str]:
    """Yield the databases that have rows of a field, also where migrations are forbidden."""
    own = router.db_for_write(field.model)
    for alias in dict.fromkeys((using, own)):
        is_written = alias == own or (alias == using and field.model in dropped)
        if is_written or router.allow_migrate_model(alias, field.model):
            yield alias


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
