"""Whose models an Img can listen to: adapters say so here, and ``Img.queue`` asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from easyimg.errors import SpecError, shown
from easyimg.source import Source

if TYPE_CHECKING:
    from easyimg.img import Img


class Models(Protocol):
    """The models of one framework."""

    def accept(self, model: Any) -> bool:
        """Return whether this is one of its model classes."""
        ...

    def listen(
        self, img: Img, model: Any, *, fields: Any = None, build: str | None = None, dispatch_uid: str | None = None
    ) -> None:
        """Call ``img.order(source, build=build)`` for every file saved in these fields from now on, after the commit.

        Args:
            img: the recipe.
            model: the class; its subclasses count.
            fields: names, or a class of fields; None = all that hold images, else all that hold files.
            build: what is built at once.
            dispatch_uid: a second call with the same one for this model replaces the first.

        Raises:
            SpecError: the model has no such field.
        """
        ...

    def stored(self, model: Any, *, fields: Any = None, session: Any = None) -> tuple[int, Iterable[Source]]:
        """Return how many rows there are at most, and the sources in these fields, read a few rows at a time.

        Args:
            model, fields: as in ``listen``.
            session: what to read with, for frameworks whose models do not know it.

        Raises:
            SpecError: the model has no such field, or cannot be read with that.
        """
        ...


_known: list[Models] = []


def add_models(models: Models) -> None:
    """Let a framework answer for its models; called by adapters, once each."""
    if models not in _known:
        _known.append(models)


def models_of(model: Any) -> Models:
    """Return who answers for a model.

    Raises:
        SpecError: nobody does.
    """
    for models in _known:
        if models.accept(model):
            return models
    raise SpecError(
        f"model: {shown(model)} is no model that easyimg can listen to; give a Django model (with easyimg_django in "
        "INSTALLED_APPS) or a class mapped by SQLAlchemy (with a column of easyimg.fields.ImageField)"
    )


def field_names(fields: Any) -> Sequence[str] | None:
    """Return the names in an argument ``fields``; None where it is none or a class.

    Raises:
        SpecError: it is something else.
    """
    if fields is None or isinstance(fields, type):
        return None
    names = [fields] if isinstance(fields, str) else list(fields)
    for name in names:
        if not isinstance(name, str):
            raise SpecError(f"fields: {shown(name)} is not the name of a field")
    return names
