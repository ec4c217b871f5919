"""``settings.EASYIMG`` as an EasyImg, made when first needed and again when tests change the setting."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

import easyimg
from easyimg_django import storage

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
    chosen = _with_storages(easyimg.Settings.from_mapping(values), {name.lower() for name in values})
    where = chosen.metadata if any(name.lower() == "metadata" for name in values) else "django"
    if not isinstance(where, str) or where.partition(":")[0] != "django":
        return chosen
    from easyimg_django.metadata import DjangoMetadata  # the models can only be imported once all apps are there

    return chosen.replace(metadata=DjangoMetadata(where.partition(":")[2] or None))


def _with_storages(chosen: easyimg.Settings, given: set[str]) -> easyimg.Settings:
    """Return the settings with Django's storages under those that were given; variants go to ``easyimg`` if it is."""
    storages = storage.SiteStorages(chosen.storages if "storages" in given else {})
    changes: dict[str, object] = {"storages": storages}
    if "base_urls" not in given:
        changes["base_urls"] = chosen.base_urls if "storages" in given else {}
    if "variants" not in given and storage.VARIANTS in storages:
        changes["variants"] = storage.VARIANTS
    return chosen.replace(**changes)


@receiver(setting_changed)
def forget(*, setting: str, **_kwargs: Any) -> None:
    """Close the EasyImg when tests change its setting; the next use makes it anew."""
    global _made  # noqa: PLW0603
    if setting == "STORAGES":
        storage.forget()
    if setting in ("EASYIMG", "STORAGES", "MEDIA_ROOT", "MEDIA_URL") and _made is not None:
        _made.close()
        _made = None
