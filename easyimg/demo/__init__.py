"""The demo: a folder of pictures -> a page -> the thread queue -> the page again, and what was saved.

Everything goes the way it goes in a site: uploads are checked and stored, the page notices what is missing and queues
it, the queue builds it, and the page shows it. SQLite and a local folder hold it all.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from easyimg.app import EasyImg
from easyimg.demo import report
from easyimg.demo.gallery import PRESETS, Gallery
from easyimg.demo.pictures import BROKEN, SCENES, make_pictures
from easyimg.demo.server import serve
from easyimg.errors import ConfigError, EasyImgError

MARKER = ".easyimg-demo"
"""A file in a folder of ours: only such a folder is emptied."""

PATIENCE = 120.0
"""Seconds without any progress after which waiting for the queue ends."""


def run_demo(
    out: Path, *, photos: Path | None = None, once: bool = False, host: str = "127.0.0.1", port: int = 8000,
    console: Console | None = None,
) -> int:  # fmt: skip
    """Run the demo and return its exit code: 1 if a good picture failed.

    Args:
        out: folder for everything the demo makes; emptied first if an earlier demo made it.
        photos: folder of pictures to take in; None = paint some.
        once: True = write the page and return; False = serve it until SIGINT or SIGTERM.
        host, port: where to serve; port 0 = any free one.
        console: where to print.

    Raises:
        ConfigError: ``out`` holds something that no demo has made.
    """
    console = console or Console(highlight=False)
    out = prepare_folder(out.resolve())
    with make_app(out) as app:
        gallery = Gallery(app)
        _take_in(gallery, _pictures(out, photos, console), console)
        gallery.page()  # the page notices what is missing and queues it, as in a site
        _wait(app, console)
        facts = gallery.facts()
        report.print_results(console, facts, gallery.refused)
        page = write_page(app, gallery, out)
        console.print(f"page: {page.as_uri()}")
        code = 1 if report.good_ones_failed(facts, expected=None if photos else (BROKEN,)) else 0
        return code if once else serve(gallery, host, port, console)


def make_app(out: Path) -> EasyImg:
    """Return the demo's EasyImg: SQLite, a local folder, builder threads in this process."""
    return EasyImg(
        storages={"default": f"file://{out / 'media'}"},
        base_urls={"default": "/media/"},
        metadata=f"sqlite:///{out / 'easyimg.db'}",
        queue="thread",
        threads=2,
        presets=PRESETS,
    )


def prepare_folder(out: Path) -> Path:
    """Return the folder, empty but for its marker; only what an earlier demo made is removed."""
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise ConfigError(f"{out} is not empty and not from a demo; choose another folder with --out")
        for old in out.iterdir():
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    (out / "media").mkdir(parents=True)
    (out / MARKER).touch()
    return out


def write_page(app: EasyImg, gallery: Gallery, out: Path) -> Path:
    """Write the page with relative URLs, so that it can be opened as a file."""
    relative = app.settings.replace(base_urls={"default": "./media/"}, queue="none")
    with EasyImg(relative) as reader:
        (out / "index.html").write_text(gallery.copy(reader).page(form=False).html, encoding="utf-8")
    return out / "index.html"


def _pictures(out: Path, photos: Path | None, console: Console) -> Iterable[Path]:
    if photos is not None:
        return sorted(p for p in photos.rglob("*") if p.is_file() and not p.name.startswith("."))
    with console.status("painting pictures"):
        made = list(make_pictures(out / "photos"))
    assert len(made) == len(SCENES) + 1
    return made


def _take_in(gallery: Gallery, paths: Iterable[Path], console: Console) -> None:
    with console.status("taking in pictures"):
        for path in paths:
            try:
                gallery.add(path, path.name)
            except EasyImgError as exc:
                gallery.refused.append((path.name, str(exc)))


def _wait(app: EasyImg, console: Console) -> None:
    """Show the queue's progress until nothing is owed, or nothing has moved for long."""
    columns = (TextColumn("building"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    app.outbox.flush()
    pending = total = app.metadata.counts(stale_after=0).pending
    moved = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        while pending and time.monotonic() < moved + PATIENCE:
            time.sleep(0.1)
            left = app.metadata.counts(stale_after=0).pending
            if left != pending:
                moved, pending = time.monotonic(), left
                progress.update(task, completed=total - pending)
