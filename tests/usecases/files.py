"""What the tests of ``clean`` and ``verify`` share: storages that count, aged files and rows, many rows at once."""

from __future__ import annotations

import os
import time
from collections import Counter

from sqlalchemy import update

from easyimg import Img, Source
from easyimg.build import variant_name
from easyimg.drain import drain
from easyimg.metadata.clock import now
from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing import images
from easyimg.variant import VariantStatus, Wanted

THUMB = Img(width=60, ratio="square")
"""Three variants."""

VERSION = "0123456789ab"


class Counting(FsspecStorage):
    """A real storage that counts its calls and does something of a test's at a moment of its choice."""

    def __init__(self, url):
        super().__init__(url, base_url="/media/")
        self.calls: Counter[str] = Counter()
        self.after_listing = lambda: None
        self.before_deleting = lambda name: None

    def list(self, prefix=""):
        self.calls["list"] += 1
        yield from sorted(super().list(prefix))  # by name, so that a test knows what comes first
        self.after_listing()

    def delete(self, name):
        self.calls["delete"] += 1
        self.before_deleting(name)
        super().delete(name)

    def size(self, name):
        self.calls["size"] += 1
        return super().size(name)

    def read(self, name, max_bytes=None):
        self.calls["read"] += 1
        return super().read(name, max_bytes)


def order(app, *names, img=THUMB):
    sources = [Source("default", name) for name in names]
    canonical = [spec.canonical for spec in img.plan.specs]
    app.metadata.enqueue([Wanted(s, dict(zip(img.plan.keys(s.address), canonical, strict=True))) for s in sources])
    return sources


def build(site, *names, seed=0):
    """Store, order and build a picture of each name."""
    for number, name in enumerate(names):
        site.put(name, images.photo(120, 90, seed=seed + number))
    sources = order(site.app, *names)
    drain(site.app)
    return sources


def rows_of(app):
    """Every variant's row, by page."""
    rows, after = [], ""
    while page := app.metadata.file_page(after):
        rows += page
        after = page[-1].key
    return rows


def lost_files(app):
    """Names in BUILT rows that the storage does not have."""
    built = [row for row in rows_of(app) if row.status == VariantStatus.BUILT]
    return [row.file_name for row in built if app.storage(row.storage).size(row.file_name) is None]


def unnamed_files(app):
    """Names below the prefix that no row has."""
    names = {row.file_name for row in rows_of(app)}
    return sorted(f.name for f in app.storage("default").list("img") if f.name not in names)


def age_file(path, seconds):
    """Let a local file be that much older."""
    os.utime(path, (time.time() - seconds,) * 2)


def age_sources(app, seconds):
    """Let no source's row have changed for so long."""
    store = app.metadata
    with store.engine.connect() as conn:
        conn.execute(update(store._tables.source).values(updated_at=now(-seconds)))


def orphan(number=0, extension="webp"):
    """The name of a file that belongs to no row."""
    return variant_name("img", f"{number:032x}", VERSION, extension)


def make_many(site, sources):
    """Make three BUILT variants with tiny files for that many sources, faster than by building; return the names."""
    names = [f"photos/{n}.jpg" for n in range(sources)]
    (site.media / "photos").mkdir()
    (site.media / "img").mkdir(exist_ok=True)
    for name in names:
        (site.media / name).write_bytes(b"original")
    order(site.app, *names, img=Img(width=60))
    store = site.app.metadata
    v = store._tables.variant
    built = {"status": 2, "due_at": None, "file_storage": "default", "bytes": 4, "built_at": now()}
    with store.engine.connect() as conn:
        conn.execute(update(v).values(file_name="img/" + v.c.key + f".{VERSION}.webp", **built))
    files = [row.file_name for row in rows_of(site.app)]
    for name in files:
        (site.media / name).write_bytes(b"file")
    return files
