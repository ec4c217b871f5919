"""The ledger of a transaction: which files it stored, which it wants deleted; settled when it has ended."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import Column, Connection, inspect
from sqlalchemy.orm import Session

from easyimg.errors import EasyImgError
from easyimg.fields.columns import ImageColumn
from easyimg.fields.image import AdoptedImage, LostImage, NewImage, StoredImage
from easyimg.fields.listening import order
from easyimg.fields.looking import LastLook
from easyimg.logs import event
from easyimg.ports import App
from easyimg.removal import remove_picture
from easyimg.source import Source, SourceInfo
from easyimg.upload import Upload, record_upload

RETAINED: Final = 64 << 20
"""Bytes of uploads that a transaction keeps at hand after storing them, for objects that outlive its rollback."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An image that a row has since this transaction.

    Args:
        app: the EasyImg.
        image: as it is stored.
        model, key: the class and attribute that hold it.
        owner: the object.
        note: what lies in the storage until the transaction has ended; None = the file was there before.
        info, version: of a file that was stored.
    """

    app: App
    image: StoredImage
    model: type
    key: str
    owner: weakref.ref[Any]
    note: str | None = None
    info: SourceInfo | None = None
    version: str = ""

    @property
    def source(self) -> Source:
        """The file."""
        return Source(self.image.storage, self.image.name)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A file that is to go at the end unless a row names it; ``note`` = as of Saved, ``""`` where there is none."""

    app: App
    source: Source
    note: str


@dataclass(slots=True)
class Ledger:
    """What one transaction, or one savepoint, has done to files. Its session's thread alone uses it.

    No file is deleted before the transaction has ended: what a savepoint's rollback gives up waits as well.
    """

    connections: set[Connection] = field(default_factory=set)
    saved: list[Saved] = field(default_factory=list)
    doomed: list[Doomed] = field(default_factory=list)  # rows have let go of these: they go after a commit
    undone: list[Doomed] = field(default_factory=list)  # stored in a savepoint that was rolled back: go at any end
    dropped: list[Doomed] = field(default_factory=list)  # let go of in such a savepoint: only their notes go
    leaving: list[Any] = field(default_factory=list)  # let go of in the flush under way
    looks: dict[str, LastLook] = field(default_factory=dict)  # by alias of the storage
    written: set[Column[Any]] = field(default_factory=set)
    uploads: dict[Source, Upload] = field(default_factory=dict)
    retained: int = 0
    is_flushing: bool = False
    is_committing: bool = False
    is_committed: bool = False
    is_rolled_back: bool = False
    is_lost: bool = False  # a connection broke before it could be rolled back

    def writes(self, session: Session, connection: Connection, column: ImageColumn) -> None:
        """Note, in a flush, that a column's rows are being written."""
        self.connections.add(connection)
        self.written.add(column.column)
        alias = column.field.storage
        if alias not in self.looks:
            self.looks[alias] = LastLook(session, connection, alias)
        self.looks[alias].wrote(column, connection)

    def keep(self, saved: Saved, upload: Upload) -> None:
        """Note a file before it is written, and its content while there is room."""
        self.saved.append(saved)
        if self.retained + len(upload.data) <= RETAINED:
            self.uploads[saved.source] = upload
            self.retained += len(upload.data)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the database was asked to commit, and nobody knows what it did."""
        asked = self.is_committing and not self.is_committed and not self.is_flushing
        return asked and (self.is_lost or not self.is_rolled_back)

    def take(self, inner: Ledger) -> None:
        """Take over what a savepoint did: this transaction's end decides."""
        self._take_rest(inner)
        self.saved += inner.saved
        self.doomed += inner.doomed
        self.uploads |= inner.uploads
        self.retained += inner.retained

    def take_back(self, inner: Ledger) -> None:
        """Take over what a savepoint did that was rolled back: its files are looked at when this transaction ends."""
        self._take_rest(inner)
        self.undone += inner.stored()
        self.dropped += inner.doomed

    def _take_rest(self, inner: Ledger) -> None:
        self.undone += inner.undone
        self.dropped += inner.dropped
        self.looks |= inner.looks
        self.written |= inner.written
        self.connections |= inner.connections

    def stored(self) -> list[Doomed]:
        """Return the files that were not there before."""
        return [Doomed(saved.app, saved.source, saved.note) for saved in self.saved if saved.note is not None]

    def leftovers(self) -> list[Doomed]:
        """Return the files that should go now that the transaction has ended, one way or the other."""
        if self.is_committed:
            return self.undone + self.doomed
        asked = self.is_committing and not self.is_flushing  # of two databases, one may have committed
        return self.undone + self.stored() + (self.doomed if asked else [])

    def look(self, leftovers: Iterable[Doomed]) -> dict[Source, bool]:
        """Return whether a row names these files, as it is committed now; one that nobody can tell of is left out."""
        by_alias: dict[str, list[str]] = {}
        for item in leftovers:
            by_alias.setdefault(item.source.storage, []).append(item.source.name)
        found: dict[Source, bool] = {}
        for alias, names in by_alias.items():
            look = self.looks[alias]
            named = None if self.is_committed and look.is_early else look.named(names, self.written)
            if named is not None:
                found |= {Source(alias, name): name in named for name in names}
        return found

    def settle(self, leftovers: Iterable[Doomed], is_named: Mapping[Source, bool]) -> None:
        """After the end: record and queue what rows have now, and delete what none has. Never raises.

        Args:
            leftovers: as of :meth:`leftovers`.
            is_named: what was found of them; a file that is not in it stays, with its note.
        """
        notes = _Notes()
        for item in [*self.dropped, *self.doomed, *leftovers]:
            notes.add(item.app, item.source, item.note)
        for saved in self.saved if self.is_committed else ():
            notes.add(saved.app, saved.source, saved.note)
            if is_named.get(saved.source, True):
                _safely("an image that was saved cannot be queued now", saved.source, partial(_announce, saved))
        for item in {item.source: item for item in leftovers}.values():
            if not self._is_seen_to(item, is_named.get(item.source)):
                notes.leave(item.source)
        notes.remove()

    def _is_seen_to(self, item: Doomed, is_named: bool | None) -> bool:
        """Delete a file that no row names; return whether nothing remains to be done about it."""
        if is_named is None:
            return False
        if is_named:
            if not self.is_committed and item not in self.doomed:
                event(logging.WARNING, "a row was rolled back, and is there: its database did not", source=item.source)
            return True
        what = "an image that was replaced or deleted" if self.is_committed else "an upload that was rolled back"
        removal = partial(remove_picture, item.app, item.source)
        return _safely(f"{what} stays behind", item.source, removal)

    def give_back(self) -> None:
        """Let objects that outlive the rollback hold what was assigned to them, so that they can be added again."""
        for saved in self.saved:
            target = saved.owner()
            if target is None or not inspect(target).transient or target.__dict__.get(saved.key) is not saved.image:
                continue
            if saved.note is None:
                setattr(target, saved.key, AdoptedImage(saved.image.name, saved.image.storage))
            else:
                upload = self.uploads.get(saved.source)
                lost = LostImage(saved.image.name, saved.image.storage)
                setattr(target, saved.key, NewImage.of(upload, saved.app) if upload else lost)


def _announce(saved: Saved) -> None:
    if saved.info is not None:
        record_upload(saved.app, saved.source, saved.info, saved.version)
    order(saved.app, saved.model, saved.key, saved.source)


def _safely(what: str, source: Source, work: Callable[[], object]) -> bool:
    """Run work at a transaction's end, where it is too late to fail; return whether it went well."""
    try:
        work()
    except EasyImgError as exc:
        event(logging.WARNING, what, source=source, kind=exc.kind, error=exc)
    except Exception:  # noqa: BLE001  # the border: the commit or the rollback has happened
        event(logging.ERROR, what, exc_info=True, source=source)
    else:
        return True
    return False


class _Notes:
    """The notes of a transaction that has ended; one goes when all its files were seen to."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], App] = {}
        self._by_source: dict[Source, list[tuple[str, str]]] = {}

    def add(self, app: App, source: Source, note: str | None) -> None:
        if note:
            self._found[source.storage, note] = app
            self._by_source.setdefault(source, []).append((source.storage, note))

    def leave(self, source: Source) -> None:
        for place in self._by_source.get(source, ()):
            self._found.pop(place, None)

    def remove(self) -> None:
        for (alias, note), app in self._found.items():
            removal = partial(app.storage(alias).delete, note)
            _safely("a note about an upload stays behind; clean removes it", Source(alias, note), removal)
