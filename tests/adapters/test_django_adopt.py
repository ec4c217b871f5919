"""``adopt`` in a Django site: the table is asked through Django, on each of its databases."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from easyimg import Img, Source, current_app, easy_images
from easyimg.adopt import adopt
from easyimg.errors import ConfigError
from easyimg.foreign import site_database
from easyimg.testing import images
from tests.adapters import django_site
from tests.adapters.django_project import Project
from tests.easy_images_table import Table, make_table, thumbnail

PHOTO = images.photo(960, 720)
WORK = re.compile(r"SELECT|INSERT|DELETE|UPDATE (?!easyimg_meta SET value = '' WHERE name = '')")
"""Statements but for those that begin and end transactions: one on SQLite takes its lock by an empty update."""


@pytest.mark.parametrize("alias", ["sqlite_alias", "postgres_alias", "mysql_alias"])
def test_the_table_is_read_from_the_sites_own_database(alias, request, tmp_path):
    name = request.getfixturevalue(alias)

    def run(statement, values):
        with connections[name].cursor() as cursor:
            cursor.execute(statement, values)

    make_table(run, connections[name].vendor)
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    table = Table(run, tmp_path)
    table.add("a.jpg", thumbnail(PHOTO, 320, 180))
    for number in range(3):
        table.add("a.jpg", width=320 + number, crop=None, ratio=1)
    table.add("b.jpg", thumbnail(PHOTO, 320, 180))
    with override_settings(
        EASYIMG={"METADATA": f"django:{name}", "QUEUE": "none"}, MEDIA_ROOT=tmp_path, MEDIA_URL="/media/"
    ):
        report = adopt(current_app(), easy_images.read(site_database(name)).groups, storage="default")
        assert (report.rows, report.adopted, report.queued, report.skipped) == (5, 1, 3, 1)
        img = Img(width=320, ratio="video", densities=[])
        assert ".webp" in img(Source("default", "a.jpg"), alt="").srcset


@pytest.mark.parametrize("alias", ["sqlite_alias", "postgres_alias", "mysql_alias"])
def test_each_batch_of_sources_costs_the_same_however_many_there_are(alias, request, tmp_path, monkeypatch):
    name = request.getfixturevalue(alias)
    django_site.empty(name)
    monkeypatch.setattr("easyimg.adopt._CHUNK", 4)
    held = 0
    taken: list[int] = []
    sent: list[int] = []

    def groups():
        nonlocal held
        for number in range(14):
            held += 1
            taken.append(held)
            source = Source("default", f"{number}.jpg")
            yield list(easy_images._translated(source, [row for row in rows if row.name == source.name]))

    def progress(_steps):
        nonlocal held
        held = 0
        statements = [query["sql"] for query in queries if WORK.match(query["sql"])]
        sent.append(len(statements) - sum(sent))

    rows = []
    for number in range(14):  # one file that is taken over, and one that was never built
        (tmp_path / f"{number}.jpg").write_bytes(PHOTO)
        (tmp_path / f"{number}.webp").write_bytes(thumbnail(PHOTO, 320, 180))
        args = {"width": 320, "ratio": 16 / 9, "crop": [0.5, 0.5], "mimetype": "image/webp"}
        rows.append(easy_images.Row(2 * number, "default", f"{number}.jpg", args, f"{number}.webp"))
        rows.append(easy_images.Row(2 * number + 1, "default", f"{number}.jpg", {**args, "width": 640}, ""))
    with (
        override_settings(
            EASYIMG={"METADATA": f"django:{name}", "QUEUE": "none"}, MEDIA_ROOT=tmp_path, MEDIA_URL="/media/"
        ),
        CaptureQueriesContext(connections[name]) as queries,
    ):
        report = adopt(current_app(), groups(), storage="default", progress=progress)
    assert (report.adopted, report.queued) == (14, 14)
    assert max(taken) == 4, "no more sources than those of a batch are in memory"
    assert sent == [7 + 13 * sources for sources in (4, 4, 4, 2)]


@pytest.mark.slow
def test_the_command_takes_over_the_table_of_a_site(tmp_path):
    project = Project(tmp_path, EASYIMG={"QUEUE": "none"})

    def run(statement, values):
        with closing(sqlite3.connect(project.folder / "site.db")) as connection, connection:
            connection.execute(statement.replace("%s", "?"), values)

    make_table(run, "sqlite")
    table = Table(run, project.media)
    project.put("a.jpg", "b.jpg", data=PHOTO)
    table.add("a.jpg", thumbnail(PHOTO, 320, 180))
    table.add("a.jpg", thumbnail(PHOTO, 320, 180, "jpeg"), mimetype="image/jpeg")
    table.add("b.jpg")
    table.add("gone.jpg", thumbnail(PHOTO, 320, 180))

    def adopted(*options):
        done = project.manage("easyimg", "adopt", "django-easy-images", *options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    dry = json.loads(adopted("--dry-run", "--format", "json"))
    assert [dry[key] for key in ("rows", "adopted", "queued", "skipped")] == [4, 2, 1, 1]
    assert (project.status()["sources"], project.files) == (0, [])
    lines = adopted("--format", "plain").splitlines()
    assert lines[1].startswith("Adopted: 2 variants, ")
    assert lines[-1] == "Try: python manage.py easyimg build"
    assert len(project.files) == 2
    assert json.loads(adopted("--format", "json"))["known"] == 3
    assert project.manage("build_img_queue").returncode == 0
    status = project.status()
    assert (status["generated"], status["pending"], len(project.files)) == (3, 0, 3)
    checked = project.manage("easyimg", "check")
    assert (checked.returncode, checked.stderr) == (0, "")


BUILT_BY_THE_OTHER = """
import django

django.setup()
from django.core.files.storage import default_storage
from django.db.models import ImageField
from django.db.models.fields.files import FieldFile
from easy_images import Img
from easy_images.management.process_queue import process_queue

for name in {names!r}:
    picture = FieldFile(None, ImageField(storage=default_storage), name)
    for img in (Img(width=320), Img(width=300, ratio="square"), Img(width="md", ratio="golden", format="jpeg")):
        img(picture, alt="").as_html()
process_queue()
"""


@pytest.mark.slow
def test_what_the_package_itself_has_built_of_odd_sizes_is_taken_over(tmp_path):
    sizes = {"a.jpg": (1165, 859), "b.jpg": (1601, 1067), "c.jpg": (803, 1201)}
    project = Project(tmp_path, EASYIMG={"QUEUE": "none"}, INSTALLED_APPS=["easy_images", "easyimg_django"])
    for name, (width, height) in sizes.items():
        project.put(name, data=images.photo(width, height))
    built = project.run("-c", BUILT_BY_THE_OTHER.format(names=list(sizes)))
    assert built.returncode == 0, built.stderr
    done = project.manage("easyimg", "adopt", "django-easy-images", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    # It rounds the golden ratio's 276.9 and 553.8 rows down; those six JPEGs may stand under two keys each.
    assert (report["rows"], report["adopted"], report["reasons"]) == (24, 18, {"size": 12})


def test_an_unknown_database_is_refused_with_those_there_are():
    django_site.start()
    with pytest.raises(ConfigError, match="DATABASES has no 'defualt'; did you mean 'default'"):
        site_database("defualt")
