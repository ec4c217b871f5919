"""The three tables, the same as in ``easyimg.metadata.tables``.

Change rows through ``easyimg.current_app().metadata`` only: saving an instance would undo what a worker has written
since it was read.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from easyimg.metadata.rows import MAX_NAME, MAX_STORAGE
from easyimg.variant import VariantStatus
from easyimg_django.fields import HexField, MessageField, MomentField, NameField
from easyimg_django.functions import DbNow
from easyimg_django.indexes import BeginningIndex, PartialIndex


class Source(models.Model):
    """An original, and what is known of it."""

    id = HexField(_("id"), primary_key=True)
    storage = NameField(_("storage"), max_length=MAX_STORAGE)
    name = NameField(_("name"), max_length=MAX_NAME)
    generation = models.IntegerField(_("generation"), default=1)
    version = models.CharField(_("version"), max_length=64, default="", blank=True)
    width = models.IntegerField(_("width"), null=True)
    height = models.IntegerField(_("height"), null=True)
    format = models.CharField(_("format"), max_length=16, null=True)
    has_alpha = models.BooleanField(_("has transparency"), null=True)
    frames = models.IntegerField(_("frames"), null=True)
    interlaced = models.BooleanField(_("interlaced"), null=True)
    focus_x = models.FloatField(_("focus, from the left"), null=True)
    focus_y = models.FloatField(_("focus, from the top"), null=True)
    color = models.CharField(_("colour"), max_length=9, null=True)
    blur = models.TextField(_("blurred preview"), null=True)
    crashes = models.SmallIntegerField(_("crashes"), default=0)
    error = MessageField(_("error"), default="", blank=True)
    created_at = MomentField(_("created"), default=DbNow, editable=False)
    updated_at = MomentField(_("changed"), default=DbNow, editable=False)

    class Meta:
        """The table, and its words."""

        db_table = "easyimg_source"
        verbose_name = _("source image")
        verbose_name_plural = _("source images")
        indexes = (  # of the admin: the SQLAlchemy store, which has none, does without them
            models.Index(fields=["created_at"], name="easyimg_source_created"),
            BeginningIndex(fields=["name"], name="easyimg_source_name"),
        )

    def __str__(self) -> str:
        return str(self.name)


class Variant(models.Model):
    """One generated file, or one that is owed."""

    STATUSES = (
        (VariantStatus.QUEUED.value, _("queued")),
        (VariantStatus.BUILDING.value, _("being built")),
        (VariantStatus.BUILT.value, _("built")),
        (VariantStatus.SOURCE_ERROR.value, _("source error")),
        (VariantStatus.BUILD_ERROR.value, _("build error")),
    )

    key = HexField(_("key"), primary_key=True)
    # Without a constraint: its check would lock a source's row for every variant a page inserts.
    source = models.ForeignKey(
        Source,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="variants",
        verbose_name=_("source image"),
    )
    spec = MessageField(_("specification"))
    status = models.SmallIntegerField(_("status"), choices=STATUSES, default=0)
    priority = models.SmallIntegerField(_("priority"), default=0)
    attempts = models.SmallIntegerField(_("attempts"), default=0)
    errors = models.SmallIntegerField(_("failed builds"), default=0)
    error_kind = models.CharField(_("kind of error"), max_length=64, default="", blank=True)
    error = MessageField(_("error"), default="", blank=True)
    due_at = MomentField(_("due"), null=True, editable=False)
    token = HexField(_("token"), null=True, editable=False)
    file_storage = NameField(_("storage of the file"), max_length=MAX_STORAGE, default="", blank=True)
    file_name = NameField(_("name of the file"), max_length=MAX_NAME, default="", blank=True)
    format = models.CharField(_("format"), max_length=16, default="", blank=True)
    width = models.IntegerField(_("width"), default=0)
    height = models.IntegerField(_("height"), default=0)
    bytes = models.BigIntegerField(_("bytes"), default=0)
    created_at = MomentField(_("created"), default=DbNow, editable=False)
    built_at = MomentField(_("built"), null=True, editable=False)

    class Meta:
        """The table with its indexes, and its words."""

        db_table = "easyimg_variant"
        verbose_name = _("image variant")
        verbose_name_plural = _("image variants")
        indexes = (
            models.Index(fields=["source"], name="easyimg_variant_source"),
            # Rows that are BUILT appear in no index but their source's, where the database knows partial indexes.
            PartialIndex(
                fields=["priority", "due_at", "status", "source"],
                name="easyimg_variant_due",
                where=Q(due_at__isnull=False),
            ),
            PartialIndex(
                fields=["status", "error_kind", "errors"],
                name="easyimg_variant_failed",
                where=Q(status__gte=VariantStatus.SOURCE_ERROR.value),
            ),
        )

    def __str__(self) -> str:
        return str(self.key)


class Note(models.Model):
    """Leases of roles, and totals of large tables."""

    name = NameField(_("name"), max_length=64, primary_key=True)
    value = models.CharField(_("value"), max_length=255, default="", blank=True)
    owner = models.CharField(_("owner"), max_length=255, default="", blank=True)
    due_at = MomentField(_("due"), null=True, editable=False)

    class Meta:
        """The table, and its words."""

        db_table = "easyimg_meta"
        verbose_name = _("note")
        verbose_name_plural = _("notes")

    def __str__(self) -> str:
        return str(self.name)
