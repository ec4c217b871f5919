"""EasyImg: the composition root. Holds the settings and makes the four ports when they are first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from easyimg import reach
from easyimg._exit import close_at_exit
from easyimg._fork import after_fork
from easyimg.cache import RowCache
from easyimg.current import enter, leave
from easyimg.errors import ConfigError, did_you_mean
from easyimg.lease import Leases
from easyimg.outbox import Outbox
from easyimg.ports import BuildQueue, Engine, MetadataStore, Storage
from easyimg.settings import Settings
from easyimg.signals import queued_img
from easyimg.source import Source
from easyimg.variant import Wanted

if TYPE_CHECKING:
    from easyimg.storages.fsspec import FsspecStorage

T = TypeVar("T")


class EasyImg:
    """One site's responsive images: settings, storages, rows, engine and queue. Thread-safe.

    Making one connects to nothing; each part is made when first needed. ``with EasyImg(...) as app:`` makes it the
    process default inside the block and closes it at the end.

    Args:
        settings: ready settings; or
        **options: the fields of :class:`easyimg.settings.Settings`.

    Raises:
        ConfigError: a setting is unknown or cannot work.
    """

    def __init__(self, settings: Settings | None = None, **options: Any) -> None:
        if settings is not None and options:
            raise ConfigError("give either settings or options, not both")
        self._settings = settings or Settings.from_mapping(options)
        self._parts: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._cache = RowCache(self._settings.cache_seconds, self._settings.cache_size)
        self._outbox = Outbox(lambda: self.metadata, self._announce)
        self._leases = Leases(lambda: self.metadata)
        after_fork(self._forked)
        close_at_exit(self)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> EasyImg:
        """Return an EasyImg with settings from ``EASYIMG_*`` variables."""
        return cls(Settings.from_env(environ))

    def __repr__(self) -> str:
        return f"<EasyImg storages={list(self._settings.storages)} queue={_without_secrets(self._settings.queue)!r}>"

    def __enter__(self) -> Self:
        enter(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        leave(self)
        self.close()

    @property
    def settings(self) -> Settings:
        """The frozen settings."""
        return self._settings

    @property
    def cache(self) -> RowCache:
        """Built rows remembered in this process."""
        return self._cache

    @property
    def outbox(self) -> Outbox:
        """Where new rows are ordered."""
        return self._outbox

    @property
    def leases(self) -> Leases:
        """What keeps the claims in hand."""
        return self._leases

    @property
    def metadata(self) -> MetadataStore:
        """The rows; the schema is created when first needed."""
        return self._part("metadata", self._make_metadata)

    @property
    def engine(self) -> Engine:
        """The pixel library."""
        return self._part("engine", self._make_engine)

    @property
    def limited_engine(self) -> Engine:
        """The pixel library inside a limited child process."""
        return self._part("limited_engine", self._make_limited_engine)

    @property
    def queue(self) -> BuildQueue:
        """The doorbell."""
        return self._part("queue", self._make_queue)

    def storage(self, alias: str) -> Storage:
        """Return the storage of that alias.

        Raises:
            ConfigError: no storage has it.
        """
        found = self._parts.get(f"storage:{alias}")
        if found is not None:
            return cast(Storage, found)
        if alias not in self._settings.storages:
            raise ConfigError(f"no storage {alias!r}{did_you_mean(alias, self._settings.storages)}")
        return self._part(f"storage:{alias}", lambda: self._make_storage(alias))

    def save_upload(self, file: Any, *, prefix: str = "", storage: str = "default", name: str | None = None) -> Source:
        """Check an upload, store it, record its dimensions, and return its Source: see ``upload.save_upload``."""
        from easyimg.upload import save_upload

        return save_upload(file, app=self, prefix=prefix, storage=storage, name=name)

    def check(self, *, broker: bool = False) -> None:
        """Make every part now, so that what cannot work shows at start and not in the first build.

        Creates the metadata schema where it is missing, and looks at the storages; each has seconds to answer.

        Args:
            broker: also connect to the queue's broker. A worker wants that; a web process can do without one for a
                while.

        Raises:
            ConfigError: a storage, the engine, the queue or the metadata store cannot be used as configured. One line,
                without passwords, that begins with the setting's name.
        """
        _ = self.engine
        _ = self.queue
        reach.check_storages(self)
        reach.check_rows(self.metadata)
        if broker:
            reach.check_queue(self.queue)

    def close(self) -> None:
        """Finish or release builds, send what waits, close connections. The EasyImg may be used again afterwards."""
        self._outbox.close()  # also when it is empty: its thread may have the last rows in hand
        for name in ("queue", "limited_engine", "metadata"):  # a closing queue gives leases back: it needs the rows
            close = getattr(self._parts.get(name), "close", None)
            if close is not None:
                close()
            self._parts.pop(name, None)
            if name == "limited_engine":
                self._leases.close()  # no build is under way any more
        for name, part in list(self._parts.items()):
            kind, _, alias = name.partition(":")
            if kind == "storage" and isinstance(self._settings.storages.get(alias), str):
                cast("FsspecStorage", part).close()  # one that was given as an object is somebody else's
        self._parts.clear()
        self._cache.clear()

    def _part(self, name: str, make: Callable[[], T]) -> T:
        found = self._parts.get(name)
        if found is None:
            with self._lock:
                found = self._parts.get(name)
                if found is None:
                    found = self._parts[name] = make()
        return cast(T, found)

    def _forked(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it

    def _make_metadata(self) -> MetadataStore:
        chosen = self._settings.metadata
        if isinstance(chosen, MetadataStore):
            return chosen
        from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata

        return SqlAlchemyMetadata(chosen)

    def _make_engine(self) -> Engine:
        chosen = self._settings.engine
        if not isinstance(chosen, str):
            return cast(Engine, chosen)
        from easyimg.engines import load_engine

        return load_engine(chosen)

    def _make_limited_engine(self) -> Engine:
        if self._settings.isolation == "never" or not isinstance(self._settings.engine, str):
            return self.engine
        from easyimg.engines.limited import LimitedEngine

        s = self._settings
        return LimitedEngine(s.engine, seconds=s.build_seconds, memory=s.build_memory)

    def _make_queue(self) -> BuildQueue:
        from easyimg.queues import make_queue

        return make_queue(self._settings.queue, self)

    def _make_storage(self, alias: str) -> Storage:
        chosen = self._settings.storages[alias]
        if not isinstance(chosen, str):
            return cast(Storage, chosen)
        from easyimg.storages.fsspec import FsspecStorage

        options = self._settings.storage_options.get(alias, {})
        return FsspecStorage(chosen, base_url=self._settings.base_urls.get(alias), **options)

    def _announce(self, wanted: Sequence[Wanted], new: Sequence[str]) -> None:
        """After the commit: one signal and one doorbell per source that got something new."""
        ids = set(new)
        for item in wanted:
            if item.source.id in ids:
                queued_img.send_robust(self, source=item.source, source_id=item.source.id)
        self.queue.ring(new)


def _without_secrets(queue: Any) -> str:
    """Return the kind of queue, without the credentials a URL may hold."""
    return queue.partition("://")[0] if isinstance(queue, str) else type(queue).__name__
