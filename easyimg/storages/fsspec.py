"""Storage on any fsspec filesystem: local folders, memory, S3, Google Cloud, Azure, SFTP ..."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import available_protocols, known_implementations

from easyimg.errors import (
    ConfigError,
    EasyImgError,
    MissingDependency,
    SourceNotFound,
    SourceTooLarge,
    StorageError,
    UnsafeName,
    did_you_mean,
    shown,
)
from easyimg.ports import StoredFile
from easyimg.storages import local
from easyimg.storages.names import check_name, is_plain

_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_EXTRAS: Final = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")}
_CONTENT_TYPE: Final = {"s3": "ContentType", "s3a": "ContentType", "gs": "content_type", "gcs": "content_type"}
"""How ``pipe_file`` of a protocol's filesystem wants to be told the content type; the others cannot keep one."""


class FsspecStorage:
    """Files below one fsspec URL. The URL is parsed once; stored names are joined to its path, never parsed as URLs.

    A write publishes a whole file or nothing: locally by a synced temporary file and a rename, in object stores by one
    PUT, elsewhere by a temporary name and a move.

    Args:
        url: e.g. ``"file:///srv/media"``, ``"memory://tests"``, ``"s3://bucket/folder"``. A plain path is a local
            folder; a relative one (``"media"``, ``"file://media"``) is below the folder that is current now.
        base_url: prefix of public URLs; None = the files have none.
        follow_symlinks: local folders only: True = symbolic links may lead out of the folder (to another disk);
            False = such files are refused, and no link is listed.
        **fs_options: for the filesystem (``key``, ``secret``, ``endpoint_url``, ...).

    Raises:
        ConfigError: the URL names no filesystem, or its package is absent.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        base_url: str | None = None,
        *,
        follow_symlinks: bool = False,
        **fs_options: Any,
    ) -> None:
        self._url = os.fspath(url)
        self._options = fs_options
        self._secrets = _secrets(self._url, fs_options)
        self._fs, root = self._open()
        self._pid = os.getpid()
        self._is_local = isinstance(self._fs, LocalFileSystem)
        self._root = str(Path(root).absolute()) if self._is_local else root.rstrip("/")
        self._base_url = None if base_url is None else base_url.rstrip("/") + "/"
        self._follow_symlinks = follow_symlinks

    def __repr__(self) -> str:
        return f"FsspecStorage({self._label!r})"

    @property
    def _protocol(self) -> str:
        protocol = self._fs.protocol
        return protocol if isinstance(protocol, str) else str(protocol[0])

    @property
    def _label(self) -> str:
        """The URL without what may be secret in it."""
        return f"{self._protocol}://{self._root}"

    def _open(self) -> tuple[AbstractFileSystem, str]:
        protocol = self._url.partition("://")[0] if "://" in self._url else "file"
        try:
            fs, root = url_to_fs(self._url, **self._options)
        except ImportError as exc:
            raise _missing(protocol, exc) from exc
        except Exception as exc:
            if "://" in self._url and protocol.rpartition("::")[2] not in available_protocols():
                raise ConfigError(f"storage {protocol}:// is not known{_meant(protocol)}") from exc
            raise ConfigError(f"storage {protocol}:// cannot be used: {self._told(exc)}") from exc
        return fs, root

    def check(self, *, writes: bool = False) -> None:
        """Look whether files can be read, and written, as far as that shows without writing any.

        Of a filesystem that is not local one thing is asked, so that wrong credentials and absent servers show.

        Raises:
            StorageError: they cannot.
        """
        if self._is_local:
            with self._errors("use", self._root):
                local.check_folder(self._root, writes=writes)
        else:
            self.size("easyimg-check")

    def _filesystem(self) -> AbstractFileSystem:
        """Return the filesystem, a new one after a fork: asynchronous ones own a thread."""
        if self._pid != os.getpid():
            self._fs, self._pid = self._open()[0], os.getpid()
        return self._fs

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
            raise StorageError(f"{self._label}: cannot {doing} {shown(name)}: {self._told(exc)}") from exc

    def _told(self, exc: BaseException) -> str:
        text = getattr(exc, "strerror", None) or str(exc)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return f"{type(exc).__name__}: {shown(text, 300)}"

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
            except _ABSENT as exc:
                raise SourceNotFound(self._label, name) from exc
            if max_bytes is not None and len(data) > max_bytes:
                raise SourceTooLarge(f"{shown(name)} has more than {max_bytes:,} bytes")
            return data

    def _first_bytes(self, path: str, number: int | None) -> bytes:
        if self._is_local:
            return local.read(path, number)
        end = {} if number is None else {"start": 0, "end": number}
        data: bytes = self._filesystem().cat_file(path, **end)
        return data

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Publish a whole file or nothing; the content type is kept where the filesystem can (S3, Google Cloud)."""
        path = self._path(name)
        with self._errors("write", name):
            if self._is_local:
                local.write(path, data)
                return
            fs = self._filesystem()
            if _puts_whole_files(fs):
                keyword = _CONTENT_TYPE.get(self._protocol)
                fs.pipe_file(path, data, **({keyword: content_type} if keyword else {}))
            else:
                _write_and_move(fs, path, data)

    def delete(self, name: str) -> None:
        """Remove a file; folders are left alone."""
        path = self._path(name)
        with self._errors("delete", name), suppress(*_ABSENT):
            self._filesystem().rm_file(path)

    def size(self, name: str) -> int | None:
        """Return the size, asked of the filesystem, not of a cached listing."""
        path = self._path(name)
        fs = self._filesystem()
        with self._errors("look at", name):
            fs.invalidate_cache()
            try:
                info = fs.info(path)
            except _ABSENT:
                return None
            return int(info["size"] or 0) if info["type"] == "file" else None

    def url(self, name: str) -> str | None:
        """Return base URL and name, encoded so that no character of it can end a URL or a srcset candidate."""
        if self._base_url is None:
            check_name(name)
            return None
        return self._base_url + (name if is_plain(name) else quote(check_name(name), safe="/"))

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
        fs = self._filesystem()
        fs.invalidate_cache()
        start = len(str(fs._strip_protocol(self._root)).rstrip("/")) + 1  # noqa: SLF001 - documented for implementers
        for _, _, files in fs.walk(base, detail=True):
            for info in files.values():
                yield StoredFile(str(info["name"])[start:], int(info["size"] or 0), _modified(info))


def _missing(protocol: str, error: ImportError) -> ConfigError:
    """Return what to install for a protocol that fsspec knows."""
    if protocol in _EXTRAS:
        package, extra = _EXTRAS[protocol]
        return MissingDependency(package, f"storage {protocol}://", extra)
    package = str(known_implementations.get(protocol, {}).get("class", "fsspec")).partition(".")[0]
    advice = "" if package == "fsspec" else f": pip install {package.replace('_', '-')}"
    return ConfigError(f"storage {protocol}:// needs a package that is not installed{advice} ({error})")


def _meant(protocol: str) -> str:
    """Return what is near, else what is usual: fsspec knows sixty."""
    guess = did_you_mean(protocol, available_protocols())
    return guess if "mean" in guess else "; use file://, s3://, gs://, abfs://, sftp:// or another of fsspec's"


def _puts_whole_files(fs: AbstractFileSystem) -> bool:
    """Return whether ``pipe_file`` publishes at once: fsspec's default opens the final name and writes."""
    return fs.async_impl or type(fs).pipe_file is not AbstractFileSystem.pipe_file


def _write_and_move(fs: AbstractFileSystem, path: str, data: bytes) -> None:
    """Write under a temporary name in the same folder, then move (SFTP, SMB, FTP ...)."""
    folder = path.rpartition("/")[0]
    temporary = f"{folder}/{local.TEMPORARY_PREFIX}{token_hex(8)}.tmp"
    try:
        fs.makedirs(folder, exist_ok=True)
        fs.pipe_file(temporary, data)
        fs.mv(temporary, path)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(temporary)
        raise


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


def _secrets(url: str, options: Mapping[str, Any]) -> frozenset[str]:
    """Return texts that must not appear in messages: the URL's password, and all options that are texts."""
    found = {value for value in _texts(options) if len(value) > 3}
    if "://" in url and "@" in url:
        with suppress(ValueError):
            password = urlsplit(url).password
            found |= {password, unquote(password)} if password else set()
    return frozenset(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
