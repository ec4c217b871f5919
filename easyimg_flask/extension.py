"""The extension object. It has an :class:`easyimg.EasyImg` per Flask application, and keeps none of them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask, current_app, has_app_context

import easyimg
from easyimg.current import add_lookup
from easyimg.errors import ConfigError
from easyimg.jinja import install

if TYPE_CHECKING:
    from easyimg.ports import App

_EXTENSION = "easyimg"


class EasyImg:
    """Connects easyimg to Flask applications.

    Args:
        app: the application; None = call ``init_app`` later, once per application.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the application's ``EASYIMG_*`` config and put ``img()`` into its Jinja2 environment.

        Raises:
            ConfigError: a name or value in the config is not allowed.
        """
        core = easyimg.EasyImg(easyimg.Settings.from_mapping(app.config, prefix="EASYIMG_"))
        app.extensions[_EXTENSION] = core
        install(app.jinja_env, core)
        add_lookup(_of_current_flask_app)

    @property
    def core(self) -> easyimg.EasyImg:
        """The EasyImg of the current Flask application.

        Raises:
            ConfigError: no application context, or ``init_app`` was never called for it.
        """
        if not has_app_context():
            raise ConfigError("easyimg: no Flask application context; use 'with app.app_context():'")
        found = current_app.extensions.get(_EXTENSION)
        if found is None:
            raise ConfigError(f"easyimg: EasyImg().init_app(app) was not called for {current_app.name!r}")
        return cast("easyimg.EasyImg", found)


def _of_current_flask_app() -> App | None:
    return current_app.extensions.get(_EXTENSION) if has_app_context() else None
