"""Which attributes of mapped classes hold images; what is assigned to them is checked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Column, event, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import Null, TextClause

from easyimg.errors import EasyImgError, SpecError, shown
from easyimg.fields.image import AdoptedImage, StoredImage
from easyimg.fields.type import ImageField
from easyimg.source import Source


class ImageColumn(NamedTuple):
    """One attribute: its name, its column, the column's type."""

    key: str
    column: Column[Any]
    field: ImageField

    @property
    def where(self) -> str:
        """``"table.column"``."""
        table: Any = self.column.table  # of a class mapped to a subquery, none
        return f"{getattr(table, 'fullname', None) or table.description}.{self.column.name}"

    @property
    def defaults(self) -> set[str]:
        """Files that rows yet to come will name. A callable is asked once in this process: it may do work."""
        return {name for part in (self.column.default, self.column.server_default) if (name := _default_name(part))}


_called: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
"""Default of a column -> the file that its callable named."""


def _default_name(default: Any) -> str:
    value = getattr(default, "arg", None)
    if isinstance(value, ClauseElement) or not callable(value):
        return _name_of(value)
    if default not in _called:
        _called[default] = _name_of(_given(value))
    return _called[default]


def _given(function: Callable[[Any], Any]) -> Any:
    """Return what a default's callable gives, called as SQLAlchemy does, with a context."""
    try:
        return function(None)
    except Exception:  # noqa: BLE001  # the site's own, and it wants more than None
        return None


def _name_of(value: Any) -> str:
    if isinstance(value, TextClause):
        value = value.text.strip().strip("'")
    if isinstance(value, str):
        value = StoredImage.from_text(value, "")
    return str(value.name) if isinstance(value, StoredImage | Source) else ""


_mappers: WeakSet[Mapper[Any]] = WeakSet()


def image_columns(mapper: Mapper[Any]) -> list[ImageColumn]:
    """Return the attributes of a mapped class that hold images; its relationships need not be configured yet."""
    return [
        ImageColumn(key, column, column.type)
        for key, column in mapper.columns.items()
        if isinstance(column, Column) and isinstance(column.type, ImageField)
    ]


def mapped_columns() -> Iterator[tuple[type, ImageColumn]]:
    """Yield every mapped class of this process, and each of its attributes that hold images."""
    for mapper in list(_mappers):
        if inspect(mapper.class_, raiseerr=False) is mapper:  # else its registry was disposed of
            for column in image_columns(mapper):
                yield mapper.class_, column


def columns_of(alias: str) -> Iterator[tuple[type, ImageColumn]]:
    """Yield every column of this process that names files of a storage, once, with a class that has it."""
    seen: set[Column[Any]] = set()  # a subclass has those of its base
    for cls, column in mapped_columns():
        if column.field.storage == alias and column.column not in seen:
            seen.add(column.column)
            yield cls, column


def remember(mapper: Mapper[Any]) -> None:
    """Note a class that was mapped: with images or not, it may be given a column of them at any time."""
    _mappers.add(mapper)


def watch(mapper: Mapper[Any]) -> bool:
    """Check what is assigned to the attributes of a mapped class from now on; return whether it has any."""
    columns = image_columns(mapper)
    for column in columns:
        event.listen(getattr(mapper.class_, column.key), "set", _setter(column), retval=True)
    return bool(columns)


def _setter(column: ImageColumn) -> Any:
    def check(_target: Any, value: Any, _old: Any, _initiator: Any) -> Any:
        return checked(value, column)

    return check


def checked(value: Any, column: ImageColumn) -> Any:
    """Return what an attribute will hold of what was assigned to it; reads and checks an upload.

    Raises:
        SpecError: it is nothing that an image can be made of, or lies in another storage than the column's.
        SourceError: the upload is no allowed picture; its kind says why.
    """
    if value is None or isinstance(value, Null):
        return None
    if _is_expression(value):
        return value
    if isinstance(value, Source):
        value = AdoptedImage(value.name, value.storage)
    if isinstance(value, StoredImage):
        return column.field.check(value) if value.is_stored else value
    if isinstance(value, str):
        raise SpecError(
            f"{column.key}: {shown(value)} is text; give an upload, pathlib.Path(...) for a file to take in, or "
            "Source(storage, name) for one that is stored already"
        )
    try:
        return StoredImage.from_file(value)
    except EasyImgError as exc:
        exc.add_note(f"while it was assigned to {column.where}")
        raise


class Change(NamedTuple):
    """What a row held, and what it is to hold."""

    old: Any
    new: Any


def change_of(target: Any, column: ImageColumn, connection: Connection) -> Change | None:
    """Return what a flush is about to change in a row that exists; None = nothing, or nobody knows (an expression).

    The old value is asked of the database where it was never loaded: one query.
    """
    history = inspect(target).attrs[column.key].history
    if not history.added and not history.deleted:
        return None
    new = checked(history.added[0], column) if history.added else None
    if _is_expression(new):
        return None
    old = history.deleted[0] if history.deleted else _in_row(target, column, connection)
    return None if new == old else Change(old, new)


def value_of(target: Any, column: ImageColumn, connection: Connection) -> Any:
    """Return the image that an object's row holds now; asked of the database where it was never loaded."""
    history = inspect(target).attrs[column.key].history
    if history.deleted:
        return history.deleted[0]
    return history.unchanged[0] if history.unchanged else _in_row(target, column, connection)


def _is_expression(value: Any) -> bool:
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


def _in_row(target: Any, column: ImageColumn, connection: Connection) -> Any:
    state = inspect(target)
    mapper = state.mapper
    same = [key == value for key, value in zip(mapper.primary_key, state.identity, strict=True)]
    query = select(column.column).select_from(mapper.persist_selectable).where(*same)
    return connection.execute(query).scalar()
