"""A Django site with built pictures, templates from a dict, and instruments that count what a page asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.adapters import django_site

django_site.start()

from django.db import connections  # noqa: E402 - needs a Django that is set up
from django.template import engines  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from easyimg import Img, process_queue  # noqa: E402
from easyimg.storages.fsspec import FsspecStorage  # noqa: E402
from easyimg.testing import images  # noqa: E402

PICTURES = 5
BUILT = {"width": 30}


class Quiet(FsspecStorage):
    """A storage that counts every call but those for a URL: a page makes none."""

    def __init__(self, root: Path) -> None:
        super().__init__(f"file://{root}", base_url="/media/")
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("read", "write", "delete", "size", "list"):
            self.calls.append(name)
        return super().__getattribute__(name)


def settings(alias: str, storage: Quiet, **options: Any) -> dict[str, Any]:
    return {
        "STORAGES": {"default": storage},
        "METADATA": f"django:{alias}",
        "QUEUE": "none",
        "ISOLATION": "never",
        "CACHE_SECONDS": 0,
        "PRESETS": {"thumb": BUILT, "card": {"width": 30, "alt": "A card"}},
        **options,
    }


def build(alias: str, root: Path) -> Quiet:
    """Make pictures p0.jpg ... whose variants of ``BUILT`` are built; return their storage."""
    storage = Quiet(root)
    for number in range(PICTURES):
        storage.write(f"p{number}.jpg", images.photo(60 + number, 40), "image/jpeg")
    with override_settings(EASYIMG=settings(alias, storage)):
        for number in range(PICTURES):
            str(Img(**BUILT)(f"p{number}.jpg", alt=""))
        assert process_queue() == 3 * PICTURES
    return storage


class Site:
    """The site of one test: its templates, and what they cost."""

    def __init__(self, alias: str, storage: Quiet) -> None:
        self.alias = alias
        self.storage = storage
        self.photos = [f"p{number}.jpg" for number in range(PICTURES)]

    @contextmanager
    def templates(self, **files: str) -> Iterator[None]:
        """Have templates in files: ``card_html`` is ``card.html``."""
        named = {name.replace("_", "."): text for name, text in files.items()}
        with override_settings(TEMPLATES=template_settings(named)):
            yield

    @contextmanager
    def builtin(self, library: Any) -> Iterator[None]:
        """Have the tags of a library without loading it."""
        builtins = engines["django"].engine.template_builtins
        builtins.append(library)
        yield
        builtins.remove(library)

    def render(self, text: str, /, **context: Any) -> str:
        """Return the page of a template that begins with ``{% load easyimg %}``."""
        template = engines["django"].from_string("{% load easyimg cache i18n %}" + text)
        return template.render({"photos": self.photos, "photo": "p0.jpg", **context})

    @contextmanager
    def counting(self, queries: int) -> Iterator[None]:
        """Assert how many statements are sent inside the block, and that no file is touched."""
        self.storage.calls.clear()
        with CaptureQueriesContext(connections[self.alias]) as sent:
            yield
        statements = [query["sql"] for query in sent.captured_queries]
        assert len(statements) == queries, statements
        assert self.storage.calls == []

    def html(self, source: str = "p0.jpg", alt: str = "x", **options: Any) -> str:
        """Return what an image is rendered as by itself."""
        return str(Img(**{**BUILT, **options})(source, alt=alt).as_html())

    @property
    def all(self) -> list[str]:
        """The HTML of all pictures."""
        return [self.html(photo) for photo in self.photos]


def template_settings(files: dict[str, str], **options: Any) -> list[dict[str, Any]]:
    return [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.cached.Loader", [("django.template.loaders.locmem.Loader", files)])
                ],
                **options,
            },
        }
    ]
