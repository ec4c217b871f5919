"""``settings.EASYIMG`` as an EasyImg, made when first needed and again when tests change the setting."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

import easyimg

_lock = threading.Lock()
_made: easyimg.EasyImg | None = None


def current() -> easyimg.EasyImg | None:
    """Return the site's EasyImg; None when the site has no ``EASYIMG`` setting.

    Raises:
        ConfigError: a name or value in the setting is not allowed.
    """
    global _made  # noqa: PLW0603 - one site, one EasyImg
    if _made is None and hasattr(settings, "EASYIMG"):
        with _lock:
            if _made is None:
                _made = easyimg.EasyImg(_chosen(settings.EASYIMG))
    return _made


def _chosen(values: Mapping[str, Any]) -> easyimg.Settings:
    """Return the settings; ``metadata`` is the site's own database where nothing else is said."""
    chosen = easyimg.Settings.from_mapping(values)
    where = chosen.metadata if any(name.lower() == "metadata" for name in values) else "django"
    if not isinstance(where, str) or where.partition(":")[0] != "django":
        return chosen
    from easyimg_django.metadata import DjangoMetadata  # the models can only be imported once all apps are there

    return chosen.replace(metadata=DjangoMetadata(where.partition(":")[2] or None))


@receiver(setting_changed)
def forget(*, setting: str, **_kwargs: Any) -> None:
    """Close the EasyImg when tests change its setting; the next use makes it anew."""
    global _made  # noqa: PLW0603
    if setting == "EASYIMG" and _made is not None:
        _made.close()
        _made = None
