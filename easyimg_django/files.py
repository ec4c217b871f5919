"""DjangoStorage: one of Django's storages behind the Storage port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage
from django.utils._os import safe_makedirs  # as FileSystemStorage makes its folders

from easyimg.errors import EasyImgError, SourceNotFound, SourceTooLarge, StorageError, UnsafeName, shown
from easyimg.ports import StoredFile
from easyimg.storages import local
from easyimg.storages.names import check_name
from easyimg_django import listing

_ABSENT: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError, FileExistsError)
"""What storages raise for a name that is none of a file; the last comes from Django's in memory, below a file."""


class DjangoStorage:
    """Files of a Django storage. Thread-safe as far as that storage is.

    Names are checked as for every storage of easyimg, which is stricter than Django. A ``FileSystemStorage`` gets whole
    files or nothing, with its permissions; others are written by their own ``_save``.

    Args:
        storage: a storage object.
    """

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __repr__(self) -> str:
        return f"DjangoStorage({self._label})"

    @property
    def _label(self) -> str:
        return str(self._storage.__class__.__name__)

    def _is_local(self, method: str) -> bool:
        """Return whether a method is Django's own for local files; a subclass may encrypt, say."""
        kind = self._storage.__class__
        return issubclass(kind, FileSystemStorage) and getattr(kind, method) is getattr(FileSystemStorage, method)

    @contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        try:
            yield
        except EasyImgError:
            raise
        except Exception as exc:
            told = getattr(exc, "strerror", None) or str(exc)  # a folder's path is nobody's business
            raise StorageError(f"{self._label}: cannot {doing} {shown(name)}: {type(exc).__name__}: {told}") from exc

    def check(self, *, writes: bool = False) -> None:
        """Look whether files can be read, and written, as far as that shows without writing any.

        Raises:
            StorageError: they cannot.
        """
        with self._errors("use", ""):
            if self._is_local("_save"):
                local.check_folder(str(self._storage.location), writes=writes)
            else:
                self._storage.exists("easyimg-check")

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """Return a whole file, asking for one byte more than ``max_bytes`` at most."""
        check_name(name)
        with self._errors("read", name):
            try:
                with self._storage.open(name, "rb") as file:
                    _check_size(file, name, max_bytes)
                    data: bytes = file.read() if max_bytes is None else file.read(max_bytes + 1)
            except _ABSENT as exc:
                raise SourceNotFound(self._label, name) from exc
            if max_bytes is not None and len(data) > max_bytes:
                raise _too_large(name, max_bytes)
            return data

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Publish a whole file or nothing, under exactly this name."""
        check_name(name)
        with self._errors("write", name):
            if self._is_local("_save"):
                self._write_local(self._storage.path(name), data)
            elif (saved := self._save(name, data, content_type)) != name:
                # It never overwrites. Whoever asks for the file in this moment is told that there is none.
                self._storage.delete(saved)
                self._storage.delete(name)
                saved = self._save(name, data, content_type)
                if saved != name:
                    self._storage.delete(saved)
                    raise StorageError(f"{self._label}: wrote {shown(saved)} instead of {shown(name)}")

    def _save(self, name: str, data: bytes, content_type: str) -> str:
        content = ContentFile(data, name)
        content.content_type = content_type  # asked for by django-storages
        if isinstance(self._storage, InMemoryStorage):
            self._storage.delete(name)  # it writes over the beginning of what is there
        return str(self._storage._save(name, content))  # noqa: SLF001 - documented; `save` would choose another name

    def _write_local(self, path: str, data: bytes) -> None:
        storage = self._storage
        folder = Path(path).parent
        if storage.directory_permissions_mode is not None and not folder.is_dir():
            safe_makedirs(folder, storage.directory_permissions_mode, exist_ok=True)
        local.write(path, data, storage.file_permissions_mode)
        storage._ensure_location_group_id(path)  # noqa: SLF001 - as its own `_save` does

    def delete(self, name: str) -> None:
        """Remove a file; one that is absent is no error, and folders are left alone."""
        check_name(name)
        with self._errors("delete", name), suppress(*_ABSENT):
            if self._is_local("delete"):
                Path(self._storage.path(name)).unlink(missing_ok=True)
            else:
                self._storage.delete(name)

    def size(self, name: str) -> int | None:
        """Return the file's size in bytes, or None when absent."""
        check_name(name)
        with self._errors("look at", name):
            try:
                if self._is_local("size"):
                    path = Path(self._storage.path(name))
                    return path.stat().st_size if path.is_file() else None
                return int(self._storage.size(name))
            except _ABSENT:
                return None
            except Exception:
                if self._storage.exists(name):
                    raise
                return None  # Django leaves open what `size` does then

    def url(self, name: str) -> str | None:
        """Return the storage's own URL, signed where it signs; None where it has none."""
        check_name(name)
        with self._errors("give a URL of", name):
            try:
                return str(self._storage.url(name))
            except (ValueError, NotImplementedError):  # Django's ways to say "not accessible via a URL"
                return None

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Yield every file below a folder that has a safe name."""
        folder = prefix.strip("/")
        if folder:
            check_name(folder)
        with self._errors("list", prefix):
            if self._is_local("listdir"):
                found = local.walk(str(self._storage.location), folder, follow_symlinks=False)
            else:
                found = listing.walk(self._storage, folder)
            for file in found:
                with suppress(UnsafeName):
                    check_name(file.name)
                    yield file


def _check_size(file: Any, name: str, max_bytes: int | None) -> None:
    """Refuse a file by the size that its storage tells: many load all of it at the first read."""
    if max_bytes is None:
        return
    size = None
    with suppress(AttributeError, NotImplementedError, OSError):  # Django leaves open what can be asked of an open file
        size = file.size
    if isinstance(size, int) and size > max_bytes:
        raise _too_large(name, max_bytes)


def _too_large(name: str, max_bytes: int) -> SourceTooLarge:
    return SourceTooLarge(f"{shown(name)} has more than {max_bytes:,} bytes")
