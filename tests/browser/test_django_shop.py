"""``docs/examples/django_shop`` as people use it: its pages in Chromium, its server and its worker as processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from PIL import Image
from sqlalchemy import NullPool, create_engine, text

from easyimg.testing import images
from tests.browser.pages import follow
from tests.conftest import ROOT
from tests.queues.sites import free_port, until

MANAGE = ROOT / "docs" / "examples" / "django_shop" / "manage.py"
BUILT, QUEUED = 2, 0

pytestmark = pytest.mark.timeout(300)  # servers, workers and a browser


class Shop:
    """The example with its data in a folder of its own, served by ``runserver``; a worker when it is asked for.

    Args:
        database: URL; None = the SQLite file that the example makes.
    """

    def __init__(self, folder: Path, queue: str = "none", database: str | None = None) -> None:
        self.folder, self.media, self._queue, self._database = folder, folder / "media", queue, database
        self._engine = create_engine(database or f"sqlite:///{folder}/shop.db?timeout=20", poolclass=NullPool)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, "SHOP_DATA": str(self.folder), "SHOP_QUEUE": self._queue}
        environment.pop("DATABASE_URL", None)
        return environment | ({"DATABASE_URL": self._database} if self._database else {})

    def manage(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, MANAGE, *words], env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen([sys.executable, MANAGE, *words], env=self._environment, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=30) as response:
                return response.status == 200
        except OSError:
            return False

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def variants(self, name: str) -> dict[str, int]:
        """Return key -> status of a source's variants."""
        query = "SELECT v.key, v.status FROM easyimg_variant v JOIN easyimg_source s ON s.id = v.source_id"
        return dict(self.rows(f"{query} WHERE s.name = :name", name=name))

    @property
    def is_settled(self) -> bool:
        """Whether everything that was ordered is built."""
        return self.rows("SELECT DISTINCT status FROM easyimg_variant") == [(BUILT,)]

    @property
    def traces(self) -> tuple[Any, ...]:
        """Everything of easyimg: its rows and its files."""
        rows = (self.rows(f"SELECT * FROM easyimg_{table} ORDER BY 1") for table in ("source", "variant"))
        return (*rows, self.files)

    @property
    def files(self) -> set[str]:
        return {path.name for path in (self.media / "img").glob("*.*")}

    @property
    def originals(self) -> set[str]:
        return {str(path.relative_to(self.media)) for path in self.media.glob("p*/*.jpg")}

    def file(self, url: str) -> Path:
        return self.media / url.removeprefix(f"{self.url}/media/")

    def size(self, url: str) -> tuple[int, int]:
        """Return the size of the file behind a URL, pixels."""
        with Image.open(self.file(url)) as image:
            return image.size


@contextmanager
def served(folder: Path, queue: str = "none", database: str | None = None) -> Iterator[Shop]:
    shop = Shop(folder, queue, database)
    shop.manage("migrate", "--verbosity", "0")
    shop.start("runserver", "--noreload", f"127.0.0.1:{shop.port}")
    try:
        until(shop.answers, 60)
        yield shop
    finally:
        shop.stop()


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Shop]:
    with served(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


def picture(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def upload(page: Any, path: str, name: str | None, photo: bytes | None, *more: bytes) -> None:
    """Fill the form and send it."""
    page.goto(path)
    if name is not None:
        page.fill("input[name=name]", name)
    if photo is not None:
        page.set_input_files("input[name=photo]", [picture("photo.jpg", photo)])
    page.set_input_files("input[name=more]", [picture(f"{n}.jpg", data) for n, data in enumerate(more)])
    follow(page, "button")


def stored_thumbnail(shop: Shop, page: Any, look: Any, path: str) -> tuple[int, int]:
    """Open a form that shows a stored picture, and return the size of the thumbnail once it is built."""
    page.goto(path)
    until(lambda: shop.is_settled, 60)
    page.reload()
    return shop.size(look(page)[0]["url"])


def delete(page: Any, path: str) -> None:
    page.goto(path)
    follow(page, "button")


def test_an_upload_is_shown_built_replaced_and_deleted(shop, window, look):
    page = window(dpr=2)

    # Uploaded: pages show the original, in its slot; the card's src was built in the request, the rest waits.
    first = images.corners(1800, 1350, format="jpeg", orientation=6)
    upload(page, f"{shop.url}/new/", "Shoe", first, images.photo(700, 900, seed=1))
    number = int(page.url.rstrip("/").rpartition("/")[2])
    ((name,),) = shop.rows("SELECT photo FROM shop_product WHERE id = :id", id=number)
    statuses = list(shop.variants(name).values())
    assert (statuses.count(BUILT), statuses.count(QUEUED)) == (1, len(statuses) - 1)
    hero, small = look(page)
    assert hero["url"] == f"{shop.url}/media/{name}"
    assert hero["alt"] == "Shoe"
    assert hero["attributes"] == [800, 450]
    assert small["attributes"] == [120, 120]
    assert len(shop.files) == 1

    # A worker in another process: the next view has the files, each the right one for its screen.
    worker = shop.start("easyimg", "worker", "--processes", "1")
    until(lambda: shop.is_settled, 60)
    page.reload()
    hero, small = look(page)
    assert (hero["naturalWidth"], small["naturalWidth"]) == (800, 120), "CSS pixels of the chosen candidates"
    assert [shop.size(seen["url"]) for seen in (hero, small)] == [(1600, 900), (240, 240)]
    assert hero["url"].endswith(".webp")
    for corner, colour in images.CORNERS.items():
        assert hero["corners"][corner] == pytest.approx(list(colour), abs=40), corner
    phone = window(width=390, dpr=2)
    phone.goto(page.url)
    assert look(phone)[0]["width"] == pytest.approx(look(phone)[0]["height"], abs=1), "another cut on phones"
    page.goto(shop.url)
    (card,) = look(page)
    assert shop.size(card["url"]) == (480, 360)

    # Replaced: new rows, new files, no trace of the old picture, nor of the thumbnail that the form shows.
    assert stored_thumbnail(shop, page, look, f"{shop.url}/{number}/edit/") == (240, 180)
    old_files, old_keys = shop.files, set(shop.variants(name))
    upload(page, f"{shop.url}/{number}/edit/", None, images.photo(1600, 1200, seed=5))
    ((second,),) = shop.rows("SELECT photo FROM shop_product WHERE id = :id", id=number)
    assert second != name
    assert shop.variants(name) == {}
    assert not old_keys & set(shop.variants(second))
    until(lambda: shop.is_settled, 60)
    page.goto(f"{shop.url}/{number}/")
    hero, small_again = look(page)
    assert shop.size(hero["url"]) == (1600, 900)
    assert small_again["url"] == small["url"], "the other picture stays"
    assert shop.file(hero["url"]).name not in old_files
    assert name not in shop.originals
    kept = {row[0].rpartition("/")[2] for row in shop.rows("SELECT file_name FROM easyimg_variant")}
    assert shop.files == kept

    delete(page, f"{shop.url}/{number}/delete/")
    assert page.locator("main img").count() == 0
    assert shop.traces == ([], [], set())
    assert shop.originals == set()
    worker.terminate()
    assert worker.wait(30) == 0
    assert "Traceback" not in (shop.folder / "log").read_text()


def test_an_upload_that_is_rolled_back_leaves_no_row_no_message_and_no_variant(tmp_path, redis_url, window):
    photos = [images.photo(320, 240, seed=n) for n in range(6)]
    with served(tmp_path, redis_url) as shop, closing(redis.Redis.from_url(redis_url)) as broker:
        page, before = window(), set(broker.keys())
        upload(page, f"{shop.url}/new/", "Too much", *photos)
        assert "A product has 4 more pictures at most." in page.content()
        assert shop.rows("SELECT * FROM shop_product") == []
        assert shop.traces == ([], [], set())
        assert set(broker.keys()) == before
        upload(page, f"{shop.url}/new/", "Enough", *photos[:5])
        assert page.locator(".gallery img").count() == 4
        assert set(broker.keys()) > before, "now there are messages"


def test_the_shop_works_on_postgresql_and_refuses_what_is_no_picture(tmp_path, postgres_url, window, look):
    with served(tmp_path, database=postgres_url) as shop:
        page = window()
        upload(page, f"{shop.url}/new/", "No shoe", b"%PDF-1.7", images.photo(400, 300))
        assert "This picture cannot be used: found pdf" in page.content()
        assert (shop.rows("SELECT * FROM shop_product"), shop.originals) == ([], set())

        upload(page, f"{shop.url}/new/", "Shoe", images.photo(1600, 1200), images.photo(400, 300))
        assert shop.rows("SELECT name FROM shop_product") == [("Shoe",)]
        shop.manage("build_img_queue")
        page.reload()
        hero, small = look(page)
        assert [shop.size(seen["url"]) for seen in (hero, small)] == [(800, 450), (120, 120)]
        assert not (tmp_path / "shop.db").exists()


def test_the_list_asks_for_all_its_pictures_with_one_query(shop, window, look):
    page = window()
    for number in range(3):
        upload(page, f"{shop.url}/new/", f"No. {number}", images.photo(400, 300, seed=number))
    script = """
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
with CaptureQueriesContext(connection) as queries:
    html = Client().get("/", headers={"host": "localhost"}).content.decode()
print(html.count("<img"), sum("easyimg_" in query["sql"] for query in queries))
"""
    pictures, asked = shop.manage("shell", "-c", script).split()[-2:]
    assert int(pictures) >= 3
    assert asked == "1"


def test_the_admin_shows_the_pictures(shop, window, look):
    script = "from django.contrib.auth.models import User; User.objects.create_superuser('boss', '', 'secret')"
    shop.manage("shell", "-c", script)
    page = window()
    upload(page, f"{shop.url}/new/", "In the admin", images.photo(400, 300, seed=9))
    page.goto(f"{shop.url}/admin/shop/product/")
    page.fill("input[name=username]", "boss")
    page.fill("input[name=password]", "secret")
    follow(page, "input[type=submit]")
    seen = look(page)
    assert "In the admin" in {image["alt"] for image in seen}
    assert all(image["attributes"] == [60, 60] and image["naturalWidth"] for image in seen)


def test_one_command_makes_the_shop_and_serves_it(tmp_path):
    shop = Shop(tmp_path)
    shop.start("open_shop", f"127.0.0.1:{shop.port}")
    try:
        until(shop.answers, 60)
        with urllib.request.urlopen(shop.url, timeout=30) as response:
            html = response.read().decode()
    finally:
        shop.stop()
    assert len(re.findall(r"<img [^>]*alt=\"\w+ \w+\"", html)) == 4
    assert [shop.size(f"{shop.url}/media/products/{path.name}") for path in tmp_path.glob("media/products/*")] == [
        (1600, 1200)
    ] * 4
