"""The site's own database as the place of the rows: settings, migration, and a site in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from easyimg import current_app
from easyimg.errors import ConfigError
from easyimg.testing import images
from tests.adapters import django_site

django_site.start()

from django.core.management import call_command  # noqa: E402 - needs a Django that is set up
from django.db import connections  # noqa: E402
from django.test import override_settings  # noqa: E402

from easyimg_django.metadata import DjangoMetadata  # noqa: E402

SITE = """
import sys
import django
from django.conf import settings

root = sys.argv[1]
settings.configure(
    INSTALLED_APPS=["easyimg_django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": root + "/site.db"}},
    EASYIMG={"STORAGES": {"default": "file://" + root}, "QUEUE": sys.argv[2], "ISOLATION": "never"},
    USE_TZ=True,
)
django.setup()

import time
from django.core.management import call_command
from django.db import transaction
from easyimg import Img, current_app, process_queue

call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
with transaction.atomic():
    print(Img(width=30)("shoe.jpg", alt="x"))
if sys.argv[2] == "none":
    print(process_queue())
while current_app().metadata.counts(stale_after=0).generated < 3:
    time.sleep(0.05)
print(Img(width=30)("shoe.jpg", alt="x"))
print("sqlalchemy" in sys.modules)
"""


@pytest.mark.parametrize("queue", ["none", "thread"])
def test_a_site_needs_no_more_than_a_migration_and_gives_no_warning(tmp_path: Path, queue: str) -> None:
    (tmp_path / "shoe.jpg").write_bytes(images.photo(300, 200))
    (tmp_path / "site.py").write_text(SITE)
    command = [sys.executable, "-Wd", tmp_path / "site.py", tmp_path, queue]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90, env=os.environ.copy())
    assert (done.returncode, done.stderr) == (0, "")
    _, first, *count, last, has_sqlalchemy = done.stdout.strip().splitlines()
    assert (first.count("/media/img/"), last.count("/media/img/")) == (0, 3)
    assert count == (["3"] if queue == "none" else [])
    assert has_sqlalchemy == "False"


@pytest.mark.parametrize("automatic", ["django.db.models.AutoField", "django.db.models.BigAutoField"])
def test_no_migration_is_missing(automatic: str) -> None:
    with override_settings(DEFAULT_AUTO_FIELD=automatic):
        call_command("makemigrations", "easyimg_django", check=True, dry_run=True, stdout=StringIO())


def indexes(alias: str) -> dict[str, list[str]]:
    with connections[alias].cursor() as cursor:
        found = connections[alias].introspection.get_constraints(cursor, "easyimg_variant")
    return {name: what["columns"] for name, what in found.items() if what["index"] and not what["primary_key"]}


@pytest.mark.parametrize("alias", ["sqlite_alias", "postgres_alias", "mysql_alias"])
def test_the_migration_makes_these_indexes_and_no_other(alias: str, request: pytest.FixtureRequest) -> None:
    assert indexes(request.getfixturevalue(alias)) == {
        "easyimg_variant_source": ["source_id"],
        "easyimg_variant_due": ["priority", "due_at", "status", "source_id"],
        "easyimg_variant_failed": ["status", "error_kind", "errors"],
    }


@pytest.mark.parametrize(
    ("alias", "query"),
    [
        ("sqlite_alias", "SELECT sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'easyimg_variant_%'"),
        ("postgres_alias", "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'easyimg_variant_%'"),
    ],
)
def test_built_rows_are_in_no_index_but_their_sources(alias: str, query: str, request: pytest.FixtureRequest) -> None:
    with connections[request.getfixturevalue(alias)].cursor() as cursor:
        cursor.execute(query)
        partial = [text for (text,) in cursor.fetchall() if " WHERE " in text]
    assert len(partial) == 2


def test_the_migration_can_be_taken_back(tmp_path: Path) -> None:
    with django_site.database("undo", f"sqlite:///{tmp_path / 'undo.db'}") as alias:
        call_command("migrate", "easyimg_django", "zero", database=alias, verbosity=0)
        assert connections[alias].introspection.table_names() == ["django_migrations"]


@pytest.mark.parametrize(
    ("chosen", "store"),
    [
        ({}, "DjangoMetadata(None)"),
        ({"METADATA": "django"}, "DjangoMetadata(None)"),
        ({"metadata": "django:default"}, "DjangoMetadata('default')"),
        ({"METADATA": DjangoMetadata("default")}, "DjangoMetadata('default')"),
        ({"METADATA": "sqlite:///rows.db"}, "SqlAlchemyMetadata('sqlite+pysqlite:///rows.db')"),
    ],
)
def test_the_setting_says_where_the_rows_are(chosen: dict[str, Any], store: str) -> None:
    with override_settings(EASYIMG=chosen):
        assert repr(current_app().metadata) == store


def test_an_alias_that_is_not_there_is_named() -> None:
    with (
        override_settings(EASYIMG={"METADATA": "django:defualt"}),
        pytest.raises(ConfigError, match="no database 'defualt' in DATABASES; did you mean 'default'"),
    ):
        current_app()
