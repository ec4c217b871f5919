from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation
from fsspec.spec import AbstractFileSystem

from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing.storage import StorageContract


class PlainFileSystem(AbstractFileSystem):
    """Writes straight into the final name, as SFTP and FTP do, and knows no shortcut."""

    protocol = "plainfs"
    root_marker = "/"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._disk = LocalFileSystem()

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        return self._disk.ls(path, detail=detail)

    def info(self, path: str, **_: Any) -> Any:
        return self._disk.info(path)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        return self._disk.open(path, mode)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._disk.makedirs(path, exist_ok=exist_ok)

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        self._disk.mv(path1, path2)

    def rm_file(self, path: str) -> None:
        self._disk.rm_file(path)


@pytest.fixture(autouse=True)
def _plain_file_system() -> None:
    register_implementation("plainfs", PlainFileSystem, clobber=True)


class TestLocalFolder(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> FsspecStorage:
        return FsspecStorage(f"file://{tmp_path}/media", base_url="/media/")


class TestMemory(StorageContract):
    base_url = "https://cdn.example.com/x/"

    @pytest.fixture
    def storage(self) -> FsspecStorage:
        return FsspecStorage(f"memory://{uuid.uuid4()}", base_url="https://cdn.example.com/x")


class TestMemoryRoot(StorageContract):
    @pytest.fixture
    def storage(self) -> FsspecStorage:
        MemoryFileSystem.store.clear()
        return FsspecStorage("memory://", base_url="/media")


class TestFileSystemWithoutAtomicWrites(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> FsspecStorage:
        (tmp_path / "media").mkdir()
        return FsspecStorage(f"plainfs://{tmp_path}/media", base_url="/media")
