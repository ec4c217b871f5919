"""Noticing which files of an instance are new, or no longer its own, when it is saved or deleted.

``post_init`` notes what an instance was loaded with, so that a save of unchanged files costs nothing: no query, no look
at a storage. A field that was deferred was not loaded, and is not loaded for this.

How a new file shows: it is not stored yet (an upload); its name is another; or its name, equal or not, is a *string*
that is not the one loaded, which is what ``FieldFile.save()`` and an assigned path leave behind, and what
``refresh_from_db()`` and forms do not.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.files import File
from django.db.models import signals
from django.db.models.fields.files import FieldFile

from easyimg_django.ledger import Dropped, Stored, note
from easyimg_django.storage import file_fields

_UID = "easyimg"

_columns: dict[Any, tuple[str, ...]] = {}


def watch_all() -> None:
    """Watch every model with files, and those that are made later."""
    for model in apps.get_models(include_auto_created=True):
        watch(model)
    signals.class_prepared.connect(_prepared, dispatch_uid=_UID)


def watch(model: Any) -> None:
    """Connect to a model's signals, if it has files; a second time does nothing."""
    meta = model._meta  # noqa: SLF001 - public
    if meta.abstract or meta.apps is not apps:  # migrations make models of their own
        return
    names = tuple(field.attname for field in file_fields(model))
    if not names:
        return
    _columns[model] = names
    signals.post_init.connect(_loaded, sender=model, dispatch_uid=_UID)
    signals.pre_save.connect(_saving, sender=model, dispatch_uid=_UID)
    signals.post_save.connect(_saved, sender=model, dispatch_uid=_UID)
    signals.post_delete.connect(_deleted, sender=model, dispatch_uid=_UID)


def _prepared(sender: Any, **_: Any) -> None:
    watch(sender)


def _loaded(sender: Any, instance: Any, **_: Any) -> None:
    instance._state.easyimg_names = {  # noqa: SLF001 - documented, and not among the instance's own names
        column: "" if _is_upload(instance.__dict__[column]) else _name(instance, column)
        for column in _columns[sender]
        if column in instance.__dict__
    }


def _saving(sender: Any, instance: Any, raw: bool, **_: Any) -> None:
    """Note what is new while that can still be seen: saving a file makes it look like one that was loaded."""
    if raw:
        return
    touched = {name for name in _columns[sender] if _is_touched(instance, name)}
    instance._state.easyimg_touched = _touched(instance) | touched  # noqa: SLF001


def _saved(sender: Any, instance: Any, raw: bool, using: str, created: bool, update_fields: Any, **_: Any) -> None:
    if raw or not (touched := _touched(instance)):
        return
    saved = touched if update_fields is None else touched & set(update_fields)
    instance._state.easyimg_touched = touched - saved  # noqa: SLF001
    for column in sorted(saved):
        field, name = sender._meta.get_field(column), _name(instance, column)  # noqa: SLF001
        for before in _known_names(instance, column, was_loaded=not created) - {name}:
            note(using, Dropped(sender, field, before))
        note(using, Stored(sender, field, name, instance))
        instance._state.easyimg_saved = {**_saved_names(instance), column: name}  # noqa: SLF001


def _deleted(sender: Any, instance: Any, using: str, **_: Any) -> None:
    for column in _columns[sender]:
        for name in _known_names(instance, column):
            note(using, Dropped(sender, sender._meta.get_field(column), name))  # noqa: SLF001


def _is_touched(instance: Any, column: str) -> bool:
    """Return whether a save would store another file, or name another, than the one loaded."""
    if column not in instance.__dict__:
        return False
    value, names = instance.__dict__[column], _names(instance)
    if instance._state.adding:  # noqa: SLF001 - nothing was loaded
        return bool(value)
    if _is_upload(value):
        return True
    if isinstance(value, FieldFile):
        return column in names and (value.name or "") != names[column]
    if isinstance(value, str):
        return value is not names.get(column) and bool(value or names.get(column))
    return value is None and bool(names.get(column))


def _is_upload(value: Any) -> bool:
    """Return whether it is a file that is not in its storage yet."""
    if isinstance(value, FieldFile):
        return bool(value) and not value._committed  # noqa: SLF001 - Django has no public word for it
    return isinstance(value, File)


def _names(instance: Any) -> dict[str, str]:
    return getattr(instance._state, "easyimg_names", {})  # noqa: SLF001


def _saved_names(instance: Any) -> dict[str, str]:
    """Return what was saved last, committed or not."""
    return getattr(instance._state, "easyimg_saved", {})  # noqa: SLF001


def _known_names(instance: Any, column: str, *, was_loaded: bool = True) -> set[str]:
    """Return the names that the row may have had so far: as loaded, and as saved in this transaction."""
    loaded = _names(instance).get(column, "") if was_loaded else ""
    return {loaded, _saved_names(instance).get(column, "")} - {""}


def _touched(instance: Any) -> set[str]:
    return getattr(instance._state, "easyimg_touched", set())  # noqa: SLF001


def _name(instance: Any, column: str) -> str:
    """Return the name of the file that a field holds now, as the very object that is found there; ``""`` for none."""
    value = instance.__dict__.get(column)
    name = value.name if isinstance(value, File) else value
    return name if isinstance(name, str) else ""
