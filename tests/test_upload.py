"""Taking in uploads: what is stored, under which name, what is recorded, and what is refused before that."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from easyimg import EasyImg, Source
from easyimg.errors import (
    ConfigError,
    EasyImgError,
    MetadataError,
    SourceError,
    SourceTooLarge,
    SourceUnreadable,
    SpecError,
    StorageError,
    UnsafeName,
    UnsupportedFormat,
)
from easyimg.fields import StoredImage
from easyimg.signals import file_post_save
from easyimg.upload import check_upload, save_upload, slug


@pytest.fixture
def app(tmp_path: Path) -> Iterator[EasyImg]:
    with EasyImg(
        storages={"default": f"file://{tmp_path}/media"},
        metadata=f"sqlite:///{tmp_path}/easyimg.db",
        queue="none",
        isolation="never",
        max_bytes=300_000,
    ) as app:
        yield app


def picture(form: str = "JPEG", size: tuple[int, int] = (90, 60), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 40, 40)).save(out, form, **options)
    return out.getvalue()


def stored(tmp_path: Path) -> list[Path]:
    return sorted(p for p in (tmp_path / "media").rglob("*") if p.is_file())


class Werkzeug:
    """What matters of a FileStorage."""

    def __init__(self, data: bytes, filename: str) -> None:
        self.stream = io.BytesIO(data)
        self.filename = filename


class Starlette:
    """What matters of an UploadFile: ``read`` is a coroutine, ``file`` is not."""

    def __init__(self, data: bytes, filename: str) -> None:
        self.file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
        self.file.write(data)
        self.filename = filename

    async def read(self) -> bytes:
        raise AssertionError


def test_an_upload_is_stored_under_a_readable_unique_name_and_its_size_is_recorded(
    app: EasyImg, tmp_path: Path
) -> None:
    data = picture()

    first = save_upload(data, prefix="photos/", name="My Été, at the sea.JPG")
    second = app.save_upload(data, prefix="photos/", name="My Été, at the sea.JPG")

    assert first != second
    for source in (first, second):
        assert source.storage == "default"
        head, _, tail = source.name.rpartition("-")
        assert head == "photos/my-ete-at-the-sea"
        assert len(tail) == len("01234567.jpg")
        assert (tmp_path / "media" / source.name).read_bytes() == data
        detail = app.metadata.inspect(source)
        assert detail is not None
        assert detail.info is not None
        assert (detail.info.width, detail.info.height, detail.info.format) == (90, 60, "jpeg")
        assert len(detail.version) == 12


def opened_at_its_end(data: bytes) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(data)  # where the position is after a view has looked at the file
    return file


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda path: path, "shoe"),
        (lambda path: path.open("rb"), "shoe"),
        (lambda path: Werkzeug(path.read_bytes(), "Shoe.png"), "shoe"),
        (lambda path: Starlette(path.read_bytes(), "Shoe.png"), "shoe"),
        (lambda path: opened_at_its_end(path.read_bytes()), "image"),
        (lambda path: bytearray(path.read_bytes()), "image"),
        (lambda path: memoryview(path.read_bytes()), "image"),
    ],
    ids=["path", "file", "werkzeug", "starlette", "spooled", "bytearray", "memoryview"],
)
def test_every_kind_of_upload_is_read_whole(app: EasyImg, tmp_path: Path, make: Any, name: str) -> None:
    path = tmp_path / "Shoe.png"
    path.write_bytes(picture("PNG"))
    file = make(path)

    source = save_upload(file)

    assert app.storage("default").read(source.name) == path.read_bytes()
    assert source.name.startswith(f"{name}-")
    for opened in (file, getattr(file, "file", None)):
        if hasattr(opened, "close"):
            opened.close()


def test_a_stream_that_gives_little_at_a_time_is_read_to_its_end(app: EasyImg) -> None:
    class Slow(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.rest = io.BytesIO(data)

        def read(self, size: int = -1) -> bytes:
            return self.rest.read(min(size, 100))

    data = picture()
    assert app.storage("default").read(save_upload(Slow(data)).name) == data


def test_dimensions_are_those_of_the_upright_picture(app: EasyImg) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    detail = app.metadata.inspect(save_upload(picture(exif=exif.tobytes())))

    assert detail is not None
    assert detail.info is not None
    assert detail.info.size == (60, 90)


def test_a_lying_extension_is_corrected(app: EasyImg) -> None:
    assert save_upload(picture("WEBP"), name="shoe.jpg").name.endswith(".webp")


def test_the_save_signal_is_sent_with_what_was_found(app: EasyImg) -> None:
    seen: list[dict[str, Any]] = []

    def receiver(**kwargs: Any) -> None:
        seen.append(kwargs)

    with file_post_save.connected_to(receiver):
        source = save_upload(picture())

    assert seen[0]["sender"] is app
    assert seen[0]["source"] == source
    assert seen[0]["info"].size == (90, 60)


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    idat = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + idat + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", SourceUnreadable, "empty"),
        (b"hello, world", UnsupportedFormat, "not a known image format"),
        (b"%PDF-1.7 ...", UnsupportedFormat, "found pdf"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedFormat, "found svg"),
        (b"\xff\xd8\xff\xe0 not really", SourceUnreadable, "."),
        (huge_png(60_000, 60_000), SourceTooLarge, "60000 x 60000"),
        (picture() + b"\0" * 300_000, SourceTooLarge, "300,000"),
    ],
)
def test_what_is_no_allowed_picture_is_refused_before_anything_is_stored(
    app: EasyImg, tmp_path: Path, data: bytes, error: type[EasyImgError], words: str
) -> None:
    for file in (data, io.BytesIO(data)):
        with pytest.raises(error, match=words):
            save_upload(file)

    assert stored(tmp_path) == []
    assert app.metadata.counts(stale_after=0).sources == 0


def test_no_more_than_the_limit_is_ever_read(app: EasyImg) -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return b"\0" * size

    endless = Endless()
    with pytest.raises(SourceTooLarge, match="more than 300,000 bytes"):
        save_upload(endless)
    assert endless.given == 300_001


@pytest.mark.parametrize("prefix", ["../", "/etc/", "a/../../b/", "http://example.com/"])
def test_a_prefix_that_leads_out_of_the_storage_is_refused(app: EasyImg, tmp_path: Path, prefix: str) -> None:
    with pytest.raises(UnsafeName):
        save_upload(picture(), prefix=prefix)
    assert stored(tmp_path) == []


@pytest.mark.parametrize(("file", "words"), [(7, "is not bytes"), (io.StringIO("text"), "binary mode")])
def test_what_is_no_file_is_a_clear_error(app: EasyImg, file: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        save_upload(file)


@pytest.mark.parametrize(
    "take_in",
    [save_upload, check_upload, StoredImage.from_file, lambda file: asyncio.run(StoredImage.from_upload(file))],
    ids=["save_upload", "check_upload", "from_file", "from_upload"],
)
def test_a_path_that_a_visitor_typed_is_not_read(app: EasyImg, tmp_path: Path, take_in: Any) -> None:
    path = tmp_path / "scan.jpg"
    path.write_bytes(picture())
    with pytest.raises(SpecError, match=r"is text, which a visitor may have typed; give an upload"):
        take_in(str(path))
    assert stored(tmp_path) == []
    assert app.metadata.counts(stale_after=0).sources == 0


@pytest.mark.parametrize("data", [picture(), b"hello, world", picture() + bytes(300_000)], ids=["good", "bad", "large"])
def test_an_upload_can_be_read_once_more_afterwards(app: EasyImg, data: bytes) -> None:
    for upload in (io.BytesIO(data), Werkzeug(data, "a.jpg"), Starlette(data, "a.jpg")):
        with contextlib.suppress(SourceError):
            save_upload(upload)
        file: Any = getattr(upload, "stream", getattr(upload, "file", upload))
        assert file.read() == data
        file.close()


@pytest.mark.parametrize("name", [7, b"shoe.jpg", Path("shoe.jpg")])
def test_a_name_that_is_no_string_is_a_clear_error(app: EasyImg, tmp_path: Path, name: Any) -> None:
    with pytest.raises(SpecError, match=r"name: .* is not a string such as 'shoe.jpg'"):
        save_upload(picture(), name=name)
    assert stored(tmp_path) == []


@pytest.mark.parametrize(
    ("prefix", "words"),
    [(7, "7 is not a string"), (None, "None is not a string"), (".easyimg-unsettled/", "folder of easyimg's notes")],
)
def test_a_prefix_that_cannot_be_one_is_a_clear_error(app: EasyImg, tmp_path: Path, prefix: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        save_upload(picture(), prefix=prefix)
    assert stored(tmp_path) == []


def test_a_closed_file_is_a_clear_error(app: EasyImg) -> None:
    file = io.BytesIO(picture())
    file.close()
    with pytest.raises(SourceUnreadable, match="the upload could not be read: I/O operation on closed file"):
        save_upload(file)


def test_a_file_whose_read_is_a_coroutine_is_a_clear_error(app: EasyImg) -> None:
    class Upload:
        async def read(self, _size: int = -1) -> bytes:
            raise AssertionError

    with pytest.raises(SpecError, match=r"give what `await file.read\(\)` returns"):
        save_upload(Upload())


def test_a_stream_that_tells_a_wrong_size_is_read_to_its_end(app: EasyImg) -> None:
    class Wrong(io.BytesIO):
        error = 0

        def seek(self, offset: int, whence: int = 0) -> int:
            return super().seek(offset, whence) + (whence == io.SEEK_END) * self.error

    for error in (-500, 500):
        file = Wrong(picture())
        file.error = error
        assert app.storage("default").read(save_upload(file).name) == picture()


def test_a_path_that_does_not_exist_is_a_clear_error(app: EasyImg, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="No such file"):
        save_upload(tmp_path / "absent.jpg")


def test_an_unknown_storage_is_a_clear_error(app: EasyImg) -> None:
    with pytest.raises(ConfigError, match="no storage 's3'"):
        save_upload(picture(), storage="s3")


def test_the_file_is_removed_again_when_its_row_cannot_be_written(tmp_path: Path) -> None:
    with EasyImg(
        storages={"default": f"file://{tmp_path}/media"},
        metadata=f"sqlite:///{tmp_path}/absent/easyimg.db",
        queue="none",
        isolation="never",
    ) as app:
        with pytest.raises(MetadataError):
            app.save_upload(picture())
        assert stored(tmp_path) == []


def test_a_storage_that_cannot_be_written_leaves_no_row(app: EasyImg, tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        save_upload(picture())
    assert app.metadata.counts(stale_after=0).sources == 0


def test_uploads_are_looked_at_in_a_limited_child_unless_settings_say_otherwise(tmp_path: Path) -> None:
    with EasyImg(
        storages={"default": f"file://{tmp_path}/media"}, metadata=f"sqlite:///{tmp_path}/e.db", queue="none"
    ) as app:
        source = app.save_upload(picture())
        assert isinstance(source, Source)
        assert app.limited_engine is not app.engine


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IMG_0042.JPG", "img-0042"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Ünïcode ☃.png", "unicode"),
        ("写真.jpg", "image"),
        ("", "image"),
        (".htaccess", "htaccess"),
        ("a" * 300 + ".jpg", "a" * 60),
        ("<script>alert(1)</script>.png", "script"),
    ],
)
def test_a_slug_holds_lower_case_letters_digits_and_hyphens_only(name: str, expected: str) -> None:
    assert slug(name) == expected
