"""What was stored and dropped in a transaction, and what follows its commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connections, transaction
from django.db.models import FileField, ImageField

from easyimg.batch import ImageBatch
from easyimg.current import current_app
from easyimg.errors import ConfigError, EasyImgError
from easyimg.follow import file_stored
from easyimg.logs import event
from easyimg.ports import App
from easyimg.removal import remove_rows
from easyimg.source import Source, SourceInfo
from easyimg_django.files import DjangoStorage
from easyimg_django.hooks import Wish, listeners
from easyimg_django.references import unnamed, unnamed_elsewhere
from easyimg_django.signals import file_post_save
from easyimg_django.storage import alias_of


class Stored(NamedTuple):
    """A file was stored in a field of an instance; without a name, the field was cleared."""

    model: Any
    field: FileField
    name: str
    instance: Any

    @property
    def source(self) -> Source:
        """The file's address."""
        return Source(alias_of(self.field), self.name)


class Dropped(NamedTuple):
    """An instance no longer names a file."""

    model: Any
    field: FileField
    name: str

    @property
    def source(self) -> Source:
        """The file's address."""
        return Source(alias_of(self.field), self.name)


def note(using: str, change: Stored | Dropped) -> None:
    """Have a change followed after the commit of the transaction that a database is in; at once outside of any."""
    connection = connections[using]
    if not connection.in_atomic_block:  # also where transactions are managed by hand: Django has no on_commit then
        _settle([change], using)
        return
    changes = _open_changes(connection)
    transaction.on_commit(_Due(changes, len(changes), using), using=using)
    changes.append(change)


@dataclass(frozen=True, eq=False)
class _Due:
    """What waits for the commit: the changes of one transaction or savepoint, which are undone together.

    Each change has a callback of its own, for ``captureOnCommitCallbacks``: a ``TestCase`` keeps all its callbacks in
    one transaction, and runs those of a block only, or never. The first that runs settles all behind its own as well.
    """

    changes: list[Stored | Dropped]
    start: int
    using: str

    def __call__(self) -> None:
        due, self.changes[self.start :] = self.changes[self.start :], []
        _settle(due, self.using)


def _open_changes(connection: Any) -> list[Stored | Dropped]:
    """Return those that the same savepoint of this transaction has; what was undone is not there any more."""
    here = set(connection.savepoint_ids)
    for savepoints, callback, *_ in reversed(connection.run_on_commit):
        if isinstance(callback, _Due) and savepoints == here:
            return callback.changes
    return []


def _settle(changes: Sequence[Stored | Dropped], using: str) -> None:
    """Follow changes; whatever goes wrong is logged: no failure of ours reaches who saves or commits."""
    try:
        _follow_all(changes, using)
    except Exception:  # noqa: BLE001 - the border to the site's own code
        event(logging.ERROR, "saved files could not be followed", exc_info=True)


def _follow_all(changes: Sequence[Stored | Dropped], using: str) -> None:
    stored = [change for change in changes if isinstance(change, Stored)]
    for change in stored:
        _remember(change)
    try:
        gone = _drop([change for change in changes if isinstance(change, Dropped)], using)
    except EasyImgError as exc:
        event(logging.ERROR, "variants of dropped files stay for now", kind=exc.kind, error=exc)
        gone = set()
    latest = {(change.source, change.model, change.instance.pk): change for change in stored if change.name}
    for change in latest.values():
        if change.source not in gone:
            _follow(change)


def _remember(change: Stored) -> None:
    """Let the instance know its committed file as the one it was loaded with; after a rollback it is new again."""
    state = change.instance._state  # noqa: SLF001 - documented
    state.easyimg_names = {**getattr(state, "easyimg_names", {}), change.field.attname: change.name}


def _drop(changes: Sequence[Dropped], using: str) -> set[Source]:
    """Remove what is known of files that no row names any more, and these originals where that was asked for."""
    site = _site()
    if site is None or not changes:
        return set()
    gone = unnamed({change.source: change.field for change in changes}, using)
    remove_rows(site, sorted(source.id for source in gone))
    _delete_originals([change for change in changes if change.source in gone], using)
    return gone


def _delete_originals(changes: Sequence[Dropped], using: str) -> None:
    """Delete originals where that was asked for, and no field names them by another storage object either."""
    fields = {c.source: c.field for c in changes if listeners.is_tidied(c.model, c.field.name)}
    if not connections[using].in_atomic_block and not connections[using].get_autocommit():
        return  # managed by hand: it may yet be rolled back
    free = unnamed_elsewhere(fields, using)
    for source, field in fields.items():
        if source in free:
            DjangoStorage(field.storage).delete(source.name)


def _follow(change: Stored) -> None:
    """Record, queue, tell, build; one file that cannot be followed does not keep others from it."""
    info = None
    try:
        wishes = _by_app(change)
        for app, some in wishes.items():
            info = _take_in(app, change, some) or info
        if wishes:
            _tell(change, info)
        for app, some in wishes.items():
            _build(app, change.source, some)
    except EasyImgError as exc:
        event(logging.ERROR, "a saved file is not followed", source=change.source, kind=exc.kind, error=exc)


def _by_app(change: Stored) -> dict[App, list[Wish]]:
    """Return what listens to the field of a change, by the EasyImg it is for; that of the site first."""
    site = _site()
    found: dict[App, list[Wish]] = {} if site is None else {site: []}
    for wish in listeners.wishes(change.model, change.field.name):
        app = wish.img.app or site
        if app is not None:
            found.setdefault(app, []).append(wish)
    return found


def _site() -> App | None:
    """Return the site's EasyImg; None where there is none.

    Raises:
        ConfigError: the setting ``EASYIMG`` is wrong.
    """
    try:
        return current_app()
    except ConfigError:
        if hasattr(settings, "EASYIMG"):
            raise
        return None


def _take_in(app: App, change: Stored, wishes: Sequence[Wish]) -> SourceInfo | None:
    """Record and queue. A document is read only where somebody listens, or it was shown as a picture before."""
    only_known = not wishes and not isinstance(change.field, ImageField)
    return file_stored(app, change.source, [wish.img.plan for wish in wishes], only_known=only_known)


def _tell(change: Stored, info: SourceInfo | None) -> None:
    field, instance = change.field, change.instance
    file = field.attr_class(instance, field, change.name)
    told = {"instance": instance, "field": field, "fieldfile": file, "source": change.source, "info": info}
    file_post_save.send_robust(sender=change.model, **told)


def _build(app: App, source: Source, wishes: Sequence[Wish]) -> None:
    """Build what was chosen of one file, in one go."""
    batch = ImageBatch(app)
    for wish in wishes:
        if wish.build is not None:
            wish.img(source, alt="", build=wish.build, batch=batch)
    batch.build()
