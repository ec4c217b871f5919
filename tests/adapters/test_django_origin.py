"""The examples of the documentation page this project started from, each in a site of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.adapters import origin

pytestmark = pytest.mark.slow  # each in a process of its own


@pytest.fixture
def site(tmp_path: Path) -> Path:
    origin.write(tmp_path)
    return tmp_path


def printed(site: Path, script: str) -> Any:
    return json.loads(origin.run(site, script + "\nimport json\nprint(json.dumps(result))\n").splitlines()[-1])


def test_manual_and_automatic_queueing(site: Path) -> None:
    result = printed(
        site,
        """
from easyimg_django.models import Variant

product = Product.objects.create(name="Shoe", main_image=file("shoe.jpg"), image=file("other.jpg"))
profile = Profile.objects.create(photo=file("face.jpg"))
result = [
    (row.source.name, row.get_status_display()) for row in Variant.objects.select_related("source").order_by("key")
]
""",
    )
    assert sorted(map(tuple, result)) == [
        ("products/shoe.jpg", "queued"),
        ("products/shoe.jpg", "queued"),
        ("products/shoe.jpg", "queued"),
        ("profiles/face.jpg", "built"),
        ("profiles/face.jpg", "queued"),
        ("profiles/face.jpg", "queued"),
    ]


def test_a_list_view_with_a_batch_asks_one_query_for_all_images(site: Path) -> None:
    queries, before, after = printed(
        site,
        """
from django.test import Client
from django.test.utils import CaptureQueriesContext

from easyimg import process_queue

for n in range(10):
    Product.objects.create(name=f"Shoe <{n}>", image=file(f"{n}.jpg", seed=n))

client = Client(SERVER_NAME="localhost")
before = client.get("/").content.decode()
process_queue()
with CaptureQueriesContext(connection) as queries:
    after = client.get("/").content.decode()
result = [len(queries), before, after]
""",
    )
    assert queries == 2  # the products, and all images
    assert before.count('<img src="/media/products/') == 10
    assert before.count('width="300" height="200"') == 10
    assert after.count('<img src="/media/img/') == 10
    assert after.count("2x") == 10
    assert "Shoe &lt;3&gt;" in after
    assert "&lt;img" not in after


def test_the_three_building_strategies(site: Path) -> None:
    automatic, explicit, immediate = printed(
        site,
        """
from easyimg import ImageBatch, Img

file, file1, file2, file3 = (
    Product.objects.create(name="x", image=file(f"{n}.jpg", seed=n)).image for n in range(4)
)

# Option 1
batch = ImageBatch()
img = Img(batch=batch, width=300)
bound = img(file, build="src")
url = bound.base_url()
automatic = [url, Img(width=300)(file, alt="").srcset]

# Option 2
batch = ImageBatch()
img = Img(batch=batch, width=300)
bound1 = img(file1, build="src")
bound2 = img(file2, build="srcset")
batch.build()
explicit = [b.as_dict() for b in (Img(width=300)(file1, alt=""), Img(width=300)(file2, alt=""))]

# Option 3
img = Img(width=300)
bound = img(file3, build="src", immediate=True)
immediate = Img(width=300)(file3, alt="").as_dict()
result = [automatic, explicit, immediate]
""",
    )
    url, srcset = automatic
    assert (url.startswith("/media/img/"), srcset) == (True, "")
    by_src, by_srcset = explicit
    assert (by_src["src"].startswith("/media/img/"), by_src["srcset"]) == (True, "")
    assert by_srcset["src"] == "/media/products/2.jpg"
    assert by_srcset["srcset"].endswith(" 2x")
    assert immediate["src"].startswith("/media/img/")


def test_the_signals_and_the_task_are_where_the_page_imports_them(site: Path) -> None:
    rung, number = printed(
        site,
        """
from easyimg_django.management.process_queue import process_queue
from easyimg_django.signals import file_post_save, queued_img

rung = []


class build_img_queue:
    @staticmethod
    def delay():
        rung.append(True)


queued_img.connect(lambda **kwargs: build_img_queue.delay(), weak=False)
Product.objects.create(name="Shoe", main_image=file("shoe.jpg"))
result = [len(rung), process_queue()]
""",
    )
    assert (rung, number) == (1, 3)
