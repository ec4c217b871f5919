"""DjangoStorage: one of Django's storages behind the Storage port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

from easyimg.errors import EasyImgError, SourceNotFound, SourceTooLarge, StorageError, UnsafeName, shown
from easyimg.ports import StoredFile
from easyimg.storages import local
from easyimg.storages.names import check_name


class DjangoStorage:
    """Files of a Django storage. Thread-safe as far as that storage is.

    Args:
        storage: a storage object; a ``FileSystemStorage`` gets whole files or nothing.
    """

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __repr__(self) -> str:
        return f"DjangoStorage({self._label})"

    @property
    def _label(self) -> str:
        return type(self._storage).__name__

    @property
    def _is_local(self) -> bool:
        return isinstance(self._storage, FileSystemStorage)

    @contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        try:
            yield
        except EasyImgError:
            raise
        except Exception as exc:
            raise StorageError(f"{self._label}: cannot {doing} {shown(name)}: {type(exc).__name__}: {exc}") from exc

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """Return a whole file, asking for one byte more than ``max_bytes`` at most."""
        check_name(name)
        with self._errors("read", name):
            try:
                with self._storage.open(name, "rb") as file:
                    data: bytes = file.read() if max_bytes is None else file.read(max_bytes + 1)
            except FileNotFoundError as exc:
                raise SourceNotFound(self._label, name) from exc
            if max_bytes is not None and len(data) > max_bytes:
                raise SourceTooLarge(f"{shown(name)} has more than {max_bytes:,} bytes")
            return data

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Publish a whole file or nothing, under exactly this name."""
        check_name(name)
        with self._errors("write", name):
            if self._is_local:
                self._write_local(self._storage.path(name), data)
                return
            content = ContentFile(data, name)
            content.content_type = content_type
            saved = self._storage._save(name, content)  # noqa: SLF001 - documented; `save` would choose another name
            if saved != name:
                self._storage.delete(saved)
                raise StorageError(f"{self._label}: wrote {shown(saved)} instead of {shown(name)}")

    def _write_local(self, path: str, data: bytes) -> None:
        local.write(path, data)
        mode = self._storage.file_permissions_mode
        if mode is not None:
            os.chmod(path, mode)  # noqa: PTH101

    def delete(self, name: str) -> None:
        """Remove a file; one that is absent is no error."""
        check_name(name)
        with self._errors("delete", name), suppress(FileNotFoundError):
            self._storage.delete(name)

    def size(self, name: str) -> int | None:
        """Return the file's size in bytes, or None when absent."""
        check_name(name)
        with self._errors("look at", name):
            try:
                return int(self._storage.size(name)) if self._storage.exists(name) else None
            except FileNotFoundError:
                return None

    def url(self, name: str) -> str | None:
        """Return the storage's own URL; None where it has none."""
        check_name(name)
        try:
            return str(self._storage.url(name))
        except (ValueError, NotImplementedError):  # Django's ways to say "not accessible via a URL"
            return None

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Yield every file below a folder that has a safe name."""
        folder = prefix.strip("/")
        with self._errors("list", prefix):
            if self._is_local:
                found = local.walk(str(self._storage.location), folder, follow_symlinks=False)
            else:
                found = self._walk(folder)
            for file in found:
                with suppress(UnsafeName):
                    check_name(file.name)
                    yield file

    def _walk(self, folder: str) -> Iterator[StoredFile]:
        try:
            folders, files = self._storage.listdir(folder)
        except FileNotFoundError:
            return
        start = f"{folder}/" if folder else ""
        for file in files:
            name = f"{start}{file}"
            with suppress(FileNotFoundError):  # deleted since
                modified = self._storage.get_modified_time(name).timestamp()
                yield StoredFile(name, int(self._storage.size(name)), modified)
        for inner in folders:
            yield from self._walk(f"{start}{inner}")
