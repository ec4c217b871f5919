"""Django's storages as easyimg's: every alias of ``STORAGES``, and those that only a field has."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.core.files.storage import FileSystemStorage, InvalidStorageError, default_storage, storages
from django.db.models import FileField
from django.db.models.fields.files import FieldFile

from easyimg.errors import ConfigError
from easyimg.logs import event
from easyimg.ports import Storage
from easyimg.source import Source
from easyimg_django.files import DjangoStorage

DEFAULT = "default"
"""The alias that fields use where nothing else is said; ``default_storage`` stands for it."""

STATIC = "staticfiles"
"""The alias that holds no uploads. It is left alone."""

VARIANTS = "easyimg"
"""The alias that variants are written to where the site has one; else ``default``."""


class UnmadeStorage(ConfigError):
    """A storage of ``STORAGES`` cannot be made as it is written there; the cause says why."""


class SiteStorages(Mapping[str, Storage]):
    """Alias -> storage: those of ``STORAGES``, and ``app.Model.field`` for a field with a storage of its own.

    Each is made when it is first asked for.

    Args:
        chosen: storages of ``EASYIMG``, which come first.
    """

    def __init__(self, chosen: Mapping[str, Any]) -> None:
        self._chosen = chosen
        self._found: dict[str, DjangoStorage] = {}

    def __getitem__(self, alias: str) -> Any:
        if alias in self._chosen:
            return self._chosen[alias]
        found = self._found.get(alias)
        if found is None:
            found = self._found[alias] = DjangoStorage(_site_storage(alias))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._chosen, *_names(), *_own_aliases()]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def source_of(file: FieldFile) -> Source | None:
    """Return the address of a field's file; None while the field is empty."""
    return Source(alias_of(file.field), file.name) if file.name else None


def alias_of(field: FileField) -> str:
    """Return the alias under which a field's storage is known."""
    alias = _aliases.get(field)
    if alias is None:
        alias = _aliases[field] = _alias(field)
    return alias


def file_fields(model: Any) -> list[FileField]:
    """Return the columns of a model that hold files, its parents' included."""
    return [field for field in model._meta.concrete_fields if isinstance(field, FileField)]  # noqa: SLF001 - public


def own_file_fields() -> Iterator[FileField]:
    """Yield every column of the site that holds files, once: proxies and children show those of others."""
    for model in apps.get_models(include_auto_created=True):
        if not model._meta.proxy:  # noqa: SLF001 - public
            yield from (field for field in file_fields(model) if field.model is model)


def is_same(one: Any, other: Any) -> bool:
    """Return whether two storages are one; ``default_storage`` is a stand-in for that of ``default``."""
    return one is other or bool(one == other)


def shared_name(name: str, one: Any, other: Any) -> str | None:
    """Return by which name another storage may have the very file that one has; None where it cannot.

    Two objects may stand for one folder or bucket. Of folders that can be told, also of one in another; of buckets not,
    so any two storages that are no folders may share a file.
    """
    if is_same(one, other):
        return name
    if isinstance(one, FileSystemStorage) and isinstance(other, FileSystemStorage):
        file, folder = Path(one.location, name).resolve(), Path(other.location).resolve()
        return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else None
    is_folder = isinstance(one, FileSystemStorage) or isinstance(other, FileSystemStorage)
    return None if is_folder else name


def forget() -> None:
    """Look again: the setting has changed."""
    _aliases.clear()


_aliases: dict[FileField, str] = {}


def _alias(field: FileField) -> str:
    if field.storage is default_storage:
        return DEFAULT
    for alias in _names():
        try:
            if is_same(_made(alias), field.storage):
                return alias
        except UnmadeStorage as exc:  # another alias is wrong; this field's page is not
            event(logging.ERROR, "a storage cannot be made", storage=alias, error=exc)
    return _own_alias(field)


def _own_alias(field: FileField) -> str:
    return f"{field.model._meta.label}.{field.name}"  # noqa: SLF001 - Django's public Options


def _own_aliases() -> Iterator[str]:
    return (alias for field in own_file_fields() if (alias := alias_of(field)) == _own_alias(field))


def _names() -> list[str]:
    return [alias for alias in storages.backends if alias != STATIC]


def _made(alias: str) -> Any:
    try:
        return storages[alias]
    except Exception as exc:  # constructors raise what they like: of OPTIONS that they do not know, a TypeError
        told = exc if isinstance(exc, InvalidStorageError | ImproperlyConfigured) else f"{type(exc).__name__}: {exc}"
        raise UnmadeStorage(f"storages: {alias!r}: {told}") from exc


def _site_storage(alias: str) -> Any:
    """Return Django's storage of an alias, or that of the field it names.

    Raises:
        KeyError: there is neither.
        UnmadeStorage: it cannot be made as ``STORAGES`` says.
    """
    if alias in _names():
        return _made(alias)
    label, _, name = alias.rpartition(".")
    try:
        field = apps.get_model(label)._meta.get_field(name)  # noqa: SLF001 - public
    except (LookupError, ValueError, FieldDoesNotExist) as exc:
        raise KeyError(alias) from exc
    if not isinstance(field, FileField):
        raise KeyError(alias)
    return field.storage
