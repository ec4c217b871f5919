"""A local web server for browser tests: pages rendered when asked for, files, and a gate before the pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from easyimg.formats import FORMATS

_TYPES = {f".{f.extension}": f.mime for f in FORMATS.values()} | {".svg": "image/svg+xml"}


class PageServer(ThreadingHTTPServer):
    """Pages by path, style sheets by path, and files below ``/media/``.

    While ``gate`` is cleared, pictures wait for it: a page is laid out without them, as on a slow line.
    """

    daemon_threads = True

    def __init__(self, media: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.media = media
        self.pages: dict[str, Callable[[], str]] = {}
        self.headers: dict[str, str] = {}
        self.css: dict[str, str] = {}
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.gate.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that closed its connection early; what else fails shows in the page."""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        server = self.server
        if path.startswith("/media/"):
            server.gate.wait(30)
        if path in server.pages:
            self._send(200, server.pages[path]().encode(), "text/html; charset=utf-8", server.headers)
        elif path in server.css:
            self._send(200, server.css[path].encode(), "text/css")
        elif path.startswith("/media/") and (file := server.media / path.removeprefix("/media/")).is_file():
            self._send(200, file.read_bytes(), _TYPES[file.suffix])
        elif path == "/favicon.ico":  # asked for by the browser, not by the page
            self._send(204, b"", "image/x-icon")
        else:
            self._send(404, b"", "text/plain")

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
