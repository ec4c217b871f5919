"""ImageField: the column type."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import ColumnElement, Dialect, String, bindparam, false, or_, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator

from easyimg.errors import SpecError, shown
from easyimg.fields.image import LONGEST_FACTS, StoredImage
from easyimg.source import Source
from easyimg.upload import MAX_SLUG, check_prefix

_LONGEST_NAME = MAX_SLUG + len("-01234567.jpeg")
"""Characters of a name below its prefix, at most."""


class begins(FunctionElement[Any]):  # noqa: N801 - reads as the SQL operator it is
    """Whether a column's text begins with some text, by the column's own collation, in a form that an index serves.

    LIKE in PostgreSQL and MySQL; in SQLite, whose LIKE is blind to case and served by none, two comparisons. In others,
    whose patterns may hold more than ``%`` and ``_``, a comparison that no index serves: a file that is not found to be
    named would be deleted.
    """

    inherit_cache = True
    type = NullType()  # of a Boolean, SQLAlchemy would make `... = 1` in some databases, which no index serves

    def __init__(self, column: ColumnElement[Any], text: str) -> None:
        after = text[:-1] + chr(ord(text[-1]) + 1)
        pattern = "".join(f"!{character}" if character in "!%_" else character for character in text) + "%"
        super().__init__(column, *(bindparam(None, value, String, unique=True) for value in (text, after, pattern)))


@compiles(begins)
def _begins(element: Any, compiler: Any, **kw: Any) -> str:
    column, text = (compiler.process(part, **kw) for part in list(element.clauses)[:2])
    return f"(substr({column}, 1, length({text})) = {text})"


@compiles(begins, "postgresql")
@compiles(begins, "mysql")
@compiles(begins, "mariadb")
def _begins_like(element: Any, compiler: Any, **kw: Any) -> str:
    column, _, _, pattern = element.clauses
    return f"({compiler.process(column, **kw)} LIKE {compiler.process(pattern, **kw)} ESCAPE '!')"


@compiles(begins, "sqlite")
def _begins_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    column, first, after = (compiler.process(part, **kw) for part in list(element.clauses)[:3])
    return f"({column} >= {first} AND {column} < {after})"


class Names(TypeDecorator.Comparator[Any], String.Comparator[Any]):
    """Compares images by their names: a row may hold the facts beside the name, or not."""

    def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
        """Translate ``==``, ``!=``, ``in_`` and ``not_in`` with images, sources and names."""
        if op in (operator.eq, operator.ne) and isinstance(other[0], StoredImage | Source | str):
            found = self._is_one_of([other[0]])
            return found if op is operator.eq else ~found
        if op in (operators.in_op, operators.not_in_op) and isinstance(other[0], list | tuple | set | frozenset):
            found = self._is_one_of(other[0])
            return found if op is operators.in_op else ~found
        return super().operate(op, *other, **kwargs)

    def _is_one_of(self, images: Iterable[Any]) -> ColumnElement[bool]:
        """Compare with images and sources of the column's own storage; one of another is none that a row has."""
        column, storage = type_coerce(self.expr, String), cast("ImageField", self.type).storage
        exact: list[str] = []
        parts: list[ColumnElement[bool]] = []
        is_empty = True
        for image in images:
            is_empty = False
            if isinstance(image, StoredImage | Source) and image.storage != storage:
                continue
            if isinstance(image, StoredImage):
                exact += [image.name, image.text]
            else:
                name = image.name if isinstance(image, Source) else str(image)
                exact.append(name)
                parts.append(begins(column, f"{name}|"))
        if exact:
            return or_(column.in_(exact), *parts)
        return false() if is_empty else column != column  # noqa: PLR0124  # in SQL: false, and of NULL, nobody knows


class ImageField(TypeDecorator[StoredImage]):
    """A column for an image: ``main_image: Mapped[StoredImage | None] = mapped_column(ImageField("photos/"))``.

    In the database it is a VARCHAR with the file's name and, beside it, size, format and bytes. A bare name, as older
    columns hold it, is read as well.

    Args:
        prefix: put before the names of stored files; ``"photos/"`` is a folder.
        storage: alias of the storage that keeps them.
        length: of the column, characters.

    Raises:
        SpecError: the prefix or the length cannot work.
        UnsafeName: the prefix could leave the storage's root.
    """

    impl = String
    cache_ok = True
    comparator_factory = Names

    def __init__(self, prefix: str = "", *, storage: str = "default", length: int = 255) -> None:
        check_prefix(prefix)
        if not isinstance(storage, str) or not storage:
            raise SpecError(f"storage: {shown(storage)} is not the alias of a storage, such as 'default'")
        needed = len(prefix) + _LONGEST_NAME + LONGEST_FACTS
        if not isinstance(length, int) or length < needed:
            raise SpecError(f"length: {shown(length)} is too short; names below {shown(prefix)} need {needed} at least")
        super().__init__(length)
        self.prefix = prefix
        self.storage = storage
        self.length = length

    def __repr__(self) -> str:
        given = [repr(self.prefix)] if self.prefix else []
        given += [f"storage={self.storage!r}"] if self.storage != "default" else []
        given += [f"length={self.length}"] if self.length != 255 else []
        return f"{type(self).__name__}({', '.join(given)})"

    @property
    def python_type(self) -> type[StoredImage]:
        """What rows hold."""
        return StoredImage

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Let ``like`` and its kin compare with plain text."""
        return String() if isinstance(value, str) else self

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return what the column holds of an image, a source or a name; uploads are stored by flushes of objects."""
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, Source):
            value = StoredImage(value.name, value.storage)
        if not isinstance(value, StoredImage) or not value.is_stored:
            raise SpecError(
                f"{shown(value)} is not stored; statements take stored images and names: store it with save_upload(), "
                "or assign it to an attribute of an object that a session flushes"
            )
        return self.check(value).text

    def process_result_value(self, value: Any, dialect: Dialect) -> StoredImage | None:
        """Return the image that a column's text means; an empty text is none."""
        return StoredImage.from_text(value, self.storage) if value else None

    def check(self, image: StoredImage) -> StoredImage:
        """Return a stored image unchanged if this column can hold it.

        Raises:
            SpecError: it lies in another storage, or its name is too long.
        """
        if image.storage != self.storage:
            raise SpecError(
                f"{shown(image.name)} is in storage {image.storage!r}; this column keeps files of {self.storage!r}"
            )
        if StoredImage.from_text(image.text, image.storage).name != image.name:
            raise SpecError(f"{shown(image.name)} reads like a name with facts; rename the file")
        if len(image.text) > self.length:
            raise SpecError(f"{shown(image.name)}: {len(image.text)} characters; the column holds {self.length}")
        return image


ImageField.__module__ = "easyimg.fields"  # what Alembic writes before its name: the place to import it from


def render_item(type_: str, object_: Any, autogen_context: Any) -> str | bool:
    """Have Alembic write plain strings: ``context.configure(..., render_item=render_item)``.

    Without it, migrations name ``easyimg.fields.ImageField`` and have to import ``easyimg.fields``.
    """
    if type_ == "type" and isinstance(object_, ImageField):
        return f"sa.String(length={object_.length})"
    return False
