"""A picture gallery in Flask: upload, list, detail. Run it with ``python docs/examples/flask_gallery``.

Read from the environment:

- ``GALLERY_DATA``: folder for pictures and SQLite; default ``gallery-data``.
- ``DATABASE_URL``: e.g. ``postgresql+psycopg://user:password@localhost/gallery``; default a SQLite file.
- ``BROKER_URL``: ``redis://...`` or ``amqp://...``, with workers of their own; default threads of the web process.
- ``QUEUE_NAME``: of the broker's queue, where galleries share one; default ``easyimg``.
- ``STATUS_TOKEN``: who sends it sees ``/status`` and ``/health``; default: nobody does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sqlalchemy
from flask import Flask, Response, abort, current_app, make_response, redirect, render_template, request, url_for
from sqlalchemy.schema import CreateTable

from easyimg.errors import SourceError
from easyimg.removal import remove_picture
from easyimg_flask import EasyImg

PRESETS = {
    "card": {"width": 300, "ratio": "4/3"},
    "hero": {"width": 1200, "widths": [400, 800, 1200, 1600], "sizes": "(max-width: 1200px) 100vw, 1200px"},
}
PER_PAGE = 100
REFRESH_SECONDS = 2
LAST_ID = 2**31 - 1
"""The largest number that an INTEGER column holds in every database."""

tables = sqlalchemy.MetaData()
photos = sqlalchemy.Table(
    "photo",
    tables,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("title", sqlalchemy.String(200), nullable=False),
    sqlalchemy.Column("picture", sqlalchemy.String(1024), nullable=False),  # a name in the storage "default"
)

media = EasyImg()


def create_app(**config: Any) -> Flask:
    """Return the gallery. Its table is made by ``flask init-db``."""
    data = Path(os.environ.get("GALLERY_DATA", "gallery-data")).absolute()
    data.mkdir(parents=True, exist_ok=True)
    database = os.environ.get("DATABASE_URL", f"sqlite:///{data}/gallery.db")
    app = Flask(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=25_000_000,
        EASYIMG_STORAGES={"default": f"file://{data}/media"},
        EASYIMG_METADATA=database,
        EASYIMG_QUEUE=os.environ.get("BROKER_URL", "thread"),
        EASYIMG_QUEUE_NAME=os.environ.get("QUEUE_NAME", "easyimg"),
        # Phones write the place into their pictures: originals are never shown, and never sent.
        EASYIMG_PENDING="placeholder",
        EASYIMG_PRESETS=PRESETS,
    )
    if token := os.environ.get("STATUS_TOKEN"):
        app.config.update(EASYIMG_STATUS_TOKEN=token, EASYIMG_STATUS_URL="/status", EASYIMG_HEALTH_URL="/health")
    app.config.update(config)
    app.extensions["gallery"] = sqlalchemy.create_engine(database)
    media.init_app(app)
    app.add_url_rule("/", "list", list_photos)
    app.add_url_rule(f"/photos/<int(max={LAST_ID}):number>", "detail", show_photo)
    app.add_url_rule("/photos", "upload", upload, methods=["POST"])
    app.register_error_handler(413, too_large)
    app.cli.command("init-db")(init_db)
    return app


def database() -> sqlalchemy.Engine:
    """Return the gallery's database."""
    engine: sqlalchemy.Engine = current_app.extensions["gallery"]
    return engine


def init_db() -> None:
    """Make the gallery's table, if it is not there."""
    with database().begin() as connection:
        connection.execute(CreateTable(photos, if_not_exists=True))


def list_photos(refused: str = "") -> Response:
    """Show the newest pictures, one query for the rows of all their images; and why an upload was refused."""
    with database().connect() as connection:
        found = connection.execute(photos.select().order_by(photos.c.id.desc()).limit(PER_PAGE)).all()
    return page("list.html", photos=found, refused=refused)


def show_photo(number: int) -> Response:
    """Show one picture, large."""
    with database().connect() as connection:
        photo = connection.execute(photos.select().where(photos.c.id == number)).one_or_none()
    return page("detail.html", photo=photo) if photo is not None else abort(404)


def upload() -> Any:
    """Take a picture in. Its name, its declared type and its size are not believed: easyimg looks at the content."""
    try:
        source = media.core.save_upload(request.files["picture"], prefix="photos/")
    except SourceError as exc:
        return list_photos(str(exc)), 422
    title = request.form.get("title", "").strip()[:200] or "Untitled"
    try:
        with database().begin() as connection:
            connection.execute(photos.insert().values(title=title, picture=source.name))
    except BaseException:
        remove_picture(media.core, source)  # no row of ours names it
        raise
    return redirect(url_for("list"), 303)


def too_large(_: Exception) -> Any:
    """Say so where a form is larger than Flask takes in."""
    return list_photos("the file has more than 25 MB"), 413


def page(template: str, **values: Any) -> Response:
    """Return a page. While it waits for files, browsers look again by themselves."""
    answer = make_response(render_template(template, **values))
    answer.headers["Cache-Control"] = "public, max-age=0, s-maxage=60"  # easyimg shortens it while the page waits
    if media.is_waiting:
        answer.headers["Refresh"] = str(REFRESH_SECONDS)
    return answer
