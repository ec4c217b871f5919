"""Files below a local folder: atomic writes, and no way out through symbolic links."""

from __future__ import annotations

import errno
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


def check_folder(root: str, *, writes: bool) -> None:
    """Raise OSError when a folder cannot be used; one that is absent must be possible to make."""
    folder = Path(root)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
    wanted = os.R_OK | os.X_OK | (os.W_OK if writes else 0)
    if not os.access(folder, wanted):
        raise PermissionError(errno.EACCES, f"{folder} cannot be {'written' if writes else 'read'} by this account")


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


def write(path: str, data: bytes, mode: int | None = None) -> None:
    """Publish a whole file or nothing.

    Written and synced under a temporary name in the same folder (renaming across file systems would be copying), then
    renamed over what was there.

    Args:
        mode: permissions; None = those that the umask leaves.
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
            if mode is not None:
                os.chmod(temporary, mode)  # noqa: PTH101
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
    """Yield the files below a folder of the root; names relative to the root.

    One entry at a time: ``os.walk`` would hold the names of a whole folder, and a million variants lie in one.
    """
    start = len(root.rstrip("/")) + 1
    folders = [str(Path(root) / prefix) if prefix else root]
    while folders:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # deleted since
                    if entry.is_dir(follow_symlinks=follow_symlinks):
                        folders.append(entry.path)
                    elif follow_symlinks or not entry.is_symlink():
                        found = entry.stat(follow_symlinks=follow_symlinks)
                        yield StoredFile(Path(entry.path[start:]).as_posix(), found.st_size, found.st_mtime)
