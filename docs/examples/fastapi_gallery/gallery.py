"""A picture gallery in FastAPI: upload, list, detail. Run it with ``python docs/examples/fastapi_gallery``.

Read from the environment:

- ``GALLERY_DATA``: folder for pictures and SQLite; default ``gallery-data``.
- ``DATABASE_URL``: e.g. ``postgresql+psycopg://user:password@localhost/gallery``; default a SQLite file.
- ``BROKER_URL``: ``redis://...`` or ``amqp://...``, with workers of their own; default threads of the web process.
- ``QUEUE_NAME``: of the broker's queue, where galleries share one; default ``easyimg``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader
from sqlalchemy import String, create_engine, make_url, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from easyimg import EasyImg
from easyimg.asgi import EasyImgMiddleware, is_waiting
from easyimg.errors import SourceError
from easyimg.fields import ImageField, StoredImage, bind
from easyimg.jinja import install

PRESETS = {
    "card": {"width": 300, "ratio": "4/3"},
    "hero": {"width": 1200, "widths": [400, 800, 1200, 1600], "sizes": "(max-width: 1200px) 100vw, 1200px"},
}
PER_PAGE = 100
REFRESH_SECONDS = 2
LAST_ID = 2**31 - 1
"""The largest number that an INTEGER column holds in every database."""


class Base(DeclarativeBase):
    """Of the gallery's tables."""


class Photo(Base):
    """A row, and with it a picture: stored by the flush, kept by the commit, removed by a rollback."""

    __tablename__ = "photo"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    picture: Mapped[StoredImage] = mapped_column(ImageField("photos/"))


def data_folder() -> Path:
    """Return the folder of pictures and SQLite, made if need be."""
    data = Path(os.environ.get("GALLERY_DATA", "gallery-data")).absolute()
    data.mkdir(parents=True, exist_ok=True)
    return data


def database_url() -> str:
    """Return where the rows are: the gallery's and easyimg's."""
    return os.environ.get("DATABASE_URL") or f"sqlite:///{data_folder()}/gallery.db"


def make_images(**settings: Any) -> EasyImg:
    """Return the EasyImg, for the site and for ``easyimg --app gallery:make_images ...``; connects to nothing."""
    bind(Photo, create_engine(database_url()))  # with which `easyimg clean` reads the rows
    chosen = {
        "storages": {"default": f"file://{data_folder()}/media"},
        "metadata": database_url(),
        "queue": os.environ.get("BROKER_URL", "thread"),
        "queue_name": os.environ.get("QUEUE_NAME", "easyimg"),
        "pending": "placeholder",  # phones write the place into their pictures: originals are never shown, nor sent
        "presets": PRESETS,
    }
    return EasyImg(**{**chosen, **settings})


def create_app(**settings: Any) -> FastAPI:
    """Return the gallery."""
    images = make_images(**settings)
    url = make_url(database_url())
    engine = create_async_engine(url.set(drivername="sqlite+aiosqlite") if url.drivername == "sqlite" else url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        with images:  # the current EasyImg of this process, and closed at the end
            yield
        await engine.dispose()

    app = FastAPI(title="Gallery", lifespan=lifespan)
    app.state.images = images
    app.state.sessions = async_sessionmaker(engine)
    app.state.templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, enable_async=True
    )
    install(app.state.templates, images)
    app.get("/")(list_photos)
    app.get("/photos/{number}")(show_photo)
    app.post("/photos")(upload)
    app.add_middleware(EasyImgMiddleware, images=images)  # last, and so around all others
    return app


async def list_photos(request: Request) -> HTMLResponse:
    """Show the newest pictures."""
    return await show_list(request)


async def show_list(request: Request, refused: str = "") -> HTMLResponse:
    """Show the newest pictures, one query for the rows of all their images; and why an upload was refused."""
    async with sessions(request) as session:
        photos = (await session.scalars(select(Photo).order_by(Photo.id.desc()).limit(PER_PAGE))).all()
    return await page(request, "list.html", status=422 if refused else 200, photos=photos, refused=refused)


async def show_photo(request: Request, number: int) -> HTMLResponse:
    """Show one picture, large."""
    async with sessions(request) as session:
        photo = await session.get(Photo, number) if 0 < number <= LAST_ID else None
    if photo is None:
        raise HTTPException(404)
    return await page(request, "detail.html", photo=photo)


async def upload(request: Request, picture: UploadFile, title: Annotated[str, Form()] = "") -> Response:
    """Take a picture in. Its name, its declared type and its size are not believed: easyimg looks at the content.

    Checking and storing are done in threads; the event loop goes on.
    """
    try:
        image = await StoredImage.from_upload(picture)
        async with sessions(request) as session:
            session.add(Photo(title=title.strip()[:200] or "Untitled", picture=image))
            await session.commit()
    except SourceError as exc:
        return await show_list(request, str(exc))
    return RedirectResponse("/", 303)


def sessions(request: Request) -> AsyncSession:
    """Return a session with the gallery's database."""
    session: AsyncSession = request.app.state.sessions()
    return session


async def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page; ``render_async`` asks for its images' rows in a thread. While it waits, browsers look again."""
    html = await request.app.state.templates.get_template(template).render_async(**values)
    answer = HTMLResponse(html, status)
    answer.headers["Cache-Control"] = "public, max-age=0, s-maxage=60"  # easyimg shortens it while the page waits
    if is_waiting():
        answer.headers["Refresh"] = str(REFRESH_SECONDS)
    return answer
