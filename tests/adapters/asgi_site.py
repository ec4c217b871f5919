"""ASGI sites for tests: real files, SQLite, any framework, asked in this process or through a real uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from easyimg import EasyImg
from easyimg.drain import drain
from easyimg.testing import images
from tests.queues.sites import until


def make_images(root: Path, **settings: Any) -> EasyImg:
    """Return an EasyImg with ``root/media/shoe.jpg`` in its storage."""
    (root / "media").mkdir(parents=True, exist_ok=True)
    (root / "media" / "shoe.jpg").write_bytes(images.photo(300, 200, orientation=6, gps=True))
    chosen = {
        "storages": {"default": f"file://{root}/media"},
        "metadata": f"sqlite:///{root}/rows.db",
        "queue": "none",
        "isolation": "never",
        "cache_seconds": 0,
        **settings,
    }
    return EasyImg(**chosen)


def build(made: EasyImg) -> int:
    """Build what is owed, as a worker would; return how many variants."""
    made.outbox.flush()
    return drain(made).built


def fetch(app: Any, url: str, *, method: str = "GET", **options: Any) -> httpx.Response:
    """Return an application's answer."""
    return asyncio.run(afetch(app, url, method=method, **options))


async def afetch(app: Any, url: str, *, method: str = "GET", **options: Any) -> httpx.Response:
    """Return an application's answer, from inside an event loop."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://site") as client:
        return await client.request(method, url, **options)


@contextlib.contextmanager
def on_uvicorn(app: Any, **options: Any) -> Iterator[tuple[str, int]]:
    """Serve an application with uvicorn, in a thread; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        yield "127.0.0.1", server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
