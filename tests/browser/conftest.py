"""A site with real files, pages rendered by the real ``img()``, a server, and Chromium windows to look at them with."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, Template

from easyimg import EasyImg, Source
from easyimg.drain import drain
from easyimg.jinja import install
from easyimg.testing import images
from tests.browser.server import PageServer
from tests.counting import Bell


class Site:
    """A site in a folder: SQLite, files, the settings of EasyImg, and its server."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.media = root / "media"
        self.media.mkdir()
        self.app = EasyImg(
            storages={"default": f"file://{self.media}"},
            metadata=f"sqlite:///{root}/rows.db",
            queue=Bell(),
            isolation="never",
            **settings,
        )
        self.env = Environment(autoescape=True)
        install(self.env, self.app)
        self.server = PageServer(self.media)

    def upload(self, data: bytes | None = None, **photo: Any) -> Source:
        """Save a picture as an application does: its facts are known from then on."""
        data = images.photo(**photo) if data is None else data
        return self.app.save_upload(io.BytesIO(data), name="picture")

    def put(self, name: str, data: bytes) -> str:
        """Place a picture behind easyimg's back: nothing is known of it."""
        (self.media / name).write_bytes(data)
        return name

    def page(self, path: str, body: str, *, css: str = "", **context: Any) -> str:
        """Serve a template, rendered anew for each request; return its URL."""
        template = self.template(body, css)
        self.server.pages[path] = lambda: template.render(**context)
        return self.server.url + path

    def template(self, body: str, css: str = "") -> Template:
        head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Images</title>{css}</head>'
        return self.env.from_string(f"{head}<body>{body}</body></html>")

    def build(self, *urls: str) -> None:
        """Render pages once, so that all they need is ordered, and build it."""
        for url in urls:
            self.server.pages[url.removeprefix(self.server.url)]()
        drain(self.app)

    def file(self, url: str) -> Path:
        """Return the file behind a picture's URL."""
        return self.media / url.removeprefix(f"{self.server.url}/media/")


@pytest.fixture(scope="module")
def make_site(tmp_path_factory):
    """Return a function that makes a served site."""
    made: list[Site] = []

    def make(**settings: Any) -> Site:
        site = Site(tmp_path_factory.mktemp("site"), **settings)
        site.server.__enter__()
        made.append(site)
        return site

    yield make
    for site in made:
        site.server.__exit__()
        site.app.close()


@pytest.fixture
def window(chromium) -> Any:
    """Return a function that opens a page in a window of its own: no cache, no cookies, errors collected."""
    contexts = []

    def open_(width: int = 1280, height: int = 900, dpr: float = 1) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, device_scale_factor=dpr)
        context.set_default_timeout(30_000)
        contexts.append(context)
        return context.new_page()

    yield open_
    for context in contexts:
        context.close()


LOADED = """async () => {
  const deadline = performance.now() + 20000;
  for (const img of document.images) {
    img.scrollIntoView({block: 'center'});
    while (!img.complete) {
      if (performance.now() > deadline) throw new Error('not loaded: ' + img.outerHTML);
      await new Promise(requestAnimationFrame);
    }
    await img.decode().catch(() => {});
  }
  scrollTo(0, 0);
}"""

SEEN = """() => [...document.images].map(img => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 20;
  const ink = canvas.getContext('2d', {willReadFrequently: true});
  if (img.naturalWidth) ink.drawImage(img, 0, 0, 20, 20);
  const colour = (x, y) => [...ink.getImageData(x, y, 1, 1).data.slice(0, 3)];
  const box = img.getBoundingClientRect();
  return {
    id: img.id, url: img.currentSrc, alt: img.alt, naturalWidth: img.naturalWidth, naturalHeight: img.naturalHeight,
    width: box.width, height: box.height, attributes: [+img.getAttribute('width'), +img.getAttribute('height')],
    fit: getComputedStyle(img).objectFit,
    corners: {tl: colour(3, 3), tr: colour(16, 3), bl: colour(3, 16), br: colour(16, 16)},
  };
})"""


@pytest.fixture
def look() -> Callable[[Any], list[dict[str, Any]]]:
    """Return a function: a page -> what each of its images shows, after scrolling to every one and waiting for it."""

    def look(page: Any) -> list[dict[str, Any]]:
        page.evaluate(LOADED)
        return page.evaluate(SEEN)

    return look
