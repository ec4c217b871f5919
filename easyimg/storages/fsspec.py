"""Storage on any fsspec filesystem: local folders, memory, S3, Google Cloud, Azure, SFTP ..."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from easyimg.errors import ConfigError, EasyImgError, SourceNotFound, SourceTooLarge, StorageError, UnsafeName, shown
from easyimg.ports import StoredFile
from easyimg.storages import local
from easyimg.storages.lending import Connection, Lender, Pool, Shared
from easyimg.storages.names import check_name, is_plain
from easyimg.storages.opening import Address
from easyimg.storages.signing import SignedUrls, check_seconds
from easyimg.storages.ways import ABSENT

T = TypeVar("T")


class FsspecStorage:
    """Files below one fsspec URL. The URL is parsed once; stored names are joined to its path, never parsed as URLs.

    A write publishes a whole file or nothing: locally by a synced temporary file and a rename, in object stores by one
    PUT, elsewhere by a temporary name and a move.

    Args:
        url: e.g. ``"file:///srv/media"``, ``"memory://tests"``, ``"s3://bucket/folder"``. A plain path is a local
            folder; a relative one (``"media"``, ``"file://media"``) is below the folder that is current now.
        base_url: prefix of public URLs; None = they are signed where the filesystem can, else the files have none.
        follow_symlinks: local folders only: True = symbolic links may lead out of the folder (to another disk);
            False = such files are refused, and no link is listed.
        sign_seconds: how long signed URLs are valid, 60 to 604,800; None = 3600; 0 = none are signed, and the files
            have no URLs.
        **fs_options: for the filesystem (``key``, ``secret``, ``endpoint_url``, ...).

    Raises:
        ConfigError: the URL names no filesystem, or its package is absent; ``sign_seconds`` is out of range, or given
            where nothing is signed.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        base_url: str | None = None,
        *,
        follow_symlinks: bool = False,
        sign_seconds: int | None = None,
        **fs_options: Any,
    ) -> None:
        self._address = Address(os.fspath(url), fs_options)
        self._way = self._address.way
        self._filesystems, kind, root = self._begin()
        self._is_local = issubclass(kind, LocalFileSystem)
        self._root = str(Path(root).absolute()) if self._is_local else root.rstrip("/")
        self._protocol = kind.protocol if isinstance(kind.protocol, str) else str(kind.protocol[0])
        self._base_url = None if base_url is None else base_url.rstrip("/") + "/"
        self._follow_symlinks = follow_symlinks
        self._seconds = check_seconds(sign_seconds)
        signs = base_url is None and kind.sign is not AbstractFileSystem.sign
        if sign_seconds and not signs:
            reason = "it has a base URL" if base_url is not None else "its filesystem cannot sign"
            raise ConfigError(f"sign_seconds: URLs of {self._label} are not signed: {reason}")
        self._signed = SignedUrls(self._sign, self._seconds) if signs and self._seconds else None

    def _begin(self) -> tuple[Lender, type[AbstractFileSystem], str]:
        """Return who lends filesystems, of which class they are, and the path inside; connects to nothing."""
        if self._way.connects:
            kind, root = self._address.kind_and_root()
            return Pool(self._address.connect, cast(Connection, self._way)), kind, root
        fs, root = self._address.open()
        return Shared(fs, lambda: self._address.open()[0]), type(fs), root

    def __repr__(self) -> str:
        return f"FsspecStorage({self._label!r})"

    @property
    def _label(self) -> str:
        """The URL without what may be secret in it."""
        return self._address.redacted(f"{self._protocol}://{self._address.host}{self._root}")

    def check(self, *, writes: bool = False) -> None:
        """Look whether files can be read, and written, as far as that shows without writing any.

        Of a filesystem that is not local one thing is asked, so that wrong credentials, absent servers and buckets
        show.

        Raises:
            StorageError: they cannot.
        """
        with self._errors("use", self._root):
            if self._is_local:
                local.check_folder(self._root, writes=writes)
            else:
                self._filesystems.run(lambda fs: self._way.check(fs, self._root))

    def close(self) -> None:
        """Close idle connections, where the filesystem has any; the storage may be used again afterwards."""
        self._filesystems.close()

    def _path(self, name: str) -> str:
        """Return the filesystem's path of a name that was found safe."""
        path = f"{self._root}/{check_name(name)}"
        if self._is_local and not self._follow_symlinks:
            local.check_inside(self._root, path, name)
        return path

    @contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        """Turn whatever a filesystem raises into our errors."""
        try:
            yield
        except EasyImgError:
            raise
        except Exception as exc:
            what = shown(self._address.redacted(name))
            raise StorageError(f"{self._label}: cannot {doing} {what}: {self._address.told(exc)}") from exc

    @property
    def is_local(self) -> bool:
        """Whether the files lie in a folder of this machine."""
        return self._is_local

    def local_path(self, name: str) -> str | None:
        """Return the path of a name on this machine, for those who send the file themselves; None = it has none.

        Whether there is such a file is not looked at.

        Raises:
            UnsafeName: it is no safe name, or leads out of the folder.
        """
        return self._path(name) if self._is_local else None

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """Return a whole file, asking for one byte more than ``max_bytes`` at most."""
        path = self._path(name)
        with self._errors("read", name):
            try:
                data = self._first_bytes(path, None if max_bytes is None else max_bytes + 1)
            except ABSENT as exc:
                raise SourceNotFound(self._label, name) from exc
            if max_bytes is not None and len(data) > max_bytes:
                raise SourceTooLarge(f"{shown(name)} has more than {max_bytes:,} bytes")
            return data

    def _first_bytes(self, path: str, number: int | None) -> bytes:
        if self._is_local:
            return local.read(path, number)
        return self._filesystems.run(lambda fs: self._way.read(fs, path, number))

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Publish a whole file or nothing; the content type is kept where the filesystem can (S3, Google Cloud)."""
        path = self._path(name)
        with self._errors("write", name):
            if self._is_local:
                local.write(path, data)
            else:
                self._filesystems.run(lambda fs: self._way.write(fs, path, data, content_type))

    def delete(self, name: str) -> None:
        """Remove a file; folders are left alone."""
        path = self._path(name)
        with self._errors("delete", name), suppress(*ABSENT):
            self._filesystems.run(lambda fs: self._way.delete(fs, path))

    def size(self, name: str) -> int | None:
        """Return the size, asked of the filesystem, not of a cached listing."""
        path = self._path(name)
        with self._errors("look at", name):
            return self._filesystems.run(lambda fs: self._way.size(fs, path))

    def url(self, name: str) -> str | None:
        """Return base URL and name, encoded so that no character of it can end a URL or a srcset candidate.

        Without a base URL, a signed one where the filesystem can sign. That is remembered for a quarter of its time,
        five minutes at most, so that it is always valid for three quarters of ``sign_seconds`` yet.

        Raises:
            StorageError: it cannot be signed: there are no credentials.
        """
        if self._base_url is not None:
            return self._base_url + (name if is_plain(name) else quote(check_name(name), safe="/"))
        if not is_plain(name):
            check_name(name)
        return None if self._signed is None else self._signed.url(name)

    def _sign(self, name: str) -> str:
        path = f"{self._root}/{name}"
        with self._errors("sign a URL of", name):
            url = str(self._filesystems.run(lambda fs: fs.sign(path, expiration=self._seconds)))
            if "@" in url.partition("://")[2].partition("/")[0]:
                raise ValueError("the endpoint holds a user or password, which would be in every page")
            return url

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Yield every file below a folder that has a safe name; an absent folder is empty.

        Temporary files of unfinished writes are among them, so that those of killed processes are found.
        """
        folder = prefix.strip("/")
        base = self._path(folder) if folder else self._root
        with self._errors("list", prefix):
            for file in self._walk(base, folder):
                with suppress(UnsafeName):
                    check_name(file.name)
                    yield file

    def _walk(self, base: str, folder: str) -> Iterator[StoredFile]:
        if self._is_local:
            yield from local.walk(self._root, folder, follow_symlinks=self._follow_symlinks)
            return
        with self._filesystems.lent() as fs:
            start = len(str(fs._strip_protocol(self._root)).rstrip("/")) + 1  # noqa: SLF001 - documented for implementers
            for info in self._way.walk(fs, base):
                yield StoredFile(str(info["name"])[start:], int(info["size"] or 0), _modified(info))


def _modified(info: Mapping[str, Any]) -> float:
    """Return when a listed file was last changed; each filesystem calls it something else."""
    for field in ("mtime", "LastModified", "last_modified", "updated", "modified", "created"):
        value = info.get(field)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0
