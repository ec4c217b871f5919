"""The demo's web server: the page, the pictures, uploads. For trying out, on one machine; not for the internet."""

from __future__ import annotations

import email
import email.message
import email.policy
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from rich.console import Console

from easyimg.demo.gallery import Gallery
from easyimg.errors import EasyImgError, SourceTooLarge, SourceUnreadable
from easyimg.serving import Media

_MARGIN = 100_000
"""Bytes of a form besides its file."""

_REFRESH = 1
"""Seconds after which a browser looks again while files are owed: the Refresh header, which every browser knows.

https://html.spec.whatwg.org/multipage/document-lifecycle.html#the-refresh-header
"""


_SAFE = {"X-Content-Type-Options": "nosniff"}


class Upload(NamedTuple):
    """One file of a form."""

    name: str
    data: bytes


def serve(gallery: Gallery, host: str, port: int, console: Console) -> int:
    """Serve the gallery until SIGINT or SIGTERM; return 0."""
    with _Server((host, port), gallery) as server:
        shown = f"[{host}]" if ":" in host else host
        try:
            console.print(f"serving http://{shown}:{server.server_address[1]}/ (Ctrl-C ends)", markup=False)
            console.file.flush()
            server.serve_forever(poll_interval=0.1)
        except (KeyboardInterrupt, SystemExit):
            console.print("bye")
    return 0


def parse_form(content_type: str, body: bytes, field: str) -> Upload:
    """Return the file of a ``multipart/form-data`` body.

    Raises:
        SourceUnreadable: it holds no file under that field's name.
    """
    head = f"Content-Type: {content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode("latin-1", "replace")
    form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    for part in form.iter_parts() if form.is_multipart() else ():
        name, data = part.get_filename(), part.get_payload(decode=True)
        if part.get_param("name", header="content-disposition") == field and name and isinstance(data, bytes):
            return Upload(name, data)
    raise SourceUnreadable("no file was sent")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], gallery: Gallery) -> None:
        self.gallery = gallery
        self.media = Media(gallery.app)
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "easyimg-demo"
    timeout = 30  # seconds for a request to arrive

    def do_GET(self) -> None:
        """Answer with the page or a file."""
        path = unquote(urlsplit(self.path).path)
        if path == "/":
            self._page()
        elif path.startswith("/media/"):
            self._file(path.removeprefix("/media/"))
        else:
            self._send(HTTPStatus.NOT_FOUND, b"not found", "text/plain")

    def do_HEAD(self) -> None:
        """Answer like GET, without the content."""
        self.do_GET()

    def do_POST(self) -> None:
        """Take in an uploaded picture, then show the page."""
        gallery = self.server.gallery
        if urlsplit(self.path).path != "/upload" or not self._is_own_form():
            self.close_connection = True
            self._send(HTTPStatus.FORBIDDEN, b"forbidden", "text/plain")
            return
        try:
            upload = parse_form(self.headers.get("Content-Type", ""), self._body(), "picture")
            gallery.add(upload.data, upload.name, first=True)
        except EasyImgError as exc:
            self._page(str(exc), HTTPStatus.UNPROCESSABLE_ENTITY)
            return
        self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", {"Location": "/"})

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the terminal shows the demo's results."""

    def _page(self, message: str = "", status: HTTPStatus = HTTPStatus.OK) -> None:
        gallery = self.server.gallery
        page = gallery.page(message=message)
        headers = {"Cache-Control": "no-store"}
        if page.waits and not message:
            headers["Refresh"] = str(_REFRESH)
        self._send(status, page.html.encode(), "text/html; charset=utf-8", headers)

    def _file(self, name: str) -> None:
        """Send a picture of the storage."""
        found = self.server.media.find("default", name)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, b"not found", "text/plain")
            return
        size, etag = found.measure()
        self._send(HTTPStatus.OK, found.read(0, size, etag), found.mime, found.headers)

    def _is_own_form(self) -> bool:
        """Refuse what another site's page makes a browser send."""
        origin = self.headers.get("Origin")
        return origin is None or urlsplit(origin).netloc == self.headers.get("Host")

    def _body(self) -> bytes:
        """Read the form; one that is too large is read to its end and forgotten, so that the answer gets through."""
        limit = self.server.gallery.app.settings.max_bytes + _MARGIN
        size = self.headers.get("Content-Length", "")
        if not size.isdigit():
            raise SourceUnreadable("the request does not say how long it is")
        if int(size) <= limit:
            return self.rfile.read(int(size))
        self.close_connection = True
        left = min(int(size), 10 * limit)
        while left > 0 and (part := self.rfile.read(min(left, 1 << 20))):
            left -= len(part)
        raise SourceTooLarge(f"{int(size):,} bytes; at most {limit - _MARGIN:,} are allowed")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **_SAFE, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
