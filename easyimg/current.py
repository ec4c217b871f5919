"""Which EasyImg is meant where none is named: a framework's current one, else the process default."""

from __future__ import annotations

from collections.abc import Callable

from easyimg.errors import ConfigError
from easyimg.ports import App

_lookups: dict[Callable[[], App | None], str] = {}
_default: App | None = None
_outer: dict[App, App | None] = {}
"""Entered and not left yet -> the default before it."""


def configure(app: App | None) -> App | None:
    """Make an EasyImg the process default and return the previous one; None takes the default away."""
    global _default
    previous, _default = _default, app
    return previous


def enter(app: App) -> None:
    """Make an EasyImg the process default until it is left."""
    _outer[app] = configure(app)


def leave(app: App) -> None:
    """Give the process default back to the EasyImg before, unless somebody chose another one meanwhile.

    In whatever order they are left: none comes back that was left already.
    """
    before = _outer.pop(app, None)
    if _default is app:
        configure(before)
    for inner, outer in list(_outer.items()):
        if outer is app:
            _outer[inner] = before


def add_lookup(lookup: Callable[[], App | None], advice: str = "") -> None:
    """Let a framework answer which EasyImg is current (None = not mine); called by adapters, once each.

    Args:
        lookup: answers.
        advice: what a site of that framework writes to have one, for the message where there is none.
    """
    _lookups.setdefault(lookup, advice)


def current_app() -> App:
    """Return the current EasyImg: the first that a framework names, else the process default.

    Raises:
        ConfigError: there is none.
    """
    for lookup in _lookups:
        app = lookup()
        if app is not None:
            return app
    if _default is None:
        advice = "".join(f"; {text}" for text in _lookups.values() if text)
        raise ConfigError(
            "no EasyImg is configured: call easyimg.configure(EasyImg(storages={...})) once at start, "
            f"or pass app= to Img, ImageBatch or easyimg.jinja.install{advice}"
        )
    return _default
