"""``settings.EASYIMG`` as an EasyImg, made when first needed and again when tests change the setting."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core import mail
from django.core.signals import setting_changed
from django.dispatch import receiver

import easyimg
from easyimg.errors import ConfigError, shown
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


def is_strict_unless_said() -> bool:
    """Return whether ``strict`` is on where ``EASYIMG`` does not say: in debug mode, and while Django's tests run."""
    return bool(settings.DEBUG) or hasattr(mail, "outbox")  # which they have, says Django's documentation


def _chosen(values: Any) -> easyimg.Settings:
    """Return the settings; ``metadata`` is the site's own database where nothing else is said."""
    given = {"strict": is_strict_unless_said(), **_named(values)}
    chosen = easyimg.Settings.from_mapping(given | _storages(given))
    where = chosen.metadata if "metadata" in given else "django"
    if not isinstance(where, str) or where.partition(":")[0] != "django":
        return chosen
    from easyimg_django.metadata import DjangoMetadata  # the models can only be imported once all apps are there

    return chosen.replace(metadata=DjangoMetadata(where.partition(":")[2] or None))


def _named(values: Any) -> dict[str, Any]:
    """Return what ``EASYIMG`` says, under the names that settings have.

    Raises:
        ConfigError: it is no dict, or says something twice.
    """
    if not isinstance(values, Mapping):  # whose value may hold a password
        raise ConfigError(f"EASYIMG: {type(values).__name__} is not a dict; write EASYIMG = {{}} for the defaults")
    named: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise ConfigError(f"EASYIMG: {shown(name)} is not the name of a setting")
        if name.lower() in named:
            raise ConfigError(f"EASYIMG: {name.upper()!r} is there twice, in upper and in lower case")
        named[name.lower()] = value
    return named


def _storages(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with Django's storages under those that are given; variants go to ``easyimg`` if it is there."""
    own = given.get("storages", {})
    own = {"default": own} if isinstance(own, str) else own
    if not isinstance(own, Mapping):
        return {}  # refused as it is
    storages = storage.SiteStorages(own)
    changes: dict[str, Any] = {"storages": storages}
    if "base_urls" not in given:
        changes["base_urls"] = {"default": "/media/"} if "default" in own else {}
    if "variants" not in given and storage.VARIANTS in storages:
        changes["variants"] = storage.VARIANTS
    return changes


@receiver(setting_changed)
def forget(*, setting: str, **_kwargs: Any) -> None:
    """Close the EasyImg when tests change a setting of its; the next use makes it anew."""
    global _made  # noqa: PLW0603
    if setting == "STORAGES":
        storage.forget()
    if setting in ("DEBUG", "EASYIMG", "STORAGES", "MEDIA_ROOT", "MEDIA_URL") and _made is not None:
        _made.close()
        _made = None
