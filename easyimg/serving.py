"""Sending stored pictures over HTTP, where no web server or CDN does: which may be sent, and with which headers.

Only pictures are, by their extension; in a folder of uploads lie other things too, and with a local SQLite database
perhaps the rows themselves.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2s
from pathlib import Path
from typing import Any, Final, NamedTuple

from easyimg.errors import (
    ConfigError,
    EasyImgError,
    SourceNotFound,
    SourceTooLarge,
    StorageError,
    UnsafeName,
    did_you_mean,
    shown,
)
from easyimg.formats import FORMATS
from easyimg.logs import event
from easyimg.ports import App
from easyimg.presence import VariantNames
from easyimg.source import Source
from easyimg.verify import report_missing

FOR_EVER: Final = "public, max-age=31536000, immutable"
"""Of variants: a year, and no asking again. Their names hold a hash of what they were made from."""

FOR_NOW: Final = "public, max-age=300"
"""Of originals: five minutes. A site may replace one under its name."""

NOT_AT_ALL: Final = "no-store"
"""Of word that a picture cannot be sent just now: a cache must not keep it for longer than that is so."""

_MIMES: Final = {form.extension: form.mime for form in FORMATS.values()} | {
    "jpeg": FORMATS["jpeg"].mime,
    "tiff": FORMATS["tiff"].mime,
}
_LOCAL: Final = ("file", "local")

_HEADERS: Final = {"X-Content-Type-Options": "nosniff"}
_SVG_HEADERS: Final = {
    **_HEADERS,
    # An SVG may hold scripts. In <img> they never run; these keep one from running where it is opened by itself.
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}


class MediaFile(NamedTuple):
    """A picture to be sent.

    Args:
        path: of the file on this machine, or
        data: its bytes.
        mime: its media type.
        headers: further headers, caching among them.
        etag: without quotes; ``""`` = make one of the file's size and time.
    """

    path: str | None
    data: bytes | None
    mime: str
    headers: Mapping[str, str]
    etag: str

    def measure(self) -> tuple[int, str]:
        """Return its size in bytes, and its ``etag``.

        Raises:
            OSError: it has gone.
        """
        if self.path is None:
            return len(self.data or b""), self.etag
        facts = os.stat(self.path)  # noqa: PTH116 - as isfile() below
        return facts.st_size, self._etag(facts)

    def read(self, start: int, stop: int, etag: str) -> bytes:
        """Return a part. The file is not kept open from one part to the next, however slow a visitor is.

        Raises:
            StorageError: it is no longer the one that had this ``etag`` and this length.
            OSError: it has gone.
        """
        if self.path is None:
            return (self.data or b"")[start:stop]
        with Path(self.path).open("rb") as file:
            is_same = self._etag(os.fstat(file.fileno())) == etag
            file.seek(start)
            data = file.read(stop - start)
        if not is_same or len(data) < stop - start:
            raise StorageError("the file was changed while it was sent")
        return data

    def _etag(self, facts: os.stat_result) -> str:
        return self.etag or f"{facts.st_mtime_ns:x}-{facts.st_size:x}"


class Media:
    """Finds pictures to be sent. Thread-safe.

    Args:
        app: whose storages are looked into.
        originals: whether sources are sent as well; None = where pages show them (``pending="source"``). Sources hold
            what a camera wrote into them, such as the place. SVGs are always sent: pages show them as they are.
    """

    def __init__(self, app: App, *, originals: bool | None = None) -> None:
        self._app = app
        self._names = VariantNames(app.settings.variants_prefix)
        self._originals = app.settings.pending == "source" if originals is None else originals
        self._private: dict[str, tuple[str, ...]] = {}

    def find(self, alias: str, name: str) -> MediaFile | None:
        """Return the picture of that name in a storage; None where there is none that may be sent.

        No name leads out of the storage, whatever is in it, nor into a storage without URLs whose folder lies inside.

        Raises:
            StorageError: the storage cannot be asked now; that is logged. To be answered with 503 and ``NOT_AT_ALL``.
        """
        stem, _, extension = name.rpartition("/")[2].rpartition(".")
        mime = _MIMES.get(extension.lower()) if stem else None
        is_variant = self._names.key(name) is not None
        is_svg = mime == FORMATS["svg"].mime
        if mime is None or not (is_variant or is_svg or self._originals):
            return None
        headers = _SVG_HEADERS if is_svg else _HEADERS
        headers = {**headers, "Cache-Control": FOR_EVER if is_variant else FOR_NOW}
        try:
            path, data = self._open(alias, name)
        except (UnsafeName, SourceNotFound, SourceTooLarge):
            return None
        except StorageError as exc:
            event(logging.WARNING, "a picture cannot be sent now", source=Source(alias, name), error=exc)
            raise
        if path is None and data is None:
            return None
        if is_variant:
            return MediaFile(path, data, mime, headers, name.rpartition("/")[2].rpartition(".")[0])
        return MediaFile(path, data, mime, headers, "" if data is None else blake2s(data, digest_size=16).hexdigest())

    def report_missing(self, name: str) -> None:
        """Have a variant built again that was asked for and is not there, if a row says that it is.

        Names that are no variant's cost nothing, and no name raises.
        """
        if self._names.key(name) is None:
            return
        try:
            report_missing([name], self._app)
        except EasyImgError as exc:
            event(logging.WARNING, "a missing file could not be reported", file=name, error=exc)

    def _open(self, alias: str, name: str) -> tuple[str | None, bytes | None]:
        storage = self._app.storage(alias)
        local_path = getattr(storage, "local_path", None)
        path: str | None = local_path(name) if local_path is not None else None
        if path is not None:
            is_sent = os.path.isfile(path) and not self._is_private(alias, path)  # noqa: PTH113 - pathlib would raise
            return (path if is_sent else None), None
        return None, storage.read(name, self._app.settings.max_bytes)

    def _is_private(self, alias: str, path: str) -> bool:
        """Return whether a file in a storage's folder is one of a storage that has no URLs."""
        folders = self._private.get(alias)
        if folders is None:
            folders = self._private[alias] = tuple(self._private_folders(alias))
        return bool(folders) and os.path.realpath(path).startswith(folders)

    def _private_folders(self, alias: str) -> Iterator[str]:
        """Yield the folders of storages without URLs that lie inside the folder of this one."""
        own = _folder(self._app.storage(alias))
        for other in self._app.settings.storages:
            if is_local(self._app, other) and self._app.storage(other).url("a") is None:
                folder = _folder(self._app.storage(other))
                if folder != own and folder.startswith(own):
                    yield folder


def _folder(storage: Any) -> str:
    """Return the folder of a local storage, without links, and with a slash at its end."""
    path: str = os.path.realpath(storage.local_path("a"))
    return path.removesuffix("a")


def served_paths(app: App, serve: bool | Sequence[str], setting: str) -> dict[str, str]:
    """Return alias -> the path below which its files are, of the storages that a site sends files of itself.

    Args:
        app: whose storages they are.
        serve: True = those in local folders whose base URL is a path of this host; False = none; or a list of aliases.
        setting: what the site calls that choice, for messages.

    Raises:
        ConfigError: it is none of these, there is no such storage, or it has no URLs on this host.
    """
    if not isinstance(serve, bool) and not _is_list_of_text(serve):
        raise ConfigError(f"{setting}: {shown(serve)} is not True, False or a list of storages")
    if isinstance(serve, bool):
        local = [alias for alias in app.settings.storages if serve and is_local(app, alias)]
        return {alias: base for alias in local if (base := base_path(app, alias)) is not None}
    found = {}
    for alias in serve:
        if alias not in app.settings.storages:
            raise ConfigError(f"{setting}: no storage {alias!r}{did_you_mean(alias, app.settings.storages)}")
        base = base_path(app, alias)
        if base is None:
            raise ConfigError(
                f"{setting}: {alias!r} has no base URL on this host; give it one that begins with '/' in base_urls"
            )
        found[alias] = base
    return found


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(item, str) for item in value)


def base_path(app: App, alias: str) -> str | None:
    """Return the path of a storage's URLs, with slashes around it, where they are on the site's own host; else None."""
    chosen = app.settings.storages[alias]
    if isinstance(chosen, str):
        base = app.settings.base_urls.get(alias)
    else:
        try:
            base = (chosen.url("a") or "").removesuffix("a")
        except StorageError:
            return None
    return base.rstrip("/") + "/" if base and base.startswith("/") else None


def is_local(app: App, alias: str) -> bool:
    """Return whether a storage is a folder of this machine; connects to nothing."""
    chosen = app.settings.storages[alias]
    if isinstance(chosen, str):
        return "://" not in chosen or chosen.partition("://")[0] in _LOCAL
    return bool(getattr(chosen, "is_local", False))
