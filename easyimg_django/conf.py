"""``settings.EASYIMG`` as an EasyImg, made when first needed and again when tests change the setting."""

from __future__ import annotations

import threading
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
                _made = easyimg.EasyImg(easyimg.Settings.from_mapping(settings.EASYIMG))
    return _made


@receiver(setting_changed)
def forget(*, setting: str, **_kwargs: Any) -> None:
    """Close the EasyImg when tests change its setting; the next use makes it anew."""
    global _made  # noqa: PLW0603
    if setting == "EASYIMG" and _made is not None:
        _made.close()
        _made = None
