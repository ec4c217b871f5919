"""The three tables, with the indexes that each database can have."""

import django.db.models.deletion
from django.db import migrations, models

import easyimg_django.fields
import easyimg_django.functions
import easyimg_django.indexes


def tune(apps, schema_editor):
    """Vacuum after 1 % of the rows changed, not 20: until then, the search for work passes by what was built."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "ALTER TABLE easyimg_variant"
            " SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000)"
        )


class Migration(migrations.Migration):
    """Makes them."""

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Note",
            fields=[
                (
                    "name",
                    easyimg_django.fields.NameField(
                        max_length=64, primary_key=True, serialize=False, verbose_name="name"
                    ),
                ),
                ("value", models.CharField(blank=True, default="", max_length=255, verbose_name="value")),
                ("owner", models.CharField(blank=True, default="", max_length=255, verbose_name="owner")),
                ("due_at", easyimg_django.fields.MomentField(editable=False, null=True, verbose_name="due")),
            ],
            options={
                "verbose_name": "note",
                "verbose_name_plural": "notes",
                "db_table": "easyimg_meta",
            },
        ),
        migrations.CreateModel(
            name="Source",
            fields=[
                (
                    "id",
                    easyimg_django.fields.HexField(max_length=32, primary_key=True, serialize=False, verbose_name="id"),
                ),
                ("storage", easyimg_django.fields.NameField(max_length=100, verbose_name="storage")),
                ("name", easyimg_django.fields.NameField(max_length=1024, verbose_name="name")),
                ("generation", models.IntegerField(default=1, verbose_name="generation")),
                ("version", models.CharField(blank=True, default="", max_length=64, verbose_name="version")),
                ("width", models.IntegerField(null=True, verbose_name="width")),
                ("height", models.IntegerField(null=True, verbose_name="height")),
                ("format", models.CharField(max_length=16, null=True, verbose_name="format")),
                ("has_alpha", models.BooleanField(null=True, verbose_name="has transparency")),
                ("frames", models.IntegerField(null=True, verbose_name="frames")),
                ("interlaced", models.BooleanField(null=True, verbose_name="interlaced")),
                ("focus_x", models.FloatField(null=True, verbose_name="focus, from the left")),
                ("focus_y", models.FloatField(null=True, verbose_name="focus, from the top")),
                ("color", models.CharField(max_length=9, null=True, verbose_name="colour")),
                ("blur", models.TextField(null=True, verbose_name="blurred preview")),
                ("crashes", models.SmallIntegerField(default=0, verbose_name="crashes")),
                ("error", easyimg_django.fields.MessageField(blank=True, default="", verbose_name="error")),
                (
                    "created_at",
                    easyimg_django.fields.MomentField(
                        default=easyimg_django.functions.DbNow, editable=False, verbose_name="created"
                    ),
                ),
                (
                    "updated_at",
                    easyimg_django.fields.MomentField(
                        default=easyimg_django.functions.DbNow, editable=False, verbose_name="changed"
                    ),
                ),
            ],
            options={
                "verbose_name": "source image",
                "verbose_name_plural": "source images",
                "db_table": "easyimg_source",
            },
        ),
        migrations.CreateModel(
            name="Variant",
            fields=[
                (
                    "key",
                    easyimg_django.fields.HexField(
                        max_length=32, primary_key=True, serialize=False, verbose_name="key"
                    ),
                ),
                ("spec", easyimg_django.fields.MessageField(verbose_name="specification")),
                (
                    "status",
                    models.SmallIntegerField(
                        choices=[
                            (0, "queued"),
                            (1, "being built"),
                            (2, "built"),
                            (3, "source error"),
                            (4, "build error"),
                        ],
                        default=0,
                        verbose_name="status",
                    ),
                ),
                ("priority", models.SmallIntegerField(default=0, verbose_name="priority")),
                ("attempts", models.SmallIntegerField(default=0, verbose_name="attempts")),
                ("errors", models.SmallIntegerField(default=0, verbose_name="failed builds")),
                ("error_kind", models.CharField(blank=True, default="", max_length=64, verbose_name="kind of error")),
                ("error", easyimg_django.fields.MessageField(blank=True, default="", verbose_name="error")),
                ("due_at", easyimg_django.fields.MomentField(editable=False, null=True, verbose_name="due")),
                (
                    "token",
                    easyimg_django.fields.HexField(editable=False, max_length=32, null=True, verbose_name="token"),
                ),
                (
                    "file_storage",
                    easyimg_django.fields.NameField(
                        blank=True, default="", max_length=100, verbose_name="storage of the file"
                    ),
                ),
                (
                    "file_name",
                    easyimg_django.fields.NameField(
                        blank=True, default="", max_length=1024, verbose_name="name of the file"
                    ),
                ),
                ("format", models.CharField(blank=True, default="", max_length=16, verbose_name="format")),
                ("width", models.IntegerField(default=0, verbose_name="width")),
                ("height", models.IntegerField(default=0, verbose_name="height")),
                ("bytes", models.BigIntegerField(default=0, verbose_name="bytes")),
                (
                    "created_at",
                    easyimg_django.fields.MomentField(
                        default=easyimg_django.functions.DbNow, editable=False, verbose_name="created"
                    ),
                ),
                ("built_at", easyimg_django.fields.MomentField(editable=False, null=True, verbose_name="built")),
                (
                    "source",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="variants",
                        to="easyimg_django.source",
                        verbose_name="source image",
                    ),
                ),
            ],
            options={
                "verbose_name": "image variant",
                "verbose_name_plural": "image variants",
                "db_table": "easyimg_variant",
                "indexes": [
                    models.Index(fields=["source"], name="easyimg_variant_source"),
                    easyimg_django.indexes.PartialIndex(
                        fields=["priority", "due_at", "status", "source"],
                        name="easyimg_variant_due",
                        where=models.Q(("due_at__isnull", False)),
                    ),
                    easyimg_django.indexes.PartialIndex(
                        fields=["status", "error_kind", "errors"],
                        name="easyimg_variant_failed",
                        where=models.Q(("status__gte", 3)),
                    ),
                ],
            },
        ),
        # The hint is for routers that decide by model.
        migrations.RunPython(tune, migrations.RunPython.noop, hints={"model_name": "variant"}),
    ]
