"""The AppConfig: put ``"easyimg_django"`` into INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.fields.files import FieldFile
from django.utils.translation import gettext_lazy as _

from easyimg.current import add_lookup
from easyimg.source import add_source_kind
from easyimg_django.conf import current
from easyimg_django.storage import source_of


class EasyImgConfig(AppConfig):
    """Makes the EasyImg of ``settings.EASYIMG`` the current one."""

    name = "easyimg_django"
    verbose_name = _("Responsive images")

    def ready(self) -> None:
        """Let Img and img() find the EasyImg and the files of models, register checks; connects to nothing."""
        from easyimg_django.checks import register_checks  # it needs the models

        add_lookup(current)
        add_source_kind(FieldFile, source_of)
        register_checks()
