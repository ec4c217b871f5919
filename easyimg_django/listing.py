"""Listing the files of a Django storage: by its own listing where that tells sizes and times, else file by file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from easyimg.ports import StoredFile


def walk(storage: Any, folder: str) -> Iterator[StoredFile]:
    """Yield the files below a folder of a storage that is not local; an absent folder is empty."""
    return _objects(storage, folder) if is_s3(storage) else _files(storage, folder)


def is_s3(storage: Any) -> bool:
    """Return whether it is django-storages' for S3, or made from it."""
    return any(kind.__module__.startswith("storages.backends.s3") for kind in storage.__class__.__mro__)


def _objects(storage: Any, folder: str) -> Iterator[StoredFile]:
    """List a bucket: one request for 1,000 objects, with their sizes and times."""
    location = storage.location.strip("/")
    start = "/".join(filter(None, (location, folder)))
    for item in storage.bucket.objects.filter(Prefix=f"{start}/" if start else ""):
        name = item.key[len(location) + 1 :] if location else item.key
        if not name.endswith("/"):  # the mark of an empty folder
            yield StoredFile(name, item.size, item.last_modified.timestamp())


def _files(storage: Any, folder: str) -> Iterator[StoredFile]:
    """Ask for the size and the time of each file: Django's storages have no other way."""
    try:
        folders, files = storage.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    start = f"{folder}/" if folder else ""
    for file in files:
        with suppress(FileNotFoundError):  # deleted since
            name = f"{start}{file}"
            yield StoredFile(name, int(storage.size(name)), _modified(storage, name))
    for inner in folders:
        yield from _files(storage, f"{start}{inner}")


def _modified(storage: Any, name: str) -> float:
    """Return when a file was last changed; 0 where the storage does not know (Django leaves that open)."""
    try:
        return float(storage.get_modified_time(name).timestamp())
    except NotImplementedError:
        return 0.0
