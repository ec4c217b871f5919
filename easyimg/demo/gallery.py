"""The demo's pictures, the page that shows them, and what the rows say about them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final, NamedTuple

import jinja2

from easyimg.app import EasyImg
from easyimg.batch import ImageBatch
from easyimg.img import preset
from easyimg.jinja import install
from easyimg.signals import page_rendered
from easyimg.source import Source, SourceInfo
from easyimg.upload import save_upload
from easyimg.variant import ERROR_STATUSES, VariantDetail, VariantStatus

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "card": {"width": 300, "ratio": "4/3", "crop": True},
    "hero": {"width": 1200, "ratio": "2/1", "sizes": {480: 480, 800: 800}, "priority": True},
}
"""The page's two slots: a fixed one, and a fluid one that grows with the window."""


class Shown(NamedTuple):
    """One picture taken in: its source, its own name, and the size of its file in bytes."""

    source: Source
    title: str
    bytes: int


class Facts(NamedTuple):
    """What the rows say about one picture, for tables and captions."""

    title: str
    bytes: int
    info: SourceInfo | None
    variants: tuple[VariantDetail, ...]
    slots: tuple[Slot, ...]

    @property
    def error(self) -> str:
        """Why it could not be built; ``""`` when nothing failed."""
        return next((f"{v.error_kind}: {v.error}" for v in self.variants if v.status in ERROR_STATUSES), "")

    @property
    def is_built(self) -> bool:
        """Whether every row is built."""
        return bool(self.variants) and all(v.status == VariantStatus.BUILT for v in self.variants)


class Slot(NamedTuple):
    """One ``<img>`` of the page: its width in CSS pixels, its base file, its candidates, narrowest first."""

    width: int
    base: VariantDetail | None
    candidates: tuple[VariantDetail, ...]

    def bytes_at(self, density: float) -> int:
        """Return the bytes that a browser loads for it: the narrowest candidate that suffices, else the widest."""
        files = self.candidates or ((self.base,) if self.base else ())
        enough = [f for f in files if f.width >= self.width * density]
        return enough[0].bytes if enough else files[-1].bytes if files else 0


class Page(NamedTuple):
    """A rendered page, and whether it still shows anything that stands in: then a browser shall look again soon."""

    html: str
    waits: bool


class Gallery:
    """The pictures of one page. Thread-safe: the server adds to it while pages render."""

    def __init__(self, app: EasyImg, shown: tuple[Shown, ...] = (), hero: Source | None = None) -> None:
        self.app = app
        self.refused: list[tuple[str, str]] = []
        self._shown = list(shown)
        self._hero = hero
        self._lock = threading.Lock()
        self._template = _environment(app).get_template("gallery.html")

    def copy(self, app: EasyImg) -> Gallery:
        """Return the same pictures, shown with other settings."""
        return Gallery(app, self.shown, self._hero)

    @property
    def shown(self) -> tuple[Shown, ...]:
        """The pictures, newest upload first."""
        with self._lock:
            return tuple(self._shown)

    def add(self, file: Any, title: str, *, first: bool = False) -> Source:
        """Take in a picture as a site takes in an upload.

        Raises:
            EasyImgError: it was refused.
        """
        source = save_upload(file, app=self.app, prefix="photos/", name=title)
        size = self.app.storage("default").size(source.name) or 0
        with self._lock:
            self._shown.insert(0 if first else len(self._shown), Shown(source, title, size))
        return source

    def page(self, *, form: bool = True, message: str = "") -> Page:
        """Render the page; what has no rows yet is queued by that.

        Args:
            form: whether it has the upload form.
            message: why an upload was refused.
        """
        waits: list[bool] = []

        def note(batch: ImageBatch, **_: Any) -> None:
            waits.append(batch.has_pending)

        with page_rendered.connected_to(note, sender=self.app):
            html = self._template.render(pictures=self.facts_by_picture(), form=form, message=message)
        return Page(html, any(waits))

    def facts_by_picture(self) -> list[tuple[Shown, Facts]]:
        """Return each picture with what the rows say."""
        hero = self._chosen_hero()
        return [(s, self._facts(s, ("card", "hero") if s.source == hero else ("card",))) for s in self.shown]

    def facts(self) -> list[Facts]:
        """Return what the rows say, picture by picture."""
        return [facts for _, facts in self.facts_by_picture()]

    def _chosen_hero(self) -> Source | None:
        """Return the picture that is shown large: the heaviest file when the page was first made."""
        shown = self.shown
        if self._hero is None and shown:
            self._hero = max(shown, key=lambda s: s.bytes).source
        return self._hero

    def _facts(self, shown: Shown, names: tuple[str, ...]) -> Facts:
        detail = self.app.metadata.inspect(shown.source)
        rows = {row.key: row for row in detail.variants} if detail else {}
        slots = tuple(_slot(self.app, name, shown.source, rows) for name in names)
        return Facts(shown.title, shown.bytes, detail.info if detail else None, tuple(rows.values()), slots)


def _slot(app: EasyImg, name: str, source: Source, rows: dict[str, VariantDetail]) -> Slot:
    plan = preset(name, app).plan
    keys = plan.keys(source.address)
    built = {key: rows[key] for key in keys if key in rows and rows[key].status == VariantStatus.BUILT}
    base = built.get(keys[0])
    candidates = sorted((built[key] for key in keys[1:] if key in built), key=lambda v: v.width)
    return Slot(base.width if base else 0, base, tuple(candidates))


def _environment(app: EasyImg) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    env = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    env.filters["weight"] = weight
    install(env, app)
    return env


def weight(size: float) -> str:
    """Return a number of bytes as people read it: ``412 kB``."""
    if size < 1000:
        return f"{size:.0f} B"
    return f"{size / 1e3:,.0f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
