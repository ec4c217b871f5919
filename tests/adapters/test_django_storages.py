"""Django's storages behind the Storage port, and which of them a site's sources and variants are in."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg, Img, current_app, process_queue
from easyimg.errors import ConfigError, SourceTooLarge, StorageError
from easyimg.source import Source
from easyimg.testing import images
from easyimg.testing.storage import StorageContract
from tests.adapters import django_site

django_site.start()

from django.core.files.base import ContentFile, File  # noqa: E402 - all of this needs a Django that is set up
from django.core.files.storage import FileSystemStorage, InMemoryStorage, default_storage, storages  # noqa: E402
from django.core.files.storage import Storage as BaseStorage  # noqa: E402
from django.core.files.uploadedfile import InMemoryUploadedFile, TemporaryUploadedFile  # noqa: E402
from django.template import engines  # noqa: E402
from django.test import override_settings  # noqa: E402

from easyimg_django.files import DjangoStorage  # noqa: E402
from easyimg_django.storage import alias_of  # noqa: E402
from tests.adapters.shop.models import SHELF, Product  # noqa: E402


class Failing(BaseStorage):
    """Fails at everything."""

    def _fail(self, *_: Any, **__: Any) -> Any:
        raise OSError(5, "the disk is away", "/secret/place")

    _open = _save = delete = exists = listdir = size = url = _fail


class Scrambled(FileSystemStorage):
    """Keeps files in another form, and never overwrites one."""

    def _save(self, name: str, content: Any) -> str:
        return str(super()._save(name, ContentFile(bytes(255 - byte for byte in content.read()))))

    def _open(self, name: str, mode: str = "rb") -> Any:
        with super()._open(name, mode) as file:
            return ContentFile(bytes(255 - byte for byte in file.read()))


class Bare(BaseStorage):
    """Knows as little as Django allows: no URLs, no times, no sizes of what is absent."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def _open(self, name: str, mode: str = "rb") -> Any:
        try:
            return ContentFile(self.kept[name])
        except KeyError as exc:
            raise FileNotFoundError(name) from exc

    def _save(self, name: str, content: Any) -> str:
        self.kept[name] = content.read()
        return name

    def delete(self, name: str) -> None:
        self.kept.pop(name, None)

    def exists(self, name: str) -> bool:
        return name in self.kept

    def size(self, name: str) -> int:
        return len(self.kept[name])

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        start = f"{path}/" if path else ""
        rest = [name[len(start) :] for name in self.kept if name.startswith(start)]
        return sorted({name.split("/")[0] for name in rest if "/" in name}), [name for name in rest if "/" not in name]


class DjangoContract(StorageContract):
    """The contract but for URLs: their form is the storage's own affair."""

    @pytest.mark.parametrize(
        ("name", "encoded"),
        [
            ("img/0a1b.2c3d.webp", "img/0a1b.2c3d.webp"),
            ("a b,c.jpg", "a%20b%2Cc.jpg"),
            ("é?#&<>%.jpg", "%C3%A9%3F%23%26%3C%3E%25.jpg"),
        ],
    )
    def test_urls_are_encoded(self, storage: Any, name: str, encoded: str) -> None:
        assert storage.url(name) == self.base_url + encoded


class TestLocalFolder(DjangoContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> DjangoStorage:
        return DjangoStorage(FileSystemStorage(tmp_path / "media", base_url="/media"))


class TestMemory(DjangoContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> DjangoStorage:
        return DjangoStorage(InMemoryStorage(tmp_path, base_url="/media/"))


class TestSubclass(DjangoContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> DjangoStorage:
        return DjangoStorage(Scrambled(tmp_path / "media", base_url="/media/"))


class TestBare(DjangoContract):
    @pytest.fixture
    def storage(self) -> DjangoStorage:
        return DjangoStorage(Bare())

    @pytest.mark.parametrize("name", ["a.jpg", "é ,.jpg"])
    def test_urls_are_encoded(self, storage: Any, name: str) -> None:
        assert storage.url(name) is None

    def test_unknown_times_are_said_to_be_unknown(self, storage: DjangoStorage) -> None:
        storage.write("a/b", b"x", "image/png")
        assert [file.modified for file in storage.list()] == [0.0]


def test_a_local_write_publishes_a_whole_file_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = DjangoStorage(FileSystemStorage(tmp_path))
    storage.write("img/a.webp", b"old", "image/webp")

    def fail(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"FileSystemStorage: cannot write 'img/a\.webp': OSError: No space left"):
        storage.write("img/a.webp", b"new" * 1000, "image/webp")
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "img").iterdir()] == [("a.webp", b"old")]


def test_a_local_write_has_the_permissions_that_the_site_chose(tmp_path: Path) -> None:
    kept = FileSystemStorage(tmp_path, file_permissions_mode=0o640, directory_permissions_mode=0o2750)
    DjangoStorage(kept).write("img/deep/a.webp", b"x", "image/webp")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("img", "img/deep", "img/deep/a.webp")]
    assert modes == [0o2750, 0o2750, 0o640]


def test_a_subclass_writes_as_it_means_to(tmp_path: Path) -> None:
    storage = DjangoStorage(Scrambled(tmp_path))
    storage.write("a", b"\x00\x01", "image/webp")
    assert (tmp_path / "a").read_bytes() == b"\xff\xfe"
    assert storage.read("a") == b"\x00\x01"


def test_what_a_storage_raises_becomes_one_line_without_paths() -> None:
    storage = DjangoStorage(Failing())
    for use in (storage.read, storage.size, storage.url, storage.delete, lambda name: list(storage.list(name))):
        with pytest.raises(StorageError, match=r"Failing: cannot .*: OSError: the disk is away") as caught:
            use("a.jpg")
        assert "secret" not in str(caught.value)


def test_too_large_a_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    read: list[str] = []

    class Watched(FileSystemStorage):
        def _open(self, name: str, mode: str = "rb") -> Any:
            return Reported(super()._open(name, mode).file)

    class Reported(File):
        def read(self, *sizes: int) -> bytes:
            read.append("a")
            return bytes(self.file.read(*sizes))

    with pytest.raises(SourceTooLarge, match="'a' has more than 10 bytes"):
        DjangoStorage(Watched(tmp_path)).read("a", 10)
    assert read == []
    assert DjangoStorage(Watched(tmp_path)).read("a", 11) == b"x" * 11
    assert read == ["a"]


# Which storage.


@pytest.fixture
def easyimg(sqlite_alias: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """EASYIMG of a site whose media are in ``tmp_path``."""
    django_site.empty(sqlite_alias)
    values = {"METADATA": f"django:{sqlite_alias}", "QUEUE": "none", "ISOLATION": "never", "CACHE_SECONDS": 0}
    with override_settings(MEDIA_ROOT=str(tmp_path), EASYIMG=values):
        yield values


@pytest.fixture(scope="module")
def products(sqlite_alias: str) -> str:
    """A database with products."""
    django_site.make_tables(sqlite_alias, Product)
    return sqlite_alias


def _app() -> EasyImg:
    app = current_app()
    assert isinstance(app, EasyImg)
    return app


def local(folder: Path, url: str) -> dict[str, Any]:
    return {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(folder), "base_url": url},
    }


MANIFEST = {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}


def test_variants_lie_in_the_default_storage(easyimg: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(images.photo(300, 200))
    html = str(Img(width=30)("a.jpg", alt="", build="all"))
    assert (html.count("/media/img/"), len(list((tmp_path / "img").iterdir()))) == (3, 3)


def test_an_alias_called_easyimg_takes_the_variants(easyimg: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(images.photo(300, 200))
    chosen = {
        "default": local(tmp_path, "/media/"),
        "easyimg": local(tmp_path / "cdn", "https://cdn.example.com/"),
        "staticfiles": MANIFEST,
    }
    with override_settings(STORAGES=chosen):
        assert list(current_app().settings.storages)[:3] == ["default", "easyimg", "shop.Product.boxed"]
        html = str(Img(width=30)("a.jpg", alt="", build="all"))
    assert html.count("https://cdn.example.com/img/") == 3
    assert len(list((tmp_path / "cdn" / "img").iterdir())) == 3


def test_a_field_is_known_by_its_alias_or_by_its_own_name(easyimg: Any) -> None:
    fields = Product._meta
    assert alias_of(fields.get_field("photo")) == "default"
    assert alias_of(fields.get_field("boxed")) == "shop.Product.boxed"
    with override_settings(STORAGES={"default": storages.backends["default"], "staticfiles": MANIFEST}):
        assert alias_of(fields.get_field("photo")) == "default"


def test_the_file_of_a_field_with_a_storage_of_its_own_is_built_from_there(easyimg: Any) -> None:
    name = SHELF.save("boxed/a.jpg", ContentFile(images.photo(300, 200)))
    product = Product(boxed=name)
    thumb = Img(width=30)
    assert f'src="/shelf/{name}"' in str(thumb(product.boxed, alt=""))
    assert process_queue() == 3
    assert str(thumb(product.boxed, alt="")).count("/media/img/") == 3
    SHELF.delete(name)


def test_the_static_files_are_left_alone(easyimg: Any) -> None:
    chosen = {"default": storages.backends["default"], "staticfiles": {"BACKEND": "no.such.Storage"}}
    with override_settings(STORAGES=chosen):
        assert "staticfiles" not in current_app().settings.storages
        assert alias_of(Product._meta.get_field("boxed")) == "shop.Product.boxed"


@pytest.mark.parametrize(
    ("cold", "text"),
    [
        ({"BACKEND": "no.such.Storage"}, "Could not find backend 'no.such.Storage'"),
        ({"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"lcation": 1}}, "TypeError: "),
    ],
    ids=["no such backend", "wrong options"],
)
def test_another_alias_that_cannot_be_made_breaks_no_page_and_no_save(
    products: str, easyimg: Any, caplog: pytest.LogCaptureFixture, cold: dict[str, Any], text: str
) -> None:
    with override_settings(STORAGES={"default": storages.backends["default"], "cold": cold}):
        product = Product(boxed="a.jpg")
        assert str(Img(width=30)(product.boxed, alt="")).startswith("<img")
        page = engines["django"].from_string("{% load easyimg %}{% img p.boxed width=30 alt='' %}")
        assert page.render({"p": product}).startswith("<img")
        with pytest.raises(ConfigError, match=rf"storages: 'cold': {re.escape(text)}"):
            current_app().storage("cold")
        saved = Product(boxed=ContentFile(images.photo(300, 200), "b.jpg"))
        saved.save(using=products)
        assert current_app().metadata.inspect(Source("shop.Product.boxed", saved.boxed.name)) is not None
    assert "a storage cannot be made storage=cold" in caplog.text


def test_a_storage_in_easyimg_takes_the_place_of_djangos(easyimg: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.jpg").write_bytes(images.photo(300, 200))
    chosen = easyimg | {"STORAGES": {"cdn": f"file://{tmp_path}/other"}, "BASE_URLS": {"cdn": "/other/"}}
    with override_settings(EASYIMG=chosen):
        assert list(current_app().settings.storages)[:3] == ["cdn", "default", "shop.Product.boxed"]
        assert 'src="/other/a.jpg"' in str(Img(width=30)(Source("cdn", "a.jpg"), alt=""))
    with override_settings(EASYIMG=easyimg | {"STORAGES": f"file://{tmp_path}/other"}):
        html = str(Img(width=30)(Product(photo="a.jpg").photo, alt="", build="all"))
    assert html.count("/media/img/") == 3
    assert len(list((tmp_path / "other" / "img").iterdir())) == 3


@pytest.mark.parametrize("value", [[], 3])
def test_storages_that_are_none_are_refused(easyimg: dict[str, Any], value: Any) -> None:
    with override_settings(EASYIMG=easyimg | {"STORAGES": value}), pytest.raises(ConfigError, match="storages: "):
        current_app()


def test_a_changed_media_url_changes_the_pages(easyimg: Any) -> None:
    thumb = Img(width=30)
    assert 'src="/media/a.jpg"' in str(thumb("a.jpg", alt=""))
    with override_settings(MEDIA_URL="https://cdn.example.com/m/"):
        assert 'src="https://cdn.example.com/m/a.jpg"' in str(thumb("a.jpg", alt=""))
    assert 'src="/media/a.jpg"' in str(thumb("a.jpg", alt=""))


def test_a_name_that_django_allows_and_easyimg_refuses_breaks_no_page(easyimg: Any, tmp_path: Path) -> None:
    (tmp_path / "con.jpg").write_bytes(images.photo(300, 200))
    assert default_storage.exists("con.jpg")
    assert str(Img(width=30, ratio=1)(Product(photo="con.jpg").photo, alt="")).startswith('<img src="data:image/svg')


def test_an_unreachable_storage_shows_when_a_worker_starts(easyimg: dict[str, Any], tmp_path: Path) -> None:
    chosen = {"default": {"BACKEND": "tests.adapters.test_django_storages.Failing"}}
    with (
        override_settings(STORAGES=chosen),
        pytest.raises(ConfigError, match=r"storages: 'default': .*the disk is away"),
    ):
        _app().check()
    (tmp_path / "file").write_bytes(b"")
    memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    with (  # not "default", of which Django 4.2 forgets the OPTIONS when a test overrides it
        override_settings(STORAGES={"default": memory, "disk": local(tmp_path / "file", "/")}),
        pytest.raises(ConfigError, match=r"storages: 'disk': .*is not a folder"),
    ):
        _app().check()


# Uploads.


@pytest.mark.parametrize("kind", ["memory", "temporary", "field"])
def test_an_upload_of_django_is_taken_in(easyimg: Any, tmp_path: Path, kind: str) -> None:
    data = images.photo(300, 200)
    file: Any
    if kind == "memory":
        file = InMemoryUploadedFile(ContentFile(data), None, "Ünsafe name!.JPEG", "image/jpeg", len(data), None)
    elif kind == "temporary":
        file = TemporaryUploadedFile("Ünsafe name!.JPEG", "image/jpeg", len(data), None)
        file.write(data)
    else:
        file = Product(photo=default_storage.save("unsafe name.jpg", ContentFile(data))).photo
    source = _app().save_upload(file, prefix="photos/")
    file.close()
    assert source.name.startswith("photos/unsafe-name-")
    assert (tmp_path / source.name).read_bytes() == data
    assert 'height="20"' in str(Img(width=30)(source, alt=""))
