"""Flask applications for tests: real files, SQLite, the extension."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask

from easyimg import EasyImg as Core
from easyimg.drain import drain
from easyimg.testing import images
from easyimg_flask import EasyImg

media = EasyImg()
"""One extension object for all of them, as a site with factories has it."""


def make_app(root: Path, *, guard: Any = None, name: str = "shop", **config: Any) -> Flask:
    """Return an application with ``root/media/shoe.jpg`` in its storage, and the extension."""
    (root / "media").mkdir(parents=True, exist_ok=True)
    (root / "media" / "shoe.jpg").write_bytes(images.photo(300, 200, orientation=6, gps=True))
    app = Flask(name)
    app.config.update(
        {
            "EASYIMG_STORAGES": {"default": f"file://{root}/media"},
            "EASYIMG_METADATA": f"sqlite:///{root}/rows.db",
            "EASYIMG_QUEUE": "none",
            "EASYIMG_ISOLATION": "never",
            "EASYIMG_CACHE_SECONDS": 0,
            **config,
        }
    )
    media.init_app(app, guard=guard)
    return app


def core_of(app: Flask) -> Core:
    """Return the application's EasyImg."""
    found: Core = app.extensions["easyimg"]
    return found


def build(app: Flask) -> int:
    """Build what is owed, as a worker would; return how many variants."""
    core_of(app).outbox.flush()
    return drain(core_of(app)).built
