"""The ledger of a transaction: which files it stored, which it wants deleted; settled when it has ended."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import inspect
from sqlalchemy.engine import Connection

from easyimg.errors import EasyImgError
from easyimg.fields.image import LostImage, NewImage, StoredImage
from easyimg.fields.listening import order
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
    """An image whose row has let go of it; ``note`` = as of Saved, ``""`` where none could be written."""

    app: App
    source: Source
    note: str


@dataclass(slots=True)
class Ledger:
    """What one transaction, or one savepoint, has done to files. Its session's thread alone uses it."""

    connection: Connection | None = None
    saved: list[Saved] = field(default_factory=list)
    doomed: dict[Source, Doomed] = field(default_factory=dict)
    leaving: list[Any] = field(default_factory=list)  # let go of in the flush under way
    uploads: dict[Source, Upload] = field(default_factory=dict)
    retained: int = 0
    is_flushing: bool = False
    is_committing: bool = False
    is_committed: bool = False
    is_rolled_back: bool = False
    is_lost: bool = False  # the connection broke before it could be rolled back

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
        self.saved += inner.saved
        self.doomed |= inner.doomed
        self.uploads |= inner.uploads
        self.retained += inner.retained
        self.connection = self.connection or inner.connection

    def finish(self) -> None:
        """After the commit: record and queue what rows have now, delete what they have let go of. Never raises."""
        notes = _Notes()
        for saved in self.saved:
            notes.add(saved.app, saved.source, saved.note)
            if saved.source not in self.doomed:
                _safely("an image that was saved cannot be queued now", saved.source, partial(_announce, saved))
        for doomed in self.doomed.values():
            notes.add(doomed.app, doomed.source, doomed.note)
            removal = partial(remove_picture, doomed.app, doomed.source)
            if not _safely("an image that was replaced or deleted stays behind", doomed.source, removal):
                notes.leave(doomed.source)
        notes.remove()

    def undo(self, *, is_root: bool) -> None:
        """After a rollback: delete what was stored, so that nothing of it stays. Never raises.

        Args:
            is_root: False inside an outer transaction, which may hold the lock that the rows would need.
        """
        notes = _Notes()
        for doomed in self.doomed.values():
            notes.add(doomed.app, doomed.source, doomed.note)
        for saved in self.saved:
            if saved.note is None:
                continue
            notes.add(saved.app, saved.source, saved.note)
            if not _safely("an upload that was rolled back stays behind", saved.source, _removal(saved, is_root)):
                notes.leave(saved.source)
        notes.remove()

    def give_back(self) -> None:
        """Let objects that outlive the rollback hold what was assigned to them, so that they can be added again."""
        for saved in self.saved:
            target = saved.owner()
            if target is None or saved.note is None or not inspect(target).transient:
                continue
            if target.__dict__.get(saved.key) is saved.image:
                upload = self.uploads.get(saved.source)
                lost = LostImage(saved.image.name, saved.image.storage)
                setattr(target, saved.key, NewImage.of(upload, saved.app) if upload else lost)


def _removal(saved: Saved, is_root: bool) -> Callable[[], object]:
    if is_root:
        return partial(remove_picture, saved.app, saved.source)
    return partial(saved.app.storage(saved.source.storage).delete, saved.source.name)


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
