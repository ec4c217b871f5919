"""Starlette, FastAPI, Litestar and Quart: pages with one query, uploads that hold up nobody, nothing that crosses."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import litestar
import pytest
from fastapi import FastAPI
from jinja2 import Environment
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.template.config import TemplateConfig
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from easyimg import EasyImg, ImageBatch, Img
from easyimg.asgi import EasyImgMiddleware, is_waiting
from easyimg.current import current_app
from easyimg.errors import ConfigError, SpecError
from easyimg.fields import StoredImage
from easyimg.jinja import install
from easyimg.testing import images
from tests.adapters import flask_site
from tests.adapters.asgi_frameworks import CACHING, SITES, make_env
from tests.adapters.asgi_site import afetch, build, fetch, make_images
from tests.adapters.test_flask import get, two_apps
from tests.counting import Statements

UPLOADING = [name for name in SITES if name != "starlette, async views"]


@pytest.fixture
def made(tmp_path):
    made = make_images(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("site", SITES)
def test_a_page_waits_is_kept_briefly_and_is_then_shown_with_one_query(made, site):
    app = SITES[site](made)
    waiting = fetch(app, "/page/Ada")
    assert waiting.status_code == 200
    assert waiting.text.count('src="/media/shoe.jpg"') == 6
    assert waiting.headers["X-Waits"] == "True"
    assert waiting.headers["Cache-Control"] == "public, max-age=10"
    assert build(made) == 12
    with Statements(made) as sent:
        shown = fetch(app, "/page/Ada")
    assert len(sent) == 1
    assert shown.text.count("/media/img/") == 18
    assert shown.text.count('alt="Ada"') == 6
    assert shown.headers["X-Waits"] == "False"
    assert shown.headers["Cache-Control"] == CACHING


@pytest.mark.parametrize("site", SITES)
def test_the_site_sends_the_files_that_its_pages_show(made, site, tmp_path):
    app = SITES[site](made)
    url = Img(width=30, app=made)("shoe.jpg", alt="", build="src").base_url()
    answer = fetch(app, url)
    assert answer.content == (tmp_path / "media" / url.removeprefix("/media/")).read_bytes()
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert fetch(app, "/media/none.jpg").status_code == 404


@pytest.mark.parametrize("site", SITES)
def test_pages_that_are_made_at_the_same_time_do_not_cross(made, site):
    app = SITES[site](made)
    fetch(app, "/page/first")
    build(made)

    async def main():
        return await asyncio.gather(*(afetch(app, f"/page/w{number}") for number in range(12)))

    for number, page in enumerate(asyncio.run(main())):
        assert page.text.count(f'alt="w{number}"') == page.text.count("srcset=") == 6


def starlette_on_the_loop(images: EasyImg) -> Any:
    templates = Jinja2Templates(env=make_env(images, is_async=False))

    async def page(request: Request) -> Any:
        return templates.TemplateResponse(request, "page", {"who": "Ada"})

    return EasyImgMiddleware(Starlette(routes=[Route("/", page)]), images)


def litestar_on_the_loop(images: EasyImg) -> Any:
    engine = JinjaTemplateEngine(engine_instance=make_env(images, is_async=False))

    @litestar.get("/", media_type="text/html")
    async def page() -> litestar.response.Template:
        return litestar.response.Template("page", context={"who": "Ada"})

    return EasyImgMiddleware(litestar.Litestar([page], template_config=TemplateConfig(instance=engine)), images)


@pytest.mark.parametrize("site", [starlette_on_the_loop, litestar_on_the_loop])
def test_the_frameworks_own_template_responses_work_in_async_views(made, site):
    app = site(made)
    waiting = fetch(app, "/")
    assert waiting.text.count("<img") == 6
    assert waiting.headers["Cache-Control"] == "no-cache"
    build(made)
    with Statements(made) as sent:
        shown = fetch(app, "/")
    assert len(sent) == 1
    assert shown.text.count("/media/img/") == 18
    assert "Cache-Control" not in shown.headers


async def in_one_batch(made):
    batch = ImageBatch(made)
    shown = [Img(batch=batch, width=30)("shoe.jpg", alt="")]
    await batch.aload()
    return [image.as_dict() for image in shown]


async def one_by_one(made):
    return [await asyncio.to_thread(Img(app=made, width=30)("shoe.jpg", alt="").as_dict)]


@pytest.mark.parametrize("make", [in_one_batch, one_by_one])
def test_json_that_waits_is_kept_briefly_as_well(made, make):
    async def api(request):
        return JSONResponse(await make(made), headers={"Cache-Control": "max-age=3600", "X-Waits": str(is_waiting())})

    app = EasyImgMiddleware(Starlette(routes=[Route("/", api)]), made)
    waiting = fetch(app, "/")
    assert waiting.json()[0]["src"] == "/media/shoe.jpg"
    assert (waiting.headers["X-Waits"], waiting.headers["Cache-Control"]) == ("True", "max-age=10")
    build(made)
    ready = fetch(app, "/")
    assert ready.json()[0]["is_built"]
    assert (ready.headers["X-Waits"], ready.headers["Cache-Control"]) == ("False", "max-age=3600")


def test_outside_of_a_request_nothing_waits(made):
    make_env(made, is_async=False).get_template("page").render(who="x")
    assert not is_waiting()


@pytest.mark.parametrize(("age", "expected"), [(0, "max-age=0, private"), (None, "max-age=60, private")])
def test_a_site_says_how_long_a_page_that_waits_is_kept(made, age, expected):
    env = make_env(made, is_async=True)

    async def page(scope, receive, send):
        html = await env.get_template("page").render_async(who="x")
        headers = [(b"cache-control", b"max-age=60"), (b"Cache-Control", b"private"), (b"x-y", "ü".encode("latin-1"))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": html.encode()})

    answer = fetch(EasyImgMiddleware(page, made, pending_max_age=age), "/")
    assert answer.headers["Cache-Control"] == expected
    assert answer.headers["X-Y"] == "ü"


def test_a_stream_shows_its_images_and_keeps_its_headers(made):
    env = make_env(made, is_async=True)

    async def page(request):
        pieces = env.get_template("page").generate_async(who="x")
        return StreamingResponse(pieces, headers={"Cache-Control": "max-age=1"})

    app = EasyImgMiddleware(Starlette(routes=[Route("/", page)]), made)
    answer = fetch(app, "/")
    assert answer.text.count("<img") == 6
    assert answer.headers["Cache-Control"] == "max-age=1"


# The event loop goes on.


@pytest.fixture(scope="module")
def phone_photo():
    """Twelve megapixels."""
    return images.corners(3000, 4000, format="jpeg", orientation=6, gps=True)


@pytest.fixture
def needs_a_beating_loop(made, monkeypatch):
    """Have the engine and the storage wait for the event loop to go on; return what waited, and a coroutine: the heart.

    Work on the loop itself would wait in vain, however quick the machine is.
    """
    beat, waited = threading.Event(), []

    def waits(name, function):
        def wait(*args, **kwargs):
            beat.clear()
            assert beat.wait(30), f"the event loop stands still while {name} is at work"
            waited.append(name)
            return function(*args, **kwargs)

        return wait

    place, engine = made.storage("default"), made.limited_engine
    monkeypatch.setattr(place, "write", waits("write", place.write))
    monkeypatch.setattr(engine, "probe", waits("probe", engine.probe))
    monkeypatch.setattr(made.metadata, "record_info", waits("record", made.metadata.record_info))

    async def heart():
        while True:
            beat.set()
            await asyncio.sleep(0.001)

    return waited, heart


@pytest.mark.parametrize("site", UPLOADING)
def test_checking_and_storing_an_upload_of_twelve_megapixels_does_not_hold_up_the_loop(
    made, site, phone_photo, needs_a_beating_loop, tmp_path
):
    waited, heart = needs_a_beating_loop
    app = SITES[site](made)

    async def main():
        beating = asyncio.ensure_future(heart())
        try:
            return await afetch(app, "/photos", method="POST", files={"photo": ("My shoe.JPG", phone_photo, "x/y")})
        finally:
            beating.cancel()

    answer = asyncio.run(main())
    assert answer.status_code in (200, 201), answer.text
    assert answer.text.startswith("photos/my-shoe-")
    assert (tmp_path / "media" / answer.text).read_bytes() == phone_photo
    assert waited == ["probe", "write", "record"]


@pytest.mark.parametrize("site", UPLOADING)
def test_a_path_that_is_posted_as_text_is_not_read(made, site, tmp_path):
    (tmp_path / "scan.jpg").write_bytes(images.photo(30, 20))
    with suppress(SpecError):  # whose message is tested elsewhere; a server makes a 500 of it
        answer = fetch(SITES[site](made), "/photos", method="POST", data={"photo": f"{tmp_path}/scan.jpg"})
        assert answer.status_code >= 400
    assert not (tmp_path / "media" / "photos").exists()
    assert made.metadata.counts(stale_after=0).sources == 0


def test_a_model_s_upload_does_not_hold_it_up_either(made, phone_photo, needs_a_beating_loop):
    waited, heart = needs_a_beating_loop

    async def main():
        beating = asyncio.ensure_future(heart())
        try:
            return await StoredImage.from_upload(phone_photo, app=made)
        finally:
            beating.cancel()

    assert asyncio.run(main()).width == 3000
    assert waited == ["probe"]


# Lifespans, and several sites in one process.


def test_a_lifespan_makes_the_easyimg_current_and_closes_it(tmp_path):
    made = make_images(tmp_path, queue="thread")

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        with made:
            yield

    app = FastAPI(lifespan=lifespan)

    async def main():
        async with app.router.lifespan_context(app):
            assert current_app() is made
            made.save_upload(images.photo(30, 20))
            await asyncio.to_thread(Img(width=10)("shoe.jpg", alt="").build, "src")

    asyncio.run(main())
    with pytest.raises(ConfigError, match="no EasyImg is configured"):
        current_app()


COLOURS = {"one": "red", "two": "blue", "three": "green"}
"""Site -> the class of its pictures: each site's own preset."""


def check(html: str, name: str) -> None:
    """What a site shows is its own: files, URLs, preset."""
    for site, colour in COLOURS.items():
        assert (f"/{site}/img/" in html) == (f'class="{colour}"' in html) == (site == name), html
    assert "shoe.jpg" not in html, "all is built"


def green_site(made: EasyImg) -> Any:
    """Return an ASGI site whose pages are rendered in pieces, in turns with each other."""
    env = Environment(enable_async=True, autoescape=True)
    install(env, made)
    template = env.from_string("{{ pause() }}{{ img('shoe.jpg', 'card', alt=who) }}" * 3)

    async def pause() -> str:
        await asyncio.sleep(0.001)
        return ""

    async def page(request: Request) -> Any:
        return HTMLResponse(await template.render_async(who=request.path_params["who"], pause=pause))

    return EasyImgMiddleware(Starlette(routes=[Route("/{who}", page)]), made)


async def visit_on_a_loop(site: Any, done: threading.Event) -> None:
    while True:
        pages = await asyncio.gather(*(afetch(site, f"/w{number}") for number in range(4)))
        for number, answer in enumerate(pages):
            check(answer.text, "three")
            assert answer.text.count(f'alt="w{number}"') == 3
        if done.is_set():
            return


def visit_in_a_thread(apps: Any, number: int) -> None:
    for turn in range(10):
        app, name, _ = apps[(number + turn) % 2]
        for path in ("/page", "/async"):
            check(get(app, path), name)


@pytest.fixture
def three_sites(tmp_path):
    """Two Flask applications, an ASGI one, and all their files built."""
    flasks = two_apps(tmp_path)
    card = {"width": 30, "img_attrs": {"class": "green"}}
    made = make_images(tmp_path / "three", base_urls={"default": "/three/"}, presets={"card": card})
    site = green_site(made)
    fetch(site, "/x")
    build(made)
    for app, _, _ in flasks:
        get(app, "/page")
        flask_site.build(app)
    yield flasks, site
    made.close()
    for app, _, _ in flasks:
        flask_site.core_of(app).close()


def test_two_flask_applications_in_four_threads_and_an_async_one_do_not_cross(three_sites):
    flasks, site = three_sites
    done = threading.Event()
    with ThreadPoolExecutor(5) as pool:
        loop = pool.submit(lambda: asyncio.run(visit_on_a_loop(site, done)))
        try:
            for future in [pool.submit(visit_in_a_thread, flasks, number) for number in range(4)]:
                future.result()
        finally:
            done.set()
        loop.result()
    for app, _, _ in flasks:
        assert app.test_client().get("/three/shoe.jpg").status_code == 404
        assert fetch(site, f"/{app.name}/shoe.jpg").status_code == 404


def test_an_easyimg_of_one_site_is_not_current_in_another(made, tmp_path):
    other = make_images(tmp_path / "other")
    with other:
        html = fetch(SITES["quart"](made), "/page/x").text
    assert html.count("<img") == 6
    assert build(other) == 0
    assert build(made) == 12
