"""A list of 100 products with three built variants each, on a storage of Django's: what a page of it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from easyimg import process_queue
from easyimg.testing import images
from tests.adapters import django_site
from tests.adapters.pages import template_settings

django_site.start()

from django.core.files.base import ContentFile  # noqa: E402 - all of this needs a Django that is set up
from django.core.files.storage import FileSystemStorage, storages  # noqa: E402
from django.db import connections  # noqa: E402
from django.shortcuts import render  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.urls import path  # noqa: E402

from tests.adapters.shop.models import Product  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # 300 files are built

ALIAS = "site_sqlite"
PRODUCTS = 100
LIST = "{% for p in products %}<li>{% img p.photo width=30 alt=p.name %}</li>{% endfor %}"
FILES = {
    "plain.html": "{% load easyimg %}" + LIST,
    "batch.html": "{% load easyimg %}{% imgbatch %}" + LIST + "{% endimgbatch %}",
}
TOUCHING = (
    *("open", "_open", "save", "_save", "delete", "exists", "listdir", "size", "path"),
    *("get_accessed_time", "get_created_time", "get_modified_time"),
)
calls: list[str] = []


class Counted(FileSystemStorage):
    """Notes each call that may touch a file; a page needs URLs alone."""

    def __getattribute__(self, name: str) -> Any:
        if name in TOUCHING:
            calls.append(name)
        return super().__getattribute__(name)


def view(template: str) -> Any:
    return lambda request: render(request, template, {"products": Product.objects.using(ALIAS)})


urlpatterns = [path("plain", view("plain.html")), path("batch", view("batch.html"))]


def easyimg(cache_seconds: int) -> dict[str, Any]:
    queue = {"QUEUE": "none", "ISOLATION": "never", "CACHE_SECONDS": cache_seconds}
    return {"METADATA": f"django:{ALIAS}", **queue}


@pytest.fixture(scope="module", autouse=True)
def site(sqlite_alias: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A site with 100 products, each with a picture of its own, and their 300 variants."""
    assert sqlite_alias == ALIAS
    django_site.make_tables(ALIAS, Product)
    with override_settings(
        STORAGES={"default": {"BACKEND": f"{__name__}.Counted"}},
        MEDIA_ROOT=str(tmp_path_factory.mktemp("media")),
        MEDIA_URL="/media/",
        ROOT_URLCONF=__name__,
        TEMPLATES=template_settings(FILES),
        EASYIMG=easyimg(0),
    ):
        for number in range(PRODUCTS):
            picture = ContentFile(images.photo(60 + number, 40), f"{number}.jpg")
            Product(name=f"Shoe {number}", photo=picture).save(using=ALIAS)
        Client().get("/batch")
        assert process_queue() == 3 * PRODUCTS
        yield


@pytest.mark.parametrize(
    ("url", "middleware"),
    [("/batch", []), ("/plain", ["easyimg_django.middleware.BatchMiddleware"])],
    ids=["imgbatch", "middleware"],
)
@pytest.mark.parametrize(("cache_seconds", "queries"), [(0, 1), (10, 0)], ids=["cold", "warm"])
def test_a_list_of_100_products_asks_for_its_300_files_at_most_once_and_touches_none(
    url: str, middleware: list[str], cache_seconds: int, queries: int
) -> None:
    client = Client()
    with override_settings(MIDDLEWARE=middleware, EASYIMG=easyimg(cache_seconds)):
        client.get(url)
        calls.clear()
        with CaptureQueriesContext(connections[ALIAS]) as sent:
            html = client.get(url).content.decode()
    assert (html.count("<img"), html.count("/media/img/"), html.count(" 2x")) == (PRODUCTS, 3 * PRODUCTS, PRODUCTS)
    assert len(set(re.findall(r"/media/img/[^ \"]+", html))) == 3 * PRODUCTS
    assert len(sent) == 1 + queries, "the products, and their pictures"
    assert calls == []


def test_the_calls_of_the_storage_are_counted() -> None:
    calls.clear()
    storages["default"].exists("a.jpg")
    assert "exists" in calls
