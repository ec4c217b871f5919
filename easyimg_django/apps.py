"""The AppConfig: put ``"easyimg_django"`` into INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.fields.files import FieldFile

from easyimg.current import add_lookup
from easyimg.foreign import add_database
from easyimg.source import add_source_kind
from easyimg_django.conf import current
from easyimg_django.databases import connect
from easyimg_django.storage import source_of


class EasyImgConfig(AppConfig):
    """Makes the EasyImg of ``settings.EASYIMG`` the current one."""

    name = "easyimg_django"
    verbose_name = "Responsive images"

    def ready(self) -> None:
        """Let Img and img() find the EasyImg and the files of models; connects to nothing."""
        add_lookup(current)
        add_source_kind(FieldFile, source_of)
        add_database(connect)
