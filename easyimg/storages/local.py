"""Files below a local folder: atomic writes, and no way out through symbolic links."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from easyimg.errors import UnsafeName, shown
from easyimg.ports import StoredFile

TEMPORARY_PREFIX = ".easyimg-"
"""Begins the names of files being written; one older than an hour was left by a killed process."""


def check_inside(root: str, path: str, name: str) -> None:
    """Refuse a path that symbolic links lead out of the root.

    Raises:
        UnsafeName: it ends elsewhere.
    """
    real_root = os.path.realpath(root)
    if not Path(os.path.realpath(path)).is_relative_to(real_root):
        raise UnsafeName(f"storage name {shown(name)} leads out of the storage through a symbolic link")


def write(path: str, data: bytes) -> None:
    """Publish a whole file or nothing, with the permissions that the umask leaves.

    Written and synced under a temporary name in the same folder (renaming across file systems would be copying), then
    renamed over what was there.
    """
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


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
