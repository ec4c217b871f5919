"""Files below a local folder: atomic writes, and no way out through symbolic links."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from easyimg.errors import UnsafeName, shown
from easyimg.ports import StoredFile

TEMPORARY_PREFIX = ".easyimg-"
"""Begins the names of files being written; one older than an hour was left by a killed process."""


_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_READ = os.O_RDONLY | _BINARY
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY


def check_inside(root: str, path: str, name: str) -> None:
    """Refuse a path that symbolic links lead out of the root.

    Looks at every part below the root, each time: a link may have been put there a moment ago.

    Raises:
        UnsafeName: it ends elsewhere.
    """
    here = root
    for part in path[len(root) + 1 :].split("/"):
        here = f"{here}/{part}"
        try:
            mode = os.lstat(here).st_mode
        except FileNotFoundError:
            return  # below what does not exist there are no links
        except OSError:  # an odd file in the middle, no permission: the reading or writing itself will tell
            return
        if stat.S_ISLNK(mode):
            _check_link(root, path, name)
            return


def _check_link(root: str, path: str, name: str) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise UnsafeName(f"storage name {shown(name)} leads out of the storage through a symbolic link")


def read(path: str, at_most: int | None) -> bytes:
    """Return a whole file, or its first ``at_most`` bytes."""
    file = os.open(path, _READ)
    try:
        size = os.fstat(file).st_size if at_most is None else min(at_most, os.fstat(file).st_size)
        data = os.read(file, size)
        if len(data) == size and size:
            return data
    finally:
        os.close(file)
    return _read_on(path, at_most)


def _read_on(path: str, at_most: int | None) -> bytes:
    """Read what does not come at once: huge files, and those that tell no size or change meanwhile."""
    with Path(path).open("rb") as file:
        return file.read() if at_most is None else file.read(at_most)


def write(path: str, data: bytes) -> None:
    """Publish a whole file or nothing, with the permissions that the umask leaves.

    Written and synced under a temporary name in the same folder (renaming across file systems would be copying), then
    renamed over what was there.
    """
    folder = path.rpartition("/")[0]
    temporary = f"{folder}/{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"
    try:
        file = os.open(temporary, _WRITE, 0o666)
    except FileNotFoundError:
        Path(folder).mkdir(parents=True, exist_ok=True)
        file = os.open(temporary, _WRITE, 0o666)
    try:
        try:
            _write_all(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(temporary, path)  # noqa: PTH105 - pathlib would parse both paths first
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _write_all(file: int, data: bytes) -> None:
    """Write on where a file system takes less than all at once."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def walk(root: str, prefix: str, *, follow_symlinks: bool) -> Iterator[StoredFile]:
    """Yield the files below a folder of the root; names relative to the root."""
    base = str(Path(root) / prefix) if prefix else root
    for folder, _, files in os.walk(base, followlinks=follow_symlinks):
        for file in files:
            path = Path(folder) / file
            if path.is_symlink() and not follow_symlinks:
                continue
            with suppress(FileNotFoundError):  # deleted since
                found = path.stat()
                yield StoredFile(path.relative_to(root).as_posix(), found.st_size, found.st_mtime)
