"""The visitor: reads pages over HTTP while things break, and every picture that they name."""

from __future__ import annotations

import contextlib
import http.client
import io
import random
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment
from PIL import Image

from easyimg import EasyImg, Img, Source
from easyimg.jinja import install
from tests.services import HOST

PAGE = "{% for name in names %}{{ img(name, width=60, alt='') }}\n{% endfor %}"
"""What it shows of each picture are the variants that cases order unless they choose others."""

PICTURES = 6
EVERY = 0.1
"""Pictures of one page, and seconds between two pages."""

_URLS = re.compile(r' (?:src|srcset)="([^"]*)"')


class _Files(SimpleHTTPRequestHandler):
    """Serves a folder under ``/media/``, and says nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for its head to be acknowledged

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/media"))

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Serve a folder's files over HTTP inside the block; yields the port."""
    server = ThreadingHTTPServer((HOST, 0), partial(_Files, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="media", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class Reader:
    """Reads URLs from one HTTP server over one connection; for one thread.

    Args:
        port: of the server on this machine.
    """

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)

    def get(self, url: str) -> bytes | None:
        """Return what a URL answers; None = it is not there."""
        for turn in range(2):
            try:
                self._connection.request("GET", url)
                answer = self._connection.getresponse()
                data = answer.read()
                return data if answer.status == 200 else None
            except (http.client.HTTPException, OSError):
                self._connection.close()  # a connection kept open may have been closed by the other side
                if turn:
                    raise
        return None

    def close(self) -> None:
        self._connection.close()


def decoded(data: bytes) -> Image.Image:
    """Return a picture, decoded to its last pixel; raises what the decoder does."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@dataclass
class Visits:
    """What the visitor saw: pages that failed, URLs that were not there, URLs without a whole picture."""

    pages: int = 0
    urls: int = 0
    slowest: float = 0.0
    failed: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


class Visitor:
    """Renders pages of pictures that are queued, ten a second, in a thread, and reads what they name, each URL once.

    It has an EasyImg of its own on the same rows, whose doorbells go nowhere, and shows only pictures whose variants
    all have rows: it orders nothing, and wakes nobody.

    Args:
        app: of the site.
        port: where its files are served.
        ordered: variant key -> name of its source.
        skip: says of a source's or a file's name that it need not be there.
    """

    def __init__(self, app: EasyImg, port: int, ordered: dict[str, str], skip: Callable[[str], bool]) -> None:
        self.seen = Visits()
        self._app = EasyImg(app.settings.replace(queue="none", cache_seconds=0))
        self._reader = Reader(port)
        self._ordered = ordered
        self._skip = skip
        self._keys: frozenset[str] = frozenset()
        self._read: set[str] = set()
        env = Environment(autoescape=True)
        install(env, self._app)
        self._page = env.from_string(PAGE)
        self._img = Img(width=60, app=self._app)
        self._random = random.Random(0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="visitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(90)
        self._reader.close()
        self._app.close()

    def tell(self, keys: Iterable[str]) -> None:
        """Say which variants have rows."""
        self._keys = frozenset(keys)

    def _run(self) -> None:
        try:
            while not self._stop.wait(EVERY):
                names = self._names()
                if names:
                    self._visit(self._random.sample(names, min(PICTURES, len(names))))
        except Exception as exc:  # noqa: BLE001  # a visitor who is gone has seen nothing wrong
            self.seen.failed.append(f"the visitor ended: {type(exc).__name__}: {exc}")

    def _names(self) -> list[str]:
        """Return pictures of which a page would order nothing, with a preference for the latest."""
        by_name: dict[str, set[str]] = defaultdict(set)
        for key in self._keys & self._ordered.copy().keys():
            by_name[self._ordered[key]].add(key)
        latest = sorted(by_name, key=lambda name: (len(name), name))[-40:]
        return [name for name in latest if not self._skip(name) and self._planned(name) <= by_name[name]]

    def _planned(self, name: str) -> set[str]:
        return set(self._img(Source("default", name), alt="").keys)

    def _visit(self, names: list[str]) -> None:
        started = time.perf_counter()
        try:
            html = self._page.render(names=names)
            assert html.count("<img ") == len(names), html
        except Exception as exc:  # noqa: BLE001  # whatever it is, the visitor saw an error page
            self.seen.failed.append(f"{type(exc).__name__}: {exc}")
            return
        self.seen.pages += 1
        self.seen.slowest = max(self.seen.slowest, time.perf_counter() - started)
        for text in _URLS.findall(html):
            for candidate in unescape(text).split(", "):
                self._look(candidate.split()[0])

    def _look(self, url: str) -> None:
        if url in self._read or url.startswith("data:"):
            return
        self._read.add(url)
        data = self._reader.get(url)
        name = unquote(url).removeprefix("/media/")
        if data is None:
            if not self._skip(name):
                self.seen.absent[name] = f"a page named {url}, which is not there"
            return
        self.seen.urls += 1
        try:
            decoded(data)
        except Exception as exc:  # noqa: BLE001  # decoders raise what they like
            self.seen.broken[name] = f"a page named {url}, which is no whole picture: {exc}"
