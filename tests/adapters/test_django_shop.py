"""``docs/examples/django_shop`` without a browser: its pages by Django's test client, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

SHOP = ROOT / "docs" / "examples" / "django_shop"

START = """
import json
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django

django.setup()

from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from easyimg.testing import images
from shop.models import Picture, Product

call_command("migrate", verbosity=0)
client = Client(SERVER_NAME="localhost")


def upload(name):
    return SimpleUploadedFile(name, images.photo(900, 600))

"""

pytestmark = pytest.mark.slow


def run(folder: Path, script: str, **environment: str) -> Any:
    """Return what a script of the shop leaves in ``result``."""
    path = [*filter(None, [os.environ.get("PYTHONPATH")]), str(SHOP), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{START}{script}\nprint(json.dumps(result))"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "SHOP_DATA": str(folder), "SHOP_QUEUE": "none"}
        | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_product_is_reached_by_the_links_of_the_list(tmp_path: Path) -> None:
    pages = run(
        tmp_path,
        """
import re

Product.objects.bulk_create(Product(name=f"Shoe {n}", photo="products/shoe.jpg") for n in range(130))
url, result = "/", []
while url:
    html = client.get(url).content.decode()
    result.append([html.count("<img"), 'rel="prev"' in html])
    found = re.search(r'rel="next" href="([^"]+)"', html)
    url = found and "/" + found[1]
""",
        SHOP_DEBUG="0",  # the file of these products is not there
    )
    assert pages == [[60, False], [60, True], [10, True]]


def test_a_product_that_could_not_be_made_whole_is_still_a_new_one(tmp_path: Path) -> None:
    heading, complaint, rows, again = run(
        tmp_path,
        """
from easyimg_django.models import Source

more = [upload(f"{n}.jpg") for n in range(5)]
html = client.post("/new/", {"name": "Shoe", "photo": upload("shoe.jpg"), "more": more}).content.decode()
rows = [kind.objects.count() for kind in (Product, Picture, Source)]
client.post("/new/", {"name": "Shoe", "photo": upload("shoe.jpg")})
again = client.get(f"/{Product.objects.get().pk}/edit/").content.decode()
result = ["<h1>New product</h1>" in html, "4 more pictures at most" in html, rows, "<h1>Edit Shoe</h1>" in again]
""",
    )
    assert (heading, complaint, rows, again) == (True, True, [0, 0, 0], True)


def test_nothing_is_to_be_said_of_the_shop_before_it_is_deployed(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        """
from django.core import checks

databases = ["default"] if django.VERSION >= (5, 1) else None  # whose SQLite has a write-ahead log
found = checks.run_checks(tags=["easyimg"], include_deployment_checks=True, databases=databases)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
result = [message.id for message in found]
""",
        SHOP_DEBUG="0",
        SHOP_QUEUE="thread",
    )
    assert result == []
