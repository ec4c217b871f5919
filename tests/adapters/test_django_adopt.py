"""``adopt`` in a Django site: the table is asked through Django, on each of its databases."""

from __future__ import annotations

import pytest
from django.db import connections
from django.test import override_settings

from easyimg import Img, Source, current_app, easy_images
from easyimg.adopt import adopt
from easyimg.errors import ConfigError
from easyimg.foreign import site_database
from easyimg.testing import images
from tests.easy_images_table import Table, make_table, thumbnail

PHOTO = images.photo(960, 720)


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


def test_an_unknown_database_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="DATABASES has no 'defualt'; did you mean 'default'"):
        site_database("defualt")
