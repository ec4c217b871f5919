"""The AppConfig: put ``"easyimg_django"`` into INSTALLED_APPS."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.fields.files import FieldFile
from django.utils.translation import gettext_lazy as _

from easyimg.bound import show_text_by
from easyimg.current import add_lookup
from easyimg.foreign import add_database
from easyimg.models import add_models
from easyimg.source import add_source_kind
from easyimg_django import signals
from easyimg_django.conf import current
from easyimg_django.databases import connect
from easyimg_django.hooks import listeners
from easyimg_django.storage import source_of
from easyimg_django.tags.batches import text_of


class EasyImgConfig(AppConfig):
    """Makes the EasyImg of ``settings.EASYIMG`` the current one, and watches the files of models."""

    name = "easyimg_django"
    verbose_name = _("Responsive images")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        add_models(listeners)  # before models are loaded: their modules may call Img.queue

    def ready(self) -> None:
        """Let Img and img() find the EasyImg and the files of models, and watch these; connects to nothing."""
        from easyimg_django import saves
        from easyimg_django.checks import register_checks  # both need the models

        add_lookup(current)
        add_source_kind(FieldFile, source_of)
        show_text_by(text_of)
        signals.connect()
        listeners.ready()
        saves.watch_all()
        register_checks()
        add_database(connect)
