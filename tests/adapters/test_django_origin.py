"""The examples of the documentation page this project started from, each in a site of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.adapters import origin
from tests.conftest import absent

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

product = Product.objects.create(name="Shoe", main_image=upload("shoe.jpg"), image=upload("other.jpg"))
profile = Profile.objects.create(photo=upload("face.jpg"))
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
    Product.objects.create(name=f"Shoe <{n}>", image=upload(f"{n}.jpg", seed=n))

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
    automatic_building, explicit_building, immediate_building = origin.STRATEGIES.split("\n\n")
    automatic, explicit, immediate = printed(
        site,
        """
from easyimg import ImageBatch, Img

file, file1, file2, file3 = (
    Product.objects.create(name="x", image=upload(f"{n}.jpg", seed=n)).image for n in range(4)
)
"""
        + automatic_building
        + """
automatic = [url, Img(width=300)(file, alt="").srcset]
"""
        + explicit_building
        + """
explicit = [b.as_dict() for b in (Img(width=300)(file1, alt=""), Img(width=300)(file2, alt=""))]
file = file3
"""
        + immediate_building
        + """
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


def test_the_signal_calls_the_task_and_the_task_builds(site: Path) -> None:
    rung, number = printed(
        site,
        """
rung = []


class app:
    @staticmethod
    def task(function):
        function.delay = lambda: rung.append(True)
        return function

"""
        + origin.CELERY
        + """
Product.objects.create(name="Shoe", main_image=upload("shoe.jpg"))
result = [len(rung), process_queue()]
""",
    )
    assert (rung, number) == (1, 3)


@pytest.mark.corpus
def test_the_examples_are_those_of_the_page_word_for_word(corpus: Path) -> None:
    page = corpus.parent / "origin.md"
    if not page.is_file():
        absent(f"the page this project started from is not at {page}")
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    for adapter in ("management", "signals"):
        blocks = [block.replace(f"easy_images.{adapter}", f"easyimg_django.{adapter}") for block in blocks]
    blocks = [block.replace("easy_images", "easyimg") for block in blocks]
    assert [lines(block) for block in blocks] == [lines(example) for example in origin.EXAMPLES]


def lines(code: str) -> list[str]:
    return [line.rstrip() for line in code.splitlines() if line.strip()]
