"""The indexes by which the admin lists sources, newest first, and finds them by the beginning of their names."""

from django.db import migrations, models

import easyimg_django.indexes


class Migration(migrations.Migration):
    """Makes them."""

    dependencies = [("easyimg_django", "0001_initial")]

    operations = [
        migrations.AddIndex(
            model_name="source",
            index=models.Index(fields=["created_at"], name="easyimg_source_created"),
        ),
        migrations.AddIndex(
            model_name="source",
            index=easyimg_django.indexes.BeginningIndex(fields=["name"], name="easyimg_source_name"),
        ),
    ]
