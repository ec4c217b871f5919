"""What a page of images costs in a Django template: our ``{% img %}`` against the floor, interleaved in one process.

The page shows 100 products with three built variants each (JPEG, WebP 1x, WebP 2x), rows in Django's own database:
SQLite in a file, and PostgreSQL where one can be had.

- *floor*: a plain Django template that writes the same tags from dicts, and one ``values()`` query of the same 300
  keys; no library in between.
- *batch*: the plain tag inside ``{% imgbatch %}``, row cache off: one query as well.
- *include*: the same with the tag in an included template, and the batch in the template that it extends.
- *warm*: as *batch* with the row cache on: no query.

On a busy machine look at the CPU time of this process; a PostgreSQL's own is not in it.

As a script: ``python -m tests.benchmarks.django_page [--json FILE] [--rounds N]``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.adapters import django_site

django_site.start()

from django.db import connections  # noqa: E402 - needs a Django that is set up
from django.template import engines  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from easyimg import Img, process_queue  # noqa: E402
from easyimg.source import Source  # noqa: E402
from easyimg.testing import images  # noqa: E402
from easyimg_django.models import Variant  # noqa: E402
from tests.adapters.pages import template_settings  # noqa: E402
from tests.benchmarks.filled import database  # noqa: E402
from tests.benchmarks.render import IMAGES, products  # noqa: E402
from tests.benchmarks.timing import interleaved, judged  # noqa: E402

TAG: Final = "{% img p.photo width=300 ratio='square' alt=p.name %}"
FILES: Final = {
    "batch.html": "{% load easyimg %}{% imgbatch %}<ul>{% for p in products %}<li>" + TAG + "</li>\n{% endfor %}</ul>"
    "{% endimgbatch %}",
    "base.html": "{% load easyimg %}{% imgbatch %}<ul>{% block list %}{% endblock %}</ul>{% endimgbatch %}",
    "card.html": "{% load easyimg %}<li>" + TAG + "</li>\n",
    "include.html": "{% extends 'base.html' %}"
    "{% block list %}{% for p in products %}{% include 'card.html' %}{% endfor %}{% endblock %}",
    "floor.html": '<ul>{% for p in products %}<li><img src="{{ p.src }}" srcset="{{ p.one }}, {{ p.two }} 2x" '
    'width="{{ p.width }}" height="{{ p.height }}" alt="{{ p.name }}" loading="lazy" decoding="async"></li>\n'
    "{% endfor %}</ul>",
}
GOAL: Final = 65.0
"""Microseconds per image that a page may cost: in all on SQLite, and above the floor on any database."""


def site(alias: str, root: Path, cache_seconds: float) -> Any:
    """Return settings under which the pages are rendered; each EasyImg is the current one while they hold."""
    easyimg = {
        "STORAGES": {"default": f"file://{root}/media"},
        "BASE_URLS": {"default": "/media/"},
        "METADATA": f"django:{alias}",
        "QUEUE": "none",
        "ISOLATION": "never",
        "CACHE_SECONDS": cache_seconds,
    }
    return override_settings(EASYIMG=easyimg, TEMPLATES=template_settings(FILES))


def build(root: Path) -> None:
    """Build what the page shows: 300 files."""
    (root / "media" / "photos").mkdir(parents=True, exist_ok=True)
    data = images.photo(900, 700)
    for product in products():
        (root / "media" / product["photo"]).write_bytes(data)
    page("batch.html")()
    if process_queue() != 3 * IMAGES:
        raise SystemExit("the page could not be built")


def page(name: str) -> Callable[[], str]:
    template, shown = engines["django"].get_template(name), products()
    return lambda: template.render({"products": shown})


def floor_page(alias: str) -> Callable[[], str]:
    """Return the least that gives the same page: keys known, rows to dicts, a template."""
    plan = Img(width=300, ratio="square").plan
    asked = [(p, plan.keys(Source("default", p["photo"]).address)) for p in products()]
    every = [key for _, keys in asked for key in keys]
    template = engines["django"].get_template("floor.html")

    def render() -> str:
        found = Variant.objects.using(alias).filter(key__in=every).values("key", "file_name", "width", "height")
        rows = {row["key"]: row for row in found}
        values = []
        for product, keys in asked:
            base, single, double = (rows[key] for key in keys)
            values.append(
                {
                    "name": product["name"],
                    "src": f"/media/{base['file_name']}",
                    "one": f"/media/{single['file_name']}",
                    "two": f"/media/{double['file_name']}",
                    "width": base["width"],
                    "height": base["height"],
                }
            )
        return str(template.render({"products": values}))

    return render


def measure(alias: str, root: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Return microseconds per image of each page: medians of CPU and wall, and against the floor's."""
    with site(alias, root, 0):
        build(root)
        pages = {"floor": floor_page(alias), "batch": page("batch.html"), "include": page("include.html")}
        if len({render() for render in pages.values()}) > 1:
            raise SystemExit("the floor writes another page")
        for render in pages.values():
            with CaptureQueriesContext(connections[alias]) as sent:
                render()
            if len(sent) != 1:
                raise SystemExit(f"a page sent {len(sent)} queries")
        interleaved(5, **pages)
        took = interleaved(rounds, **pages)
    with site(alias, root, 10):
        interleaved(5, warm=page("batch.html"))
        took |= interleaved(rounds, warm=page("batch.html"))
    each = 1e6 / IMAGES
    return {
        name: {
            "cpu": calls.cpu * each,
            "wall": calls.wall * each,
            "best wall": min(calls.walls) * each,
            "above floor": calls.longer(took["floor"]) * each,
            "of floor": calls.wall / took["floor"].wall,
        }
        for name, calls in took.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time Django pages of 100 images.")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--rounds", type=int, default=100)
    chosen = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        with django_site.database("bench", f"sqlite:///{folder}/rows.db") as alias:
            results["sqlite"] = measure(alias, Path(folder), chosen.rounds)
        with database("postgres") as url:
            if url is not None:
                with django_site.database("bench", url) as alias:
                    results["postgresql"] = measure(alias, Path(folder), chosen.rounds)
    print(f"{'us/image':20} {'cpu':>8} {'wall':>8} {'best':>8} {'above floor':>12} {'of floor':>9}")
    for server, row in results.items():
        for name, took in row.items():
            above = f"{took['above floor']:12.1f} {took['of floor']:9.2f}" if name in ("batch", "include") else ""
            print(f"{server + ' ' + name:20} {took['cpu']:8.1f} {took['wall']:8.1f} {took['best wall']:8.1f} {above}")
        print(judged(f"{server}: wall in all", row["batch"]["wall"], GOAL, "us/image"))
        print(judged(f"{server}: wall above the floor", row["batch"]["above floor"], GOAL, "us/image"))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
