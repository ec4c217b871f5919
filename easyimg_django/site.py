"""The site's EasyImg for processes that Django does not start: ``easyimg --app easyimg_django.site:app``.

``DJANGO_SETTINGS_MODULE`` names the site. The children of ``manage.py easyimg worker`` find it this way.
"""

from __future__ import annotations

import django
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

import easyimg
from easyimg.errors import ConfigError


def app() -> easyimg.EasyImg:
    """Set Django up, where that is still to do, and return the site's EasyImg.

    Raises:
        ConfigError: there is no site, it cannot be set up, or it does not have easyimg among its apps or settings.
    """
    try:
        if not apps.ready:
            django.setup()
        is_installed = apps.is_installed("easyimg_django")
    except (ImproperlyConfigured, ImportError) as exc:
        text = " ".join(str(exc).split())
        raise ConfigError(f"the Django site cannot be set up: {type(exc).__name__}: {text}") from exc
    where = settings.SETTINGS_MODULE if hasattr(settings, "SETTINGS_MODULE") else "the settings"
    if not is_installed:
        raise ConfigError(f"{where}: 'easyimg_django' is not in INSTALLED_APPS; name another EasyImg with --app")
    from easyimg_django.conf import current  # our models can only be imported once Django is set up

    found = current()
    if found is None:
        raise ConfigError(f"{where}: there is no EASYIMG; write EASYIMG = {{}} for the defaults")
    return found
