"""The application's config: ``EASYIMG_*`` names of the core's settings, and those that are about Flask alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from flask import Flask

import easyimg
from easyimg.errors import ConfigError, shown
from easyimg.freshness import check_age

PREFIX = "EASYIMG_"


@dataclass(frozen=True, kw_only=True)
class FlaskOptions:
    """What can be chosen for Flask beside the core's settings, each as ``EASYIMG_<NAME>`` in the config.

    Args:
        serve: which storages the application sends files of: True = those in local folders whose base URL is a path
            of this host; False = none, the web server in front does; or a list of aliases.
        serve_originals: whether sources are sent as well as variants; None = only with ``pending="source"``, where
            pages show them.
        pending_max_age: seconds for which a page that still waits for files may be kept by browsers and caches;
            None = its caching headers stay as they are.
        status_url: where the status page is, such as ``"/admin/images"``; None = nowhere.
        health_url: where monitors ask for the same as JSON; None = nowhere.
        status_token: who sends it (``Authorization: Bearer ...``, or as the password of Basic) sees both.
    """

    serve: bool | Sequence[str] = True
    serve_originals: bool | None = None
    pending_max_age: int | None = 10
    status_url: str | None = None
    health_url: str | None = None
    status_token: str | None = None

    def __post_init__(self) -> None:
        _check(self, "serve_originals", (bool, type(None)), "True, False or None")
        _check(self, "status_token", (str, type(None)), "a text")
        if self.status_token == "":
            raise ConfigError(f"{PREFIX}STATUS_TOKEN: is empty, and would let everybody in")
        check_age(self.pending_max_age, f"{PREFIX}PENDING_MAX_AGE")
        for name in ("status_url", "health_url"):
            url = getattr(self, name)
            if url is not None and (not isinstance(url, str) or not url.startswith("/") or "<" in url):
                raise ConfigError(f"{PREFIX}{name.upper()}: {shown(url)} is not a path such as '/admin/images'")
        if self.status_url is not None and self.status_url == self.health_url:
            raise ConfigError(f"{PREFIX}HEALTH_URL: is the same as {PREFIX}STATUS_URL")


_NAMES = frozenset(field.name for field in fields(FlaskOptions))


def read_config(app: Flask) -> tuple[easyimg.Settings, FlaskOptions]:
    """Return what the application's config says; ``strict`` follows debug and testing where nothing is said.

    Raises:
        ConfigError: a name or value is not allowed.
    """
    given: dict[str, Any] = {PREFIX + "STRICT": app.debug or app.testing, **app.config}
    settings = easyimg.Settings.from_mapping(given, prefix=PREFIX, besides=_NAMES)
    chosen = {name: given[key] for name in _NAMES if (key := PREFIX + name.upper()) in given}
    return settings, FlaskOptions(**chosen)


def _check(options: FlaskOptions, name: str, kinds: tuple[type, ...], allowed: str) -> None:
    value = getattr(options, name)
    if not isinstance(value, kinds):
        raise ConfigError(f"{PREFIX}{name.upper()}: {shown(value)} is not {allowed}")
