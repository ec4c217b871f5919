"""Django's storages as easyimg's: every alias of ``STORAGES``, and those that only a field has."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.core.files.storage import storages
from django.db.models import FileField
from django.db.models.fields.files import FieldFile

from easyimg.ports import Storage
from easyimg.source import Source
from easyimg_django.files import DjangoStorage

STATIC = "staticfiles"
"""The alias that holds no uploads. It is left alone."""

VARIANTS = "easyimg"
"""The alias that variants are written to where the site has one; else ``default``."""


class SiteStorages(Mapping[str, Storage]):
    """Alias -> storage: those of ``STORAGES``, and ``app.Model.field`` for a field with a storage of its own.

    Args:
        chosen: storages of ``EASYIMG``, which come first.
    """

    def __init__(self, chosen: Mapping[str, Any]) -> None:
        self._chosen = chosen
        self._lock = threading.Lock()
        self._found: dict[str, Any] | None = None

    def __getitem__(self, alias: str) -> Any:
        return self._all()[alias]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Any]:
        if self._found is None:
            with self._lock:
                if self._found is None:
                    self._found = {**_site(), **self._chosen}
        return self._found


def source_of(file: FieldFile) -> Source | None:
    """Return the address of a field's file; None while the field is empty."""
    return Source(alias_of(file.field), file.name) if file.name else None


def alias_of(field: FileField) -> str:
    """Return the alias under which a field's storage is known."""
    alias = _aliases.get(field)
    if alias is None:
        alias = _aliases[field] = _alias(field)
    return alias


def forget() -> None:
    """Look again: the setting has changed."""
    _aliases.clear()


_aliases: dict[FileField, str] = {}


def _alias(field: FileField) -> str:
    for alias in _names():
        if storages[alias] is field.storage or storages[alias] == field.storage:
            return alias
    return f"{field.model._meta.label}.{field.name}"  # noqa: SLF001 - Django's public Options


def _names() -> list[str]:
    return [alias for alias in storages.backends if alias != STATIC]


def _site() -> dict[str, Any]:
    found: dict[str, Any] = {alias: DjangoStorage(storages[alias]) for alias in _names()}
    for model in apps.get_models():
        for field in model._meta.get_fields():  # noqa: SLF001
            if isinstance(field, FileField) and alias_of(field) not in found:
                found[alias_of(field)] = DjangoStorage(field.storage)
    return found
