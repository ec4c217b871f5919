"""A Django site whose media are in S3, through django-storages: a local server speaks the protocol."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from easyimg import Img, current_app, process_queue
from easyimg.clean import clean
from easyimg.errors import SourceTooLarge
from easyimg.testing import images
from tests import services
from tests.adapters import django_site
from tests.adapters.test_django_storages import DjangoContract

django_site.start()

from django.core.files.base import ContentFile  # noqa: E402 - all of this needs a Django that is set up
from django.test import override_settings  # noqa: E402
from storages.backends.s3 import S3Storage  # noqa: E402

from easyimg_django.files import DjangoStorage  # noqa: E402
from easyimg_django.hooks import listeners  # noqa: E402
from easyimg_django.models import Source as SourceRow  # noqa: E402
from easyimg_django.models import Variant  # noqa: E402
from tests.adapters.shop.models import Kit, Note, Product  # noqa: E402

pytestmark = pytest.mark.slow

BUCKET = "media"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server of this module's own, with an empty bucket."""
    port = services.free_port()
    log = tmp_path_factory.mktemp("s3") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        _await(server, url, log)
        with closing(_storage(url).connection.meta.client) as client:
            client.create_bucket(Bucket=BUCKET)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def _await(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/moto-api/", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the S3 server did not start: {log.read_text()}")


def options(endpoint: str, **changes: Any) -> dict[str, Any]:
    return {
        "endpoint_url": endpoint,
        "bucket_name": BUCKET,
        "access_key": "of-no-one",
        "secret_key": "kept-by-no-one",
        "region_name": "us-east-1",
        "addressing_style": "path",
        "signature_version": "s3v4",
        "location": uuid.uuid4().hex,
        **changes,
    }


def _storage(endpoint: str, **changes: Any) -> Any:
    return S3Storage(**options(endpoint, **changes))


@contextmanager
def requests(storage: Any) -> Iterator[list[str]]:
    """The kinds of requests that a storage sends inside the block."""
    sent: list[str] = []

    def note(model: Any, **_: Any) -> None:
        sent.append(model.name)

    events = storage.connection.meta.client.meta.events
    events.register("before-call.s3", note)
    yield sent
    events.unregister("before-call.s3", note)


class TestS3(DjangoContract):
    base_url = "https://cdn.example.com/x/"

    @pytest.fixture
    def storage(self, endpoint: str) -> DjangoStorage:
        place = uuid.uuid4().hex
        self.base_url = f"https://cdn.example.com/{place}/"
        return DjangoStorage(_storage(endpoint, location=place, custom_domain="cdn.example.com"))


def test_a_bucket_of_its_own_is_listed_from_its_root(endpoint: str) -> None:
    bucket = uuid.uuid4().hex
    kept = _storage(endpoint, bucket_name=bucket, location="", custom_domain="cdn.example.com")
    kept.connection.meta.client.create_bucket(Bucket=bucket)
    kept.connection.meta.client.put_object(Bucket=bucket, Key="folder/")  # as consoles mark an empty folder
    storage = DjangoStorage(kept)
    storage.write("a.webp", b"x", "image/webp")
    storage.write("folder/b.webp", b"x", "image/webp")
    assert [file.name for file in storage.list()] == ["a.webp", "folder/b.webp"]
    assert [file.name for file in storage.list("folder")] == ["folder/b.webp"]
    assert storage.url("a.webp") == "https://cdn.example.com/a.webp"


def test_each_question_is_asked_once(endpoint: str) -> None:
    kept = _storage(endpoint)
    storage = DjangoStorage(kept)
    with requests(kept) as sent:
        for name in ("a/1.webp", "a/2.webp", "a/b/3.webp"):
            storage.write(name, b"xyz", "image/webp")
        assert sent == ["PutObject"] * 3
    with requests(kept) as sent:
        assert sorted((file.name, file.size) for file in storage.list("a")) == [
            ("a/1.webp", 3), ("a/2.webp", 3), ("a/b/3.webp", 3),
        ]  # fmt: skip
        assert sent == ["ListObjects"]
    with requests(kept) as sent:
        assert (storage.size("a/1.webp"), sent) == (3, ["HeadObject"])
    with requests(kept) as sent, pytest.raises(SourceTooLarge):
        storage.read("a/1.webp", 2)
    assert sent == ["HeadObject"]  # and nothing of it was loaded
    with requests(kept) as sent:
        assert "a/1.webp" in str(storage.url("a/1.webp"))
        assert sent == []


@pytest.fixture
def site(sqlite_alias: str, endpoint: str) -> Iterator[Any]:
    """A site with its media in the bucket; yields Django's storage of them."""
    django_site.empty(sqlite_alias)
    easyimg = {"METADATA": f"django:{sqlite_alias}", "QUEUE": "none", "ISOLATION": "never", "CACHE_SECONDS": 0}
    chosen = {"default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options(endpoint)}}
    with override_settings(EASYIMG=easyimg, STORAGES=chosen):
        from django.core.files.storage import default_storage

        yield default_storage
    listeners.clear()


@pytest.fixture(scope="module")
def tables(sqlite_alias: str) -> str:
    django_site.make_tables(sqlite_alias, Product, Kit, Note)
    return sqlite_alias


def save(alias: str, product: Product, data: bytes) -> Product:
    product.photo.save("shoe.jpg", ContentFile(data), save=False)
    product.save(using=alias)
    return product


def test_an_upload_is_queued_built_and_shown_from_the_bucket(site: Any, tables: str) -> None:
    thumb = Img(width=30)
    thumb.queue(Product, fields=["photo"])
    product = save(tables, Product(), images.photo(300, 200))
    assert 'height="20"' in thumb(product.photo, alt="").as_html()
    assert process_queue() == 3
    shown = thumb(product.photo, alt="").as_dict()
    with urllib.request.urlopen(shown["src"]) as answer:
        assert (answer.headers["Content-Type"], answer.read()[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    product.delete(using=tables)
    assert list(current_app().storage("default").list("img")) == []


def test_signatures_are_in_pages_and_never_in_rows(site: Any, tables: str) -> None:
    thumb = Img(width=30)
    product = save(tables, Product(), images.photo(300, 200))
    str(thumb(product.photo, alt=""))
    process_queue()
    query = parse_qs(urlsplit(thumb(product.photo, alt="").base_url()).query)
    assert query["X-Amz-Expires"] == ["3600"]
    names = [*Variant.objects.using(tables).values_list("file_name", flat=True)]
    names += SourceRow.objects.using(tables).values_list("name", flat=True)
    assert len(names) == 4
    assert not any("?" in name or "Amz" in name for name in names)


def test_signed_urls_are_remembered_for_less_than_they_last(site: Any, tables: str) -> None:
    from django.conf import settings

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    with override_settings(EASYIMG=settings.EASYIMG | {"CACHE_SECONDS": 10}):
        product = save(tables, Product(), images.photo(300, 200))
        thumb, clock = Img(width=30), Clock()
        str(thumb(product.photo, alt=""))
        process_queue()
        current_app().cache._clock = clock
        signed: list[str] = []
        url, kept = site.url, current_app().storage("default")
        kept._storage.url = lambda name: signed.append(name) or url(name)  # type: ignore[attr-defined]
        for _ in range(3):
            str(thumb(product.photo, alt=""))
        assert len(signed) == 3
        clock.now = 10.5
        str(thumb(product.photo, alt=""))
        assert len(signed) == 6


def test_an_upload_that_overwrites_is_built_anew(site: Any, tables: str) -> None:
    thumb = Img(width=30)
    thumb.queue(Product, fields=["photo"], build="all")
    product = save(tables, Product(), images.photo(300, 200))
    name, before = product.photo.name, thumb(product.photo, alt="").base_url()
    product = save(tables, Product.objects.using(tables).get(pk=product.pk), images.photo(300, 300, seed=2))
    assert product.photo.name == name
    assert 'height="30"' in thumb(product.photo, alt="").as_html()
    assert urlsplit(thumb(product.photo, alt="").base_url()).path != urlsplit(before).path
    assert clean(current_app(), older_than=0).orphans == 3
    product.delete(using=tables)


def test_a_bucket_that_is_away_breaks_no_page_and_no_save(
    site: Any, tables: str, caplog: pytest.LogCaptureFixture
) -> None:
    from django.conf import settings

    gone = {"bucket_name": "gone", "endpoint_url": f"http://127.0.0.1:{services.free_port()}"}
    changed = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": settings.STORAGES["default"]["OPTIONS"] | gone}
    Img(width=30).queue(Product, fields=["photo"])
    with override_settings(STORAGES={"default": changed}):
        from botocore.config import Config

        quick = Config(connect_timeout=1, retries={"max_attempts": 0}, s3={"addressing_style": "path"})
        current_app().storage("default")._storage.client_config = quick  # type: ignore[attr-defined]
        product = Product(photo="a.jpg")
        product.save(using=tables)
        assert "<img" in Img(width=30)(product.photo, alt="").as_html()
        assert Variant.objects.using(tables).count() == 3
    assert "S3Storage: cannot read 'a.jpg'" in caplog.text
    assert "kept-by-no-one" not in caplog.text
