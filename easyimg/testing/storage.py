"""The contract of ``ports.Storage`` as tests: subclass :class:`StorageContract` and give it a storage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from easyimg.errors import SourceNotFound, SourceTooLarge, UnsafeName
from easyimg.ports import Storage

UNSAFE_NAMES = (
    "", ".", "..", "/etc/passwd", "a/../../b", "../b", "a/./b", "a//b", "a/", "..%2fb", "%2e%2e/b", "%252e%252e/b",
    "a%00", "a\\..\\b", "C:\\x", "C:x", "file:///x", "http://169.254.169.254/", "s3::http://", "memory://a",
    "simplecache::x", "a\0b", "a\nb", "a\x7f", "a\x85", "a.", "a ", "dir./a", "dir /a", "x" * 256, "é" * 128,
    "a/" * 512 + "b", "a\ud800", "CON", "con.jpg", "a/nul", "LPT1.x.jpg", "com¹",
)  # fmt: skip
"""Names that every storage refuses before any I/O."""

SAFE_NAMES = (
    "a", "a.jpg", ".hidden", "..a", "a..b", "a/b/c.webp", "A b.jpg", "a,b.jpg", "it's \"so\" (1).jpg", "100%.jpg",
    "a?b#c&d.jpg", "[a]*{b}.jpg", "$HOME/~/a.jpg", "~/a.jpg", "Ärger/日本/🎉.jpg", "12:30.jpg", "-a", "x" * 255,
    "console.jpg", "nullable/auxiliary.jpg", "-" + "/a" * 500,
)  # fmt: skip
"""Names that every storage keeps apart, to the letter."""


class StorageContract:
    """Subclass it as ``class TestMine(StorageContract)`` and override the fixture ``storage``.

    Attributes:
        base_url: the one the storage was made with.
    """

    base_url = "/media/"

    @pytest.fixture
    def storage(self) -> Storage | Iterator[Storage]:
        """Return an empty storage with ``base_url``."""
        raise NotImplementedError("override the fixture `storage`")

    def test_the_storage_is_a_storage(self, storage: Storage) -> None:
        assert isinstance(storage, Storage)

    @pytest.mark.parametrize("name", SAFE_NAMES)
    def test_what_was_written_is_read_listed_and_deleted(self, storage: Storage, name: str) -> None:
        data = name.encode() + bytes(range(256))
        storage.write(name, data, "image/webp")
        assert storage.read(name) == data
        assert storage.size(name) == len(data)
        assert [(f.name, f.size) for f in storage.list()] == [(name, len(data))]
        storage.delete(name)
        assert storage.size(name) is None
        assert list(storage.list()) == []

    def test_writing_replaces_what_was_there(self, storage: Storage) -> None:
        storage.write("a/b.webp", b"x" * 1000, "image/webp")
        storage.write("a/b.webp", b"new", "image/webp")
        assert storage.read("a/b.webp") == b"new"
        assert [f.name for f in storage.list()] == ["a/b.webp"]

    def test_an_empty_file_is_a_file(self, storage: Storage) -> None:
        storage.write("a", b"", "image/png")
        assert storage.read("a") == b""
        assert storage.read("a", 10) == b""
        assert storage.size("a") == 0

    def test_absent_files_are_not_found(self, storage: Storage) -> None:
        storage.write("folder/file", b"x", "image/png")
        for name in ("none", "folder/none", "folder", "folder/file/below"):
            with pytest.raises(SourceNotFound):
                storage.read(name)
            with pytest.raises(SourceNotFound):
                storage.read(name, 10)
            assert storage.size(name) is None

    def test_deleting_what_is_absent_is_no_error(self, storage: Storage) -> None:
        storage.delete("none")
        storage.delete("folder/none")

    def test_reading_stops_at_the_limit(self, storage: Storage) -> None:
        storage.write("a", b"12345", "image/png")
        assert storage.read("a", 5) == b"12345"
        with pytest.raises(SourceTooLarge):
            storage.read("a", 4)
        with pytest.raises(SourceTooLarge):
            storage.read("a", 0)

    @pytest.mark.parametrize("name", UNSAFE_NAMES)
    def test_unsafe_names_are_refused_by_everything(self, storage: Storage, name: str) -> None:
        uses: tuple[Any, ...] = (storage.read, storage.delete, storage.size, storage.url)
        for use in uses:
            with pytest.raises(UnsafeName):
                use(name)
        with pytest.raises(UnsafeName):
            storage.write(name, b"x", "image/png")
        assert list(storage.list()) == []

    def test_lists_all_below_a_folder_and_nothing_beside_it(self, storage: Storage) -> None:
        names = ["a.jpg", "img/1.webp", "img/2.webp", "img/deep/er/3.webp", "img2/4.webp", "imgs"]
        for name in names:
            storage.write(name, name.encode(), "image/webp")
        assert sorted(f.name for f in storage.list()) == names
        assert sorted(f.name for f in storage.list("img")) == names[1:4]
        assert sorted(f.name for f in storage.list("img/")) == names[1:4]
        assert sorted(f.name for f in storage.list("img/deep")) == names[3:4]
        assert list(storage.list("none")) == []
        with pytest.raises(UnsafeName):
            list(storage.list("../img"))

    def test_listed_times_are_now_or_unknown(self, storage: Storage) -> None:
        storage.write("a", b"x", "image/png")
        [file] = storage.list()
        assert file.modified == 0 or abs(time.time() - file.modified) < 60

    @pytest.mark.parametrize(
        ("name", "encoded"),
        [
            ("img/0a1b.2c3d.webp", "img/0a1b.2c3d.webp"),
            ("a b,c.jpg", "a%20b%2Cc.jpg"),
            ('it\'s "(1)".jpg', "it%27s%20%22%281%29%22.jpg"),
            ("é?#&<>%.jpg", "%C3%A9%3F%23%26%3C%3E%25.jpg"),
            ("12:30/a@2x.jpg", "12%3A30/a%402x.jpg"),
        ],
    )
    def test_urls_are_encoded(self, storage: Storage, name: str, encoded: str) -> None:
        assert storage.url(name) == self.base_url + encoded
