"""Which EasyImg a command works on: ``--app module:object``, else the ``EASYIMG_*`` environment."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Final

from easyimg.app import EasyImg
from easyimg.errors import ConfigError, did_you_mean, shown
from easyimg.settings import ENV_PREFIX

_SITES: Final = {"DJANGO_SETTINGS_MODULE": "easyimg_django.site:app"}
"""A variable by which a framework finds its site -> where its adapter has the site's EasyImg."""


def load_app(spec: str | None = None) -> EasyImg:
    """Return the EasyImg a command is about.

    Args:
        spec: ``"package.module:attribute"``; the attribute (dots allowed) is an EasyImg, or a callable without
            arguments that returns one. The working directory can be imported from. None = ``EASYIMG_APP``, else the
            settings in ``EASYIMG_*``; where there are none, the site that a framework's own variable names.

    Raises:
        ConfigError: nothing can be found there; the message says what was looked for.
    """
    spec = spec or os.environ.get("EASYIMG_APP") or _site()
    if spec is None:
        return EasyImg.from_env()
    module, _, attribute = spec.partition(":")
    if not module or not attribute:
        raise ConfigError(f"app: {shown(spec)} is not of the form 'package.module:attribute'")
    found = _attribute(_module(module, spec), attribute, spec)
    if callable(found) and not isinstance(found, EasyImg):
        found = found()
    if not isinstance(found, EasyImg):
        raise ConfigError(f"app: {shown(spec)} is {shown(found)}, not an EasyImg or a callable that returns one")
    return found


def _site() -> str | None:
    """Return where the EasyImg of a framework's site is, if the environment names a site and nothing of ours."""
    if any(name.startswith(ENV_PREFIX) for name in os.environ):
        return None
    return next((spec for variable, spec in _SITES.items() if os.environ.get(variable)), None)


def _module(name: str, spec: str) -> Any:
    if os.getcwd() not in sys.path and "" not in sys.path:  # noqa: PTH109  # sys.path holds strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{name}.".startswith(f"{exc.name}."):
            raise  # the module is there; something that it imports is not
        raise ConfigError(f"app: {shown(spec)}: there is no module {exc.name!r}") from exc


def _attribute(module: Any, path: str, spec: str) -> Any:
    found = module
    for name in path.split("."):
        if not hasattr(found, name):
            # Its file, too: a module of the standard library may be in the way of one's own.
            where = f"{module.__name__} ({getattr(module, '__file__', None) or 'built in'})"
            raise ConfigError(f"app: {shown(spec)}: no {name!r} in {where}{did_you_mean(name, _candidates(found))}")
        found = getattr(found, name)
    return found


def _candidates(found: Any) -> list[str]:
    """Return the names of what could be meant: an EasyImg, or something callable that was defined there."""
    here = getattr(found, "__name__", None)
    return [
        name
        for name, value in getattr(found, "__dict__", {}).items()
        if isinstance(value, EasyImg)
        or (callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == here)
    ]
