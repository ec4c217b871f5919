"""``Img.queue`` and ``Img.queue_existing`` for mapped classes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Column, func, inspect, or_, select, tuple_
from sqlalchemy.orm import MappedColumn, Mapper

from easyimg.errors import SpecError, did_you_mean, shown
from easyimg.fields.columns import image_columns
from easyimg.fields.reading import Reader, bound_reader, reader_of
from easyimg.fields.type import ImageField
from easyimg.img import Img
from easyimg.models import field_names
from easyimg.ports import App
from easyimg.source import Source

_CHUNK = 500
"""Rows per query."""


class _Wish(NamedTuple):
    """One call of ``Img.queue``; ``keys`` = names of attributes, None = all that hold images."""

    img: Img
    keys: frozenset[str] | None
    build: Any


_wishes: WeakKeyDictionary[type, dict[Any, _Wish]] = WeakKeyDictionary()
_numbers = count()


def order(app: App, model: type, key: str, source: Source) -> None:
    """Order what is wanted of an image that was saved in an attribute of a class, or of one that it derives from.

    Raises:
        EasyImgError: something cannot be ordered or built.
    """
    for base in model.__mro__:
        for wish in list(_wishes.get(base, {}).values()):
            if wish.keys is None or key in wish.keys:
                wish.img.order(source, build=wish.build, app=app)


class MappedModels:
    """The classes that SQLAlchemy maps, and the mixins and bases they share."""

    def accept(self, model: Any) -> bool:
        """Return whether it is a mapped class, or one from which classes with images derive."""
        return isinstance(model, type) and (_mapper(model) is not None or bool(_fields(model)))

    def listen(
        self, img: Img, model: Any, *, fields: Any = None, build: Any = None, dispatch_uid: str | None = None
    ) -> None:
        """Keep the wish with the class; it is looked at when an image was saved in it or in a subclass."""
        keys = _chosen(model, fields)
        wish = _Wish(img, None if fields is None else frozenset(keys), build)
        _wishes.setdefault(model, {})[next(_numbers) if dispatch_uid is None else dispatch_uid] = wish

    def stored(self, model: Any, *, fields: Any = None, session: Any = None) -> tuple[int, Iterable[Source]]:
        """Return the number of rows, and the images in them, 500 rows a query, in order of the primary key."""
        keys = _chosen(model, fields)
        read = reader_of(session) if session is not None else bound_reader(model)
        if read is None:
            raise SpecError(
                f"session: nothing says where the rows of {model.__name__} are; give session=, or call "
                "easyimg.fields.bind(Base, Session) once"
            )
        parts = list(_parts(model, keys))
        rows = sum(read(select(func.count()).select_from(part))[0][0] for part, _ in parts)
        return rows, (source for part, names in parts for source in _sources(part, names, read))


def _mapper(model: type) -> Mapper[Any] | None:
    found: Any = inspect(model, raiseerr=False)
    return found if isinstance(found, Mapper) else None


def _family(model: type) -> Iterator[type]:
    """Yield a class and all that derive from it, each after its bases."""
    found: dict[type, None] = {}  # in order
    waiting = [model]
    while waiting:
        cls = waiting.pop(0)
        found.pop(cls, None)
        found[cls] = None
        waiting += type.__subclasses__(cls)  # a metaclass asked by itself wants to be told which
    return iter(found)


def _fields(model: type) -> Mapping[str, ImageField]:
    """Return the attributes that hold images, of a class or of any that derives from it; name -> type of column."""
    found: dict[str, ImageField] = {}
    column: Any
    for cls in _family(model):
        mapper = _mapper(cls)
        if mapper is not None:
            found.update((column.key, column.field) for column in image_columns(mapper))
    for base in model.__mro__:  # of a mixin, also before anything was mapped
        for key, value in vars(base).items():
            column = value.column if isinstance(value, MappedColumn) else value
            if isinstance(column, Column) and isinstance(column.type, ImageField):
                found[key] = column.type
    return found


def _chosen(model: type, fields: Any) -> Collection[str]:
    """Return the names of the attributes that are meant.

    Raises:
        SpecError: there is no such attribute.
    """
    known = _fields(model)
    names = field_names(fields)
    if names is None:
        kind = ImageField if fields is None else fields
        names = [key for key, field in known.items() if isinstance(field, kind)]
        if not names:
            raise SpecError(f"model: {model.__name__} has no column of {kind.__name__}")
    for name in names:
        if name not in known:
            wrong = f"fields: {shown(name)} is no attribute of {model.__name__} that holds images"
            raise SpecError(wrong + did_you_mean(name, known))
    return names


def _parts(model: type, keys: Collection[str]) -> Iterator[tuple[type, list[str]]]:
    """Yield mapped classes and which of their attributes to read, so that none is read twice through a subclass."""
    for cls in _family(model):
        mapper = _mapper(cls)
        if mapper is None:
            continue
        own = {column.key for column in image_columns(mapper)}.intersection(keys)
        parent = mapper.inherits
        if parent is not None and not mapper.concrete and issubclass(parent.class_, model):
            own -= {column.key for column in image_columns(parent)}
        if own:
            yield cls, sorted(own)


def _sources(cls: type, keys: list[str], read: Reader) -> Iterator[Source]:
    """Yield the images of all rows; no query is open while one is looked at."""
    mapper = _mapper(cls)
    assert mapper is not None
    order = [getattr(cls, mapper.get_property_by_column(column).key) for column in mapper.primary_key]
    images = [getattr(cls, key) for key in keys]
    query = select(*order, *images).where(or_(*[image.is_not(None) for image in images])).order_by(*order)
    query = query.limit(_CHUNK)
    rows = read(query)
    while rows:
        for row in rows:
            yield from (image.source for image in row[len(order) :] if image is not None)
        last = rows[-1][: len(order)]
        later = order[0] > last[0] if len(order) == 1 else tuple_(*order) > tuple_(*last)
        rows = read(query.where(later)) if len(rows) == _CHUNK else []
