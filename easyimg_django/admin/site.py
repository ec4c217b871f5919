"""Whose rows the admin shows."""

from __future__ import annotations

import logging

from easyimg import EasyImg
from easyimg.errors import ConfigError
from easyimg_django.conf import current
from easyimg_django.metadata import DjangoMetadata

logger = logging.getLogger("easyimg")


def site_app() -> EasyImg | None:
    """Return the site's EasyImg; None where it keeps no rows in the models, so that there is nothing to show."""
    try:
        app = current()
    except ConfigError:
        logger.exception("the admin shows no images")
        return None
    return app if app is not None and isinstance(app.settings.metadata, DjangoMetadata) else None


def shown_alias() -> str | None:
    """Return the alias of the database whose rows are shown; None = what the routers say."""
    app = site_app()
    return app.metadata.reader if app is not None and isinstance(app.metadata, DjangoMetadata) else None
