"""Which Imgs listen to which models: what ``Img.queue`` and ``Img.queue_existing`` ask of Django's models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.db.models import FileField, ImageField, QuerySet
from django.db.models.base import ModelBase

from easyimg.errors import SpecError, did_you_mean, shown
from easyimg.img import Img
from easyimg.models import field_names
from easyimg.source import Source
from easyimg_django.storage import alias_of, file_fields

_CHUNK = 500
"""Rows per SELECT of the files that a model has now."""


class Wish(NamedTuple):
    """An Img that listens to some fields of a model and its subclasses."""

    img: Img
    model: Any
    fields: tuple[str, ...]
    build: Any  # what `check_choice` let pass
    dispatch_uid: str | None

    def is_same(self, other: Wish) -> bool:
        """Return whether one of the two is enough; equal Imgs of two apps are not the same."""
        if self.dispatch_uid is not None and self.dispatch_uid == other.dispatch_uid:
            return self.model is other.model
        return self == other and self.img.app is other.img.app


class DjangoModels:
    """Django's models, for :class:`easyimg.models.Models`.

    A model may be named as ``"app.Model"`` (``settings.AUTH_USER_MODEL``), also before models are loaded.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget what listens; for tests."""
        self._wishes: list[Wish] = []
        self._early: list[tuple[Img, str, dict[str, Any]]] = []
        self._tidied: set[tuple[Any, str]] = set()

    def accept(self, model: Any) -> bool:
        """Return whether it is a class of models, or the name of one."""
        return isinstance(model, ModelBase) or (isinstance(model, str) and model.count(".") == 1)

    def listen(
        self, img: Img, model: Any, *, fields: Any = None, build: str | None = None, dispatch_uid: str | None = None
    ) -> None:
        """Have an Img's variants queued for every file saved in these fields from now on; the same wish twice is one.

        Of a proxy, only what is saved through the proxy counts; an abstract model stands for all that are made from it.
        """
        if isinstance(model, str) and not apps.models_ready:
            self._early.append((img, model, {"fields": fields, "build": build, "dispatch_uid": dispatch_uid}))
            return
        found = _model(model)
        wish = Wish(img, found, _names(found, fields), build, dispatch_uid)
        self._wishes = [*(w for w in self._wishes if not w.is_same(wish)), wish]

    def ready(self) -> None:
        """Take up the wishes for models that were named before they were there.

        Raises:
            SpecError: there is no such model, or it has no such field.
        """
        early, self._early = self._early, []
        for img, model, options in early:
            self.listen(img, model, **options)

    def wishes(self, model: Any, field: str) -> list[Wish]:
        """Return what listens to a field when an instance of a model is saved."""
        return [wish for wish in self._wishes if field in wish.fields and issubclass(model, wish.model)]

    def stored(self, model: Any, *, fields: Any = None, session: Any = None) -> tuple[int, Iterable[Source]]:
        """Return how many rows there are at most (one count each), and the files in them, 500 rows a SELECT."""
        if session is not None:
            raise SpecError("session: Django's models know their database; leave it out")
        found = _model(model)
        names = _names(found, fields)
        tables = _tables(found)
        columns = [(table, table._meta.get_field(name)) for table in tables for name in names]  # noqa: SLF001 - public
        rows = sum(QuerySet(table).count() for table in tables)
        return rows * len(names), (source for column in columns for source in _stored(*column))

    def tidy(self, model: Any, fields: Any) -> None:
        """Delete the originals of these fields with the last row that names them."""
        found = _model(model)
        self._tidied.update((found, name) for name in _names(found, fields))

    def is_tidied(self, model: Any, field: str) -> bool:
        """Return whether originals of a field are deleted with the last row that names them."""
        return any(field == name and issubclass(model, tidied) for tidied, name in self._tidied)


listeners = DjangoModels()
"""Those of this process."""


def delete_originals(model: Any, *, fields: Any = None) -> None:
    """Delete the original too when an instance is deleted, or its file replaced or cleared; for start-up code.

    After the commit, and only while no row of any FileField names that file any more, nor the default of one.
    References that Django does not know (texts, other sites) are not seen. Without this, no original is ever deleted.

    Args:
        model, fields: as in ``Img.queue``.

    Raises:
        SpecError: it is no model, or has no such field.
    """
    listeners.tidy(model, fields)


def _model(model: Any) -> Any:
    if isinstance(model, ModelBase):
        return model
    if not (isinstance(model, str) and model.count(".") == 1):
        raise SpecError(f"model: {shown(model)} is neither a model nor like 'app.Model'")
    try:
        return apps.get_model(model)
    except LookupError as exc:
        known = [found._meta.label for found in apps.get_models()]  # noqa: SLF001 - public
        raise SpecError(f"model: no model {shown(model)}{did_you_mean(model, known)}") from exc


def _names(model: Any, fields: Any) -> tuple[str, ...]:
    """Return the names of the fields that are meant.

    Raises:
        SpecError: one is not there or holds no files, or none is meant.
    """
    label = model._meta.label  # noqa: SLF001 - public
    files = {field.name: field for field in file_fields(model)}
    given = field_names(fields)
    if given is None:
        kind = ImageField if fields is None else fields
        chosen = [name for name, field in files.items() if isinstance(field, kind)]
        chosen = chosen or (list(files) if fields is None else [])
    else:
        chosen = list(dict.fromkeys(given))
    for name in chosen:
        if name not in files:
            raise SpecError(f"fields: {label} has no field {shown(name)} that holds files{did_you_mean(name, files)}")
    if not chosen:
        kind = "field that holds files" if fields is None else f"such field: {shown(fields)}"
        raise SpecError(f"fields: {label} has no {kind}{did_you_mean('', files) if fields is not None else ''}")
    return tuple(chosen)


def _tables(model: Any) -> list[Any]:
    """Return the models whose rows are meant: those made from an abstract one, else itself."""
    if not model._meta.abstract:  # noqa: SLF001 - public
        return [model]
    made = [m for m in apps.get_models() if issubclass(m, model) and not m._meta.proxy]  # noqa: SLF001 - public
    return [m for m in made if not any(parent in made for parent in m._meta.get_parent_list())]  # noqa: SLF001


def _stored(model: Any, field: FileField) -> Iterator[Source]:
    """Yield the files of one column, by ranges of the primary key: no cursor is open while their rows are written."""
    alias = alias_of(field)
    rows = QuerySet(model).exclude(**{field.name: ""}).exclude(**{field.name: None}).order_by("pk")
    rows = rows.values_list("pk", field.name)
    after = None
    while found := list((rows if after is None else rows.filter(pk__gt=after))[:_CHUNK]):
        yield from (Source(alias, str(name)) for _, name in found)
        after = found[-1][0]
