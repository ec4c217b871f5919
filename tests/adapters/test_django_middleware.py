"""The middleware: one query for a page, whatever the response, and whatever else is done with what was rendered."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from tests.adapters import pages  # sets Django up

# isort: split
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.template import engines
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.decorators.gzip import gzip_page

from easyimg import Img

MIDDLEWARE = "easyimg_django.middleware.BatchMiddleware"
LIST = "{% load easyimg %}{% for p in photos %}{% img p 'thumb' alt='x' %}{% endfor %}"
PHOTOS = [f"p{number}.jpg" for number in range(pages.PICTURES)]
seen: list[Any] = []


def plain(request):
    return render(request, "list.html", {"photos": PHOTOS})


def lazy(request):
    return TemplateResponse(request, "list.html", {"photos": PHOTOS})


def data(request):
    return JsonResponse({"html": render_to_string("list.html", {"photos": PHOTOS}, request)})


def two(request):
    first = render_to_string("list.html", {"photos": PHOTOS[:2]})
    seen.append(first)
    return render(request, "two.html", {"first": first, "photos": PHOTOS[2:]})


def streamed(request):
    return StreamingHttpResponse(render_to_string("list.html", {"photos": [photo]}) for photo in PHOTOS)


def streamed_batches(request):
    return StreamingHttpResponse(render_to_string("batch.html", {"photos": PHOTOS}) for _ in range(2))


def broken(request):
    seen.append(render_to_string("list.html", {"photos": PHOTOS}))
    raise RuntimeError("a view that fails")


def text(request):
    return HttpResponse("\ufdd0 not ours \ufdd1", content_type="text/plain")


def pending(request):
    response = render(request, "waiting.html", {"photos": PHOTOS})
    response["X-Pending"] = str(request.easyimg.has_pending)
    return response


def ready(request):
    response = render(request, "list.html", {"photos": PHOTOS})
    response["X-Pending"] = str(request.easyimg.has_pending)
    return response


def bounds(request):
    made = [Img(width=30)(photo, alt="x") for photo in PHOTOS]
    return render(request, "bounds.html", {"bounds": made})


def jinja(request):
    return render(request, "page.html", {"photos": PHOTOS}, using="jinja2")


async def in_the_loop(request):
    return render(request, "list.html", {"photos": PHOTOS})


async def in_a_thread(request):
    return await sync_to_async(render)(request, "list.html", {"photos": PHOTOS})


urlpatterns = [
    path("plain", plain),
    path("lazy", lazy),
    path("data", data),
    path("two", two),
    path("streamed", streamed),
    path("streamed_batches", streamed_batches),
    path("broken", broken),
    path("text", text),
    path("pending", pending),
    path("ready", ready),
    path("bounds", bounds),
    path("jinja", jinja),
    path("cached", cache_page(60)(plain)),
    path("cached_lazy", cache_page(60)(lazy)),
    path("zipped", gzip_page(plain)),
    path("in_the_loop", in_the_loop),
    path("in_a_thread", in_a_thread),
]

FILES = {
    "list.html": LIST,
    "batch.html": "{% load easyimg %}{% imgbatch %}" + LIST + "{% endimgbatch %}",
    "two.html": "{{ first }}" + LIST,
    "waiting.html": "{% load easyimg %}{% for p in photos %}{% img p width=17 alt='x' %}{% endfor %}",
    "bounds.html": "{% for bound in bounds %}{{ bound }}{% endfor %}",
}


@pytest.fixture(scope="module")
def storage(sqlite_alias, tmp_path_factory):
    return pages.build(sqlite_alias, tmp_path_factory.mktemp("media"))


@pytest.fixture
def templates(tmp_path):
    (tmp_path / "page.html").write_text("{% for p in photos %}{{ img(p, 'thumb', alt='x') }}{% endfor %}")
    return [
        *pages.template_settings(FILES),
        {
            "BACKEND": "django.template.backends.jinja2.Jinja2",
            "DIRS": [tmp_path],
            "OPTIONS": {"environment": "easyimg_django.jinja.environment"},
        },
    ]


@pytest.fixture
def site(sqlite_alias, storage, templates):
    with override_settings(
        EASYIMG=pages.settings(sqlite_alias, storage),
        TEMPLATES=templates,
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[MIDDLEWARE],
        ALLOWED_HOSTS=["testserver"],
    ):
        cache.clear()
        seen.clear()
        yield pages.Site(sqlite_alias, storage)


@pytest.mark.parametrize("name", ["plain", "lazy", "data", "bounds", "jinja", "zipped", "cached", "cached_lazy"])
def test_a_page_asks_once(site, name):
    with site.counting(1):
        response = Client().get(f"/{name}")
    html = response.json()["html"] if name == "data" else response.content.decode()
    assert html == "".join(site.all)


def test_without_the_middleware_each_image_asks(site):
    Client().get("/plain")  # which installs it in this process
    with override_settings(MIDDLEWARE=[]), site.counting(5):
        response = Client().get("/plain")
    assert response.content.decode() == "".join(site.all)


def test_what_a_view_renders_is_html_at_once(site):
    with site.counting(2):
        response = Client().get("/two")
    assert seen == ["".join(site.all[:2])]
    assert response.content.decode() == "".join(site.all)


@pytest.mark.parametrize("name", ["cached", "cached_lazy"])
def test_a_cached_response_holds_html(site, name):
    first = Client().get(f"/{name}").content
    with site.counting(0):
        again = Client().get(f"/{name}").content
    assert again == first
    assert first.decode() == "".join(site.all)


@pytest.mark.parametrize("order", [1, -1])
def test_its_place_among_other_middleware_does_not_matter(site, order):
    others = ["django.middleware.gzip.GZipMiddleware", "django.middleware.http.ConditionalGetMiddleware", MIDDLEWARE]
    with override_settings(MIDDLEWARE=others[::order]):
        with site.counting(1):
            response = Client().get("/plain", headers={"accept-encoding": "gzip"})
        assert response["Content-Encoding"] == "gzip"
        assert gzip.decompress(response.content).decode() == "".join(site.all)
        again = Client().get("/plain", headers={"if-none-match": Client().get("/plain")["ETag"]})
    assert again.status_code == 304


def test_a_head_request_has_the_length_of_the_page(site):
    with override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware", MIDDLEWARE]):
        got = Client().get("/plain")
        with site.counting(1):
            response = Client().head("/plain")
    assert response.content == b""
    assert response["Content-Length"] == got["Content-Length"]


def test_streamed_content_is_left_as_it_is(site):
    with site.counting(5):
        response = Client().get("/streamed")
        pieces = list(response.streaming_content)
    assert [piece.decode() for piece in pieces] == site.all
    with site.counting(2):
        pieces = list(Client().get("/streamed_batches").streaming_content)
    assert [piece.decode() for piece in pieces] == ["".join(site.all)] * 2


def test_a_view_that_fails_leaves_nothing_behind(site):
    client = Client(raise_request_exception=False)
    with site.counting(1):
        assert client.get("/broken").status_code == 500
    assert seen == ["".join(site.all)]
    with site.counting(5):  # outside of a request
        assert engines["django"].get_template("list.html").render({"photos": PHOTOS}) == seen[0]


def test_other_content_is_not_looked_at(site):
    with site.counting(0):
        assert Client().get("/text").content.decode() == "\ufdd0 not ours \ufdd1"


def test_a_request_knows_whether_its_page_still_waits(site):
    assert Client().get("/pending")["X-Pending"] == "True"
    with site.counting(1):
        assert Client().get("/ready")["X-Pending"] == "False"


@pytest.mark.parametrize("name", ["plain", "lazy", "in_a_thread"])
def test_a_page_of_an_async_site_asks_once(site, name):
    async def get():
        return await AsyncClient().get(f"/{name}")

    with site.counting(1):
        response = async_to_sync(get)()  # whose sync parts run in this thread
    assert response.content.decode() == "".join(site.all)


def test_a_page_rendered_in_the_event_loop_has_its_images(site):
    response = asyncio.run(AsyncClient().get("/in_the_loop"))
    assert response.content.decode() == "".join(site.all)
