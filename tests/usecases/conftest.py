"""One small site per test: real SQLite, real files, real pictures; and what counts its statements and doorbells."""

from __future__ import annotations

from pathlib import Path

import pytest

from easyimg import EasyImg
from easyimg.testing import images
from tests.counting import Bell, Statements


class Site:
    def __init__(self, root: Path, **options):
        self.media = root / "media"
        self.media.mkdir(exist_ok=True)
        self.bell = Bell()
        self.app = EasyImg(
            **{
                "storages": {"default": f"file://{self.media}"},
                "metadata": f"sqlite:///{root}/rows.db",
                "queue": self.bell,
                "isolation": "never",
                **options,
            }
        )

    def put(self, name="shoe.jpg", data=None):
        path = self.media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.photo(900, 600) if data is None else data)
        return name

    def file(self, url):
        """Return the file behind a URL of the page."""
        assert url.startswith("/media/")
        return self.media / url.removeprefix("/media/")

    def variants(self):
        return sorted(str(path.relative_to(self.media)) for path in self.media.glob("img/*"))


@pytest.fixture
def make_site(tmp_path):
    made = []

    def make(**options):
        site = Site(tmp_path, **options)
        made.append(site)
        return site

    yield make
    for site in made:
        site.app.close()


@pytest.fixture
def site(make_site):
    site = make_site()
    with site.app:
        yield site


@pytest.fixture
def statements(site):
    site.app.metadata.setup()
    return lambda: Statements(site.app)
