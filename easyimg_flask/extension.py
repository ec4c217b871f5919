"""The extension object. It has an :class:`easyimg.EasyImg` per Flask application, and keeps none of them itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import click
from flask import Blueprint, Flask, current_app, has_app_context

import easyimg
from easyimg.batch import ImageBatch
from easyimg.bound import BoundImg
from easyimg.current import add_lookup
from easyimg.errors import ConfigError
from easyimg.jinja import install
from easyimg.recipes import MISSING
from easyimg_flask import request
from easyimg_flask.config import read_config
from easyimg_flask.media import add_media
from easyimg_flask.status import add_status

Guard = Callable[[], Any]
"""Lets a visitor see the status pages by returning None; aborts, or returns what is answered instead."""


class EasyImg:
    """Connects easyimg to Flask applications.

    Keeps nothing of an application, so one object serves any number of them, and factories::

        media = EasyImg()

        def create_app():
            app = Flask(__name__)
            media.init_app(app)
            return app

    Args:
        app: the application; None = call ``init_app`` later, once per application.
        guard: as of ``init_app``.
    """

    def __init__(self, app: Flask | None = None, *, guard: Guard | None = None) -> None:
        add_lookup(request.core_of_current_app, "in a Flask application: easyimg_flask.EasyImg().init_app(app)")
        if app is not None:
            self.init_app(app, guard=guard)

    def init_app(self, app: Flask, *, guard: Guard | None = None) -> None:
        """Read the application's ``EASYIMG_*`` config, and add the templates' globals, commands and routes.

        Connects to nothing and starts nothing. Set the config before, and call it before the first request.

        Args:
            app: the application.
            guard: called before the status page and the health report are shown: it returns None to let the visitor
                in, else aborts or returns the answer.

        Raises:
            ConfigError: a name or value in the config is not allowed, or this was done for the application already.
        """
        if request.EXTENSION in app.extensions:
            raise ConfigError(f"easyimg: EasyImg().init_app(app) was called for {app.name!r} already")
        settings, options = read_config(app)
        core = easyimg.EasyImg(settings)
        blueprint = Blueprint("easyimg", __name__, template_folder="templates")
        add_media(blueprint, app, core, options)
        add_status(blueprint, core, options, guard)
        app.register_blueprint(blueprint)
        app.extensions[request.EXTENSION] = core
        install(app.jinja_env, core)
        app.cli.add_command(_Commands("easyimg", short_help="Look after the variants of this application's pictures."))
        request.watch_pages(core)
        if options.pending_max_age is not None:
            request.shorten_caching(app, core, options.pending_max_age)

    @property
    def core(self) -> easyimg.EasyImg:
        """The EasyImg of the current Flask application.

        Raises:
            ConfigError: no application context, or ``init_app`` was never called for it.
        """
        if not has_app_context():
            raise ConfigError("easyimg: no Flask application context; use 'with app.app_context():'")
        found = request.core_of_current_app()
        if found is None:
            raise ConfigError(f"easyimg: EasyImg().init_app(app) was not called for {current_app.name!r}")
        return cast("easyimg.EasyImg", found)

    @property
    def batch(self) -> ImageBatch:
        """The batch of this request: all its images load in one query. For ``Img(batch=media.batch, ...)``."""
        return request.batch_of(self.core)

    def img(self, source: Any, preset: Any = None, *, alt: str | None = MISSING, **options: Any) -> BoundImg:
        """Return an image in a view, as ``img()`` does in a template, in the batch of this request.

        What a view puts into JSON, or hands to its template, is loaded in one query however many images there are.

        Args:
            source, preset, alt: as in a template; ``alt`` is required, here or in the preset.
            **options: those of Img, attributes (``img_class=``), and ``build=``.

        Raises:
            SpecError: an option or the source is not allowed, or ``alt`` is missing.
            ConfigError: as of ``core``.
        """
        batch = self.batch
        bound: BoundImg = cast(Any, current_app.jinja_env).easyimg.img(source, preset, alt=alt, **options)
        if not bound.has_batch:
            bound.join(batch)
        return bound

    @property
    def is_waiting(self) -> bool:
        """Whether anything that this request has shown so far waits for a file: then nobody should keep its page long.

        In a template, in JSON, or in a text of the view's own. Known after ``render_template`` has returned, or the
        images were looked at; what is still being streamed does not count.
        """
        return request.waits(self.core)


class _Commands(click.Command):
    """Stands for the commands until one is asked for: a web process has no use for what they load."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Return the context of the commands themselves."""
        from easyimg_flask.cli import easyimg_group

        return easyimg_group.make_context(*args, **kwargs)
