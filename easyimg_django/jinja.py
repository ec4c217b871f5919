"""Django's Jinja2 backend: ``"OPTIONS": {"environment": "easyimg_django.jinja.environment"}``."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment

from easyimg.jinja import install


def environment(**options: Any) -> Environment:
    """Return a Jinja2 environment that has ``img()``, ``img_url()`` and ``img_preload()``.

    Args:
        **options: as Django gives them to whatever the option ``environment`` names.
    """
    env = Environment(**options)  # noqa: S701 - Django's backend gives autoescape=True
    install(env)
    return env
