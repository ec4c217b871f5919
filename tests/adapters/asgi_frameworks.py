"""One small site in each ASGI framework: a page of pictures, an upload, and the middleware around them.

Each takes an EasyImg and returns an application with ``GET /``, ``GET /page/<who>`` and ``POST /photos``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import fastapi
import litestar
import quart
import starlette.applications
from jinja2 import DictLoader, Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from easyimg import EasyImg
from easyimg.asgi import EasyImgMiddleware, is_waiting
from easyimg.jinja import install

PAGE = "{% for n in range(3) %}{{ img('shoe.jpg', width=30 + n, alt=who) }}{% include 'card' %}{% endfor %}"
TEMPLATES = {"page": PAGE, "card": "{{ img('shoe.jpg', width=20, alt=who) }}"}
"""A page of six images, of four kinds, in two templates."""

CACHING = "public, max-age=3600, immutable"


def make_env(images: EasyImg, *, is_async: bool) -> Environment:
    env = Environment(loader=DictLoader(TEMPLATES), autoescape=True, enable_async=is_async)
    install(env, images)
    return env


def headers() -> dict[str, str]:
    return {"Cache-Control": CACHING, "X-Waits": str(is_waiting())}


def starlette_sync(images: EasyImg) -> Any:
    templates = Jinja2Templates(env=make_env(images, is_async=False))

    def page(request: Request) -> Any:
        answer = templates.TemplateResponse(request, "page", {"who": request.path_params["who"]})
        answer.headers.update(headers())
        return answer

    async def upload(request: Request) -> Any:
        async with request.form() as form:
            source = await asyncio.to_thread(images.save_upload, form["photo"], prefix="photos/")
        return PlainTextResponse(source.name)

    routes = [Route("/page/{who}", page), Route("/photos", upload, methods=["POST"])]
    app = starlette.applications.Starlette(routes=routes)
    app.add_middleware(EasyImgMiddleware, images=images)
    return app


def starlette_async(images: EasyImg) -> Any:
    env = make_env(images, is_async=True)

    async def page(request: Request) -> Any:
        html = await env.get_template("page").render_async(who=request.path_params["who"])
        return HTMLResponse(html, headers=headers())

    app = starlette.applications.Starlette(routes=[Route("/page/{who}", page)])
    app.add_middleware(EasyImgMiddleware, images=images)
    return app


def fastapi_sync(images: EasyImg) -> Any:
    app = fastapi.FastAPI()
    app.add_middleware(EasyImgMiddleware, images=images)
    templates = Jinja2Templates(env=make_env(images, is_async=False))

    @app.get("/page/{who}")
    def page(request: Request, who: str) -> Any:
        answer = templates.TemplateResponse(request, "page", {"who": who})
        answer.headers.update(headers())
        return answer

    @app.post("/photos")
    def upload(photo: fastapi.UploadFile) -> Any:
        return PlainTextResponse(images.save_upload(photo, prefix="photos/").name)

    return app


def fastapi_async(images: EasyImg) -> Any:
    app = fastapi.FastAPI()
    app.add_middleware(EasyImgMiddleware, images=images)
    templates = Jinja2Templates(env=make_env(images, is_async=False))

    @app.get("/page/{who}")
    async def page(request: Request, who: str) -> Any:
        answer = await asyncio.to_thread(templates.TemplateResponse, request, "page", {"who": who})
        answer.headers.update(headers())
        return answer

    @app.post("/photos")
    async def upload(photo: fastapi.UploadFile) -> Any:
        source = await asyncio.to_thread(images.save_upload, photo, prefix="photos/")
        return PlainTextResponse(source.name)

    return app


def in_litestar(images: EasyImg) -> Any:
    env = make_env(images, is_async=True)

    @litestar.get("/page/{who:str}", media_type="text/html")
    async def page(request: litestar.Request) -> litestar.Response[str]:
        html = await env.get_template("page").render_async(who=request.path_params["who"])
        return litestar.Response(html, headers=headers())

    @litestar.post("/photos", media_type="text/plain")
    async def upload(request: litestar.Request) -> str:
        form = await request.form()
        source = await asyncio.to_thread(images.save_upload, form["photo"], prefix="photos/")
        return source.name

    return EasyImgMiddleware(litestar.Litestar([page, upload]), images)


def in_quart(images: EasyImg) -> Any:
    app = quart.Quart("shop")
    app.jinja_loader = DictLoader(TEMPLATES)
    install(app.jinja_env, images)

    @app.get("/page/<who>")
    async def page(who: str) -> Any:
        html = await quart.render_template("page", who=who)
        return html, headers()

    @app.post("/photos")
    async def upload() -> str:
        photo = (await quart.request.files)["photo"]
        source = await asyncio.to_thread(images.save_upload, photo, prefix="photos/")
        return source.name

    app.asgi_app = EasyImgMiddleware(app.asgi_app, images)  # type: ignore[method-assign]
    return app


SITES: dict[str, Callable[[EasyImg], Any]] = {
    "starlette, sync views": starlette_sync,
    "starlette, async views": starlette_async,
    "fastapi, sync views": fastapi_sync,
    "fastapi, async views": fastapi_async,
    "litestar": in_litestar,
    "quart": in_quart,
}
