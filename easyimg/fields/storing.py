"""What a flush does to files: stores uploads, copies images that another row has, notes what rows let go of."""

from __future__ import annotations

import logging
import re
import weakref
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, inspect
from sqlalchemy.orm import Mapper, Session, object_session

from easyimg.current import current_app
from easyimg.errors import EasyImgError, SourceNotFound, SpecError
from easyimg.fields.columns import ImageColumn, change_of, checked, image_columns, value_of
from easyimg.fields.image import AdoptedImage, LostImage, NewImage, StoredImage
from easyimg.fields.ledger import Doomed, Ledger, Saved
from easyimg.fields.offloop import off_loop
from easyimg.fields.transactions import ledger_of
from easyimg.logs import event
from easyimg.ports import App
from easyimg.source import Source
from easyimg.unsettled import Note, write_note
from easyimg.upload import Upload, check_upload

_OURS = re.compile(r"-[0-9a-f]{8}\.[a-z]+")
"""How names end that were made here."""


class _Leaving(NamedTuple):
    """An image that a row lets go of in the flush under way."""

    column: ImageColumn
    where: str
    image: StoredImage


def before_insert(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Store what a new row is to hold, and note what an old one holds that it stands in for."""
    replaced = _replaced(mapper, target)
    for column in image_columns(mapper):
        if replaced is not None and column.key in inspect(replaced).attrs:
            _let_go(connection, replaced, column, value_of(replaced, column, connection))
        # Checked when it was assigned; but SQLModel puts back what was given, whatever the attribute made of it.
        value = checked(target.__dict__.get(column.key), column)
        if isinstance(value, StoredImage):
            _save(connection, target, column, value)


def _replaced(mapper: Mapper[Any], target: Any) -> Any:
    """Return the object whose row an insert takes over: one of the same key is deleted in the same flush.

    SQLAlchemy makes an UPDATE of the two, and calls no ``before_delete``.
    """
    session = object_session(target)
    if session is None or not session.deleted:
        return None
    known = session.identity_map.get(mapper.identity_key_from_instance(target))
    return known if known is not None and known in session.deleted else None


def before_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Store what a row is to hold from now on, and note what it held before."""
    for column in image_columns(mapper):
        change = change_of(target, column, connection)
        if change is None:
            continue
        if isinstance(change.new, StoredImage):
            _save(connection, target, column, change.new)
        _let_go(connection, target, column, change.old)


def before_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note what a row holds that is about to be deleted."""
    for column in image_columns(mapper):
        _let_go(connection, target, column, value_of(target, column, connection))


def after_flush(session: Session, _context: Any) -> None:
    """Doom what rows have let go of in this flush: it is deleted after the commit, unless a row names it then."""
    ledger = ledger_of(session, make=False)
    if ledger is None or not ledger.leaving:
        return
    leaving, ledger.leaving = ledger.leaving, []
    app = current_app()
    by_place: dict[tuple[ImageColumn, str], list[StoredImage]] = {}
    for item in leaving:
        by_place.setdefault((item.column, item.where), []).append(item.image)
    for (column, where), images in by_place.items():
        ledger.doomed += off_loop(partial(_doom, app, column, where, images))


def _save(connection: Connection, target: Any, column: ImageColumn, value: StoredImage) -> None:
    """Have an object hold a stored image of its own, and note that in the ledger."""
    if isinstance(value, LostImage):
        raise SpecError(
            f"{column.key}: the file of {value.name!r} was removed when its transaction was rolled back; "
            "assign the upload again"
        )
    session = object_session(target)
    assert session is not None
    ledger = ledger_of(session)
    ledger.writes(session, connection, column)
    owner, where = weakref.ref(target), _where(column, connection)
    if isinstance(value, AdoptedImage):
        image = off_loop(partial(_adopt, current_app(), ledger, column, value, owner))
    elif isinstance(value, NewImage):
        image = off_loop(partial(_store, value.app, ledger, column, where, value.upload, owner))
    else:
        image = off_loop(partial(_copy, current_app(), ledger, column, where, value, owner))
    setattr(target, column.key, image)


def _adopt(app: App, ledger: Ledger, column: ImageColumn, value: StoredImage, owner: weakref.ref[Any]) -> StoredImage:
    """Take a file as it is; one call of the storage, to see that there is one."""
    image = column.field.check(StoredImage(value.name, value.storage))
    if app.storage(image.storage).size(image.name) is None:
        error = SourceNotFound(image.storage, image.name)
        error.add_note(f"while it was given to {column.where}")
        raise error
    ledger.saved.append(Saved(app, image, type(owner()), column.key, owner))
    return image


def _store(
    app: App, ledger: Ledger, column: ImageColumn, where: str, upload: Upload, owner: weakref.ref[Any]
) -> StoredImage:
    """Write a file under a name of its own; three calls of the storage: a look, the note, the file."""
    field = column.field
    place = app.storage(field.storage)
    name = upload.free_name(place, field.prefix)
    image = field.check(NewImage.of(upload, app).kept_as(name, field.storage))
    note = write_note(place, Note(where, {name: image.text}))
    target = owner()
    saved = Saved(app, image, type(target), column.key, owner, note, upload.info, upload.version)
    ledger.keep(saved, upload)
    place.write(name, upload.data, upload.mime)
    return image


def _copy(
    app: App, ledger: Ledger, column: ImageColumn, where: str, image: StoredImage, owner: weakref.ref[Any]
) -> StoredImage:
    """Store a copy of a file that another row has: a file belongs to one row, and goes with it."""
    data = app.storage(image.storage).read(image.name, app.settings.max_bytes)
    readable = _OURS.sub("", image.name.rpartition("/")[2])
    return _store(app, ledger, column, where, check_upload(data, app=app, name=readable), owner)


def _where(column: ImageColumn, connection: Connection) -> str:
    """Return what a note calls a column: with the schema of a tenant, which ``clean`` must not take for another."""
    schemas = connection.get_execution_options().get("schema_translate_map")
    table: Any = column.column.table
    if not schemas or getattr(table, "schema", None) not in schemas:
        return column.where
    return f"{schemas[table.schema]}.{table.name}.{column.column.name}"


def _let_go(connection: Connection, target: Any, column: ImageColumn, image: Any) -> None:
    session = object_session(target)
    if isinstance(image, StoredImage) and image.source is not None and session is not None:
        ledger = ledger_of(session)
        ledger.writes(session, connection, column)
        ledger.leaving.append(_Leaving(column, _where(column, connection), image))


def _doom(app: App, column: ImageColumn, where: str, images: list[StoredImage]) -> list[Doomed]:
    """Write one note for all that a flush takes from a column; a delete does not fail for want of it."""
    note = ""
    try:
        files = {image.name: image.text for image in images}
        note = write_note(app.storage(column.field.storage), Note(where, files))
    except EasyImgError as exc:
        event(logging.WARNING, "a deletion is not noted in the storage", column=column.where, kind=exc.kind, error=exc)
    return [Doomed(app, Source(image.storage, image.name), note) for image in images]
