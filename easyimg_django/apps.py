"""The AppConfig: put ``"easyimg_django"`` into INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig

from easyimg.current import add_lookup
from easyimg_django.conf import current


class EasyImgConfig(AppConfig):
    """Makes the EasyImg of ``settings.EASYIMG`` the current one."""

    name = "easyimg_django"
    verbose_name = "Responsive images"

    def ready(self) -> None:
        """Let Img and img() find the EasyImg; connects to nothing."""
        add_lookup(current)
