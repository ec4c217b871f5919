"""How files are read, written and listed on a filesystem of fsspec; ``s3`` and ``sftp`` know ways of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final

from fsspec import AbstractFileSystem

from easyimg.storages.local import TEMPORARY_PREFIX

ABSENT: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""What filesystems raise where there is no file of that name."""

Info = Mapping[str, Any]


class Way:
    """What works on every filesystem. Paths are those of the filesystem; all may be called again after a failure."""

    connects = False
    """Whether a filesystem is one connection, for one thread at a time, open from the moment it is made."""

    content_type: str | None = None
    """How ``pipe_file`` wants to be told the content type; None = it cannot keep one."""

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options for the filesystem, with our defaults."""
        return dict(given)

    def check(self, fs: AbstractFileSystem, root: str) -> None:
        """Ask one thing, so that wrong credentials and absent servers show."""
        self.size(fs, f"{root}/easyimg-check")

    def read(self, fs: AbstractFileSystem, path: str, number: int | None) -> bytes:
        """Return a whole file, or its first ``number`` bytes."""
        part = {} if number is None else {"start": 0, "end": number}
        data: bytes = fs.cat_file(path, **part)
        return data

    def write(self, fs: AbstractFileSystem, path: str, data: bytes, content_type: str) -> None:
        """Publish a whole file or nothing."""
        if _puts_whole_files(fs):
            fs.pipe_file(path, data, **({self.content_type: content_type} if self.content_type else {}))
        else:
            _write_and_move(fs, path, data)

    def delete(self, fs: AbstractFileSystem, path: str) -> None:
        """Remove a file."""
        fs.rm_file(path)

    def size(self, fs: AbstractFileSystem, path: str) -> int | None:
        """Return the size, asked of the filesystem, not of a cached listing; None where there is no file."""
        fs.invalidate_cache()
        try:
            info = fs.info(path)
        except ABSENT:
            return None
        return int(info["size"] or 0) if info["type"] == "file" else None

    def walk(self, fs: AbstractFileSystem, folder: str) -> Iterator[Info]:
        """Yield what is known of every file below a folder; an absent one is empty.

        ``walk`` of fsspec would leave out what it cannot list, and files that are there would seem to be lost.
        """
        fs.invalidate_cache()
        folders = [folder]
        while folders:
            here = folders.pop()
            try:
                listing = fs.ls(here, detail=True)
            except ABSENT:
                continue  # absent, or removed since
            for info in listing:
                if info["type"] != "directory":
                    yield info
                elif info["name"].strip("/") != here.strip("/"):  # some list the folder as a part of itself
                    folders.append(info["name"])
        fs.invalidate_cache()  # it holds all that was listed


class GoogleCloudWay(Way):
    """Google Cloud Storage (gcsfs)."""

    content_type = "content_type"


def _puts_whole_files(fs: AbstractFileSystem) -> bool:
    """Return whether ``pipe_file`` publishes at once: fsspec's default opens the final name and writes."""
    return fs.async_impl or type(fs).pipe_file is not AbstractFileSystem.pipe_file


def _write_and_move(fs: AbstractFileSystem, path: str, data: bytes) -> None:
    """Write under a temporary name in the same folder, then move (SFTP, SMB, FTP ...)."""
    folder = path.rpartition("/")[0]
    temporary = f"{folder}/{TEMPORARY_PREFIX}{token_hex(8)}.tmp"
    try:
        _write_below(fs, folder, temporary, data)
        fs.mv(temporary, path)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(temporary)
        raise


def _write_below(fs: AbstractFileSystem, folder: str, path: str, data: bytes) -> None:
    """Write a file, and make its folder only where that fails: looking first would ask for each part of the path."""
    try:
        fs.pipe_file(path, data)
    except Exception as exc:  # an absent folder has many names, and may be there when we look
        if not isinstance(exc, ABSENT) and fs.isdir(folder):
            raise
        try:
            fs.makedirs(folder, exist_ok=True)
        except Exception:
            if not fs.isdir(folder):  # another process may have made it meanwhile
                raise
        fs.pipe_file(path, data)
