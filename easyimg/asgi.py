"""ASGI: one middleware for Starlette, FastAPI, Litestar, Quart and every other framework; it needs none of them.

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(EasyImgMiddleware, images=images)

It sends the files of local storages, and has pages kept briefly while they wait for files. Nothing in it holds up the
event loop: looking and reading are done in threads, a piece at a time. Under a loop that is not asyncio's they are done
on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, NamedTuple
from wsgiref.headers import Headers

from easyimg.batch import ImageBatch
from easyimg.errors import StorageError
from easyimg.freshness import Shown, brief_headers, check_age
from easyimg.page import in_thread
from easyimg.ports import App
from easyimg.ranges import Answer, answer
from easyimg.serving import NOT_AT_ALL, Media, MediaFile, served_paths
from easyimg.signals import batch_loaded

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

CHUNK: Final = 256 * 1024
"""Bytes that are read at a time: nearly every variant is one piece, and a slow visitor holds no more in memory."""


_shown: ContextVar[Shown | None] = ContextVar("easyimg_shown", default=None)
"""What the request shows; the same object for its task and for the threads it works in."""


def is_waiting() -> bool:
    """Return whether any image that this request has shown so far waits for a file, in a template or in JSON.

    Nobody should keep such an answer long. Known once ``render()`` has returned, or the batch was loaded; what is still
    being streamed does not count, and neither does anything outside of :class:`EasyImgMiddleware`.
    """
    shown = _shown.get()
    return shown is not None and shown.waits


class EasyImgMiddleware:
    """Sends local pictures, and shortens the caching of pages that wait for files. Put it around everything else.

    A picture that is not found, and all that is not a picture, is left to the application; one whose storage does not
    answer is a 503 that nobody keeps.

    Args:
        app: the ASGI application.
        images: the EasyImg whose pictures are sent.
        serve: which storages: True = those in local folders whose base URL is a path of this host; False = none, the
            web server in front does; or a list of aliases.
        serve_originals: whether sources are sent as well as variants; None = only with ``pending="source"``, where
            pages show them.
        pending_max_age: seconds for which a page that still waits for files may be kept by browsers and caches; None =
            its caching headers stay as they are.

    Raises:
        ConfigError: a storage that was named is not there, or has no URLs on this host; an age is out of range.
    """

    def __init__(
        self,
        app: ASGIApp,
        images: App,
        *,
        serve: bool | Sequence[str] = True,
        serve_originals: bool | None = None,
        pending_max_age: int | None = 10,
    ) -> None:
        check_age(pending_max_age, "pending_max_age")
        self._app = app
        self._media = Media(images, originals=serve_originals)
        # The longest first: one storage's path may begin with another's.
        self._paths = sorted(served_paths(images, serve, "serve").items(), key=lambda item: -len(item[1]))
        self._max_age = pending_max_age
        batch_loaded.connect(_note)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = self._named(scope) if scope["method"] in ("GET", "HEAD") else None
        part = await in_thread(self._open, *named, scope) if named is not None else None
        if part is None:
            await self._page(scope, receive, send)
        else:
            await _send_part(part, receive, send)

    def _named(self, scope: Any) -> tuple[str, str] | None:
        """Return alias and name of the picture that is asked for.

        Servers and proxies differ in whether the path begins with the root path of a site that is mounted.
        """
        path, root = scope["path"], scope.get("root_path", "").rstrip("/")
        for whole in (path, root + path):
            for alias, base in self._paths:
                if whole.startswith(base):
                    return alias, whole[len(base) :]
        return None

    def _open(self, alias: str, name: str, scope: Any) -> _Part | None:
        """Return what of a picture is sent; None where there is none. Works in a thread."""
        asked = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        is_head = scope["method"] == "HEAD"
        if is_head:
            asked.pop("range", None)  # means nothing there: https://www.rfc-editor.org/rfc/rfc9110#section-14.2
        try:
            found = self._media.find(alias, name)
            if found is None:
                self._media.report_missing(name)
                return None
            size, etag = found.measure()
            reply = answer(asked, size, etag)
            start = reply.stop if is_head else reply.start
            return _Part(found, etag, reply, start, found.read(start, min(start + CHUNK, reply.stop), etag))
        except OSError:  # gone since it was found, or none that the site may open
            return None
        except StorageError:  # does not answer; or the file was changed meanwhile
            return _UNAVAILABLE

    async def _page(self, scope: Any, receive: Receive, send: Send) -> None:
        """Let the application answer; nobody keeps its page long if it waits for files."""
        shown = Shown()

        async def brief(message: Message) -> None:
            if message["type"] == "http.response.start" and shown.waits and self._max_age is not None:
                message = {**message, "headers": _brief(message.get("headers", ()), self._max_age)}
            await send(message)

        token = _shown.set(shown)
        try:
            await self._app(scope, receive, brief)
        finally:
            _shown.reset(token)


class _Part(NamedTuple):
    """A picture on its way out: what is sent of it, from ``start`` on; ``first`` = its first piece."""

    media: MediaFile
    etag: str
    reply: Answer
    start: int
    first: bytes


_UNAVAILABLE: Final = _Part(
    MediaFile(None, b"", "text/plain", {"Cache-Control": NOT_AT_ALL}, ""),
    "",
    Answer(503, {"Content-Length": "0"}),
    0,
    b"",
)


async def _send_part(part: _Part, receive: Receive, send: Send) -> None:
    """Send it, a piece at a time, until the visitor goes away.

    Raises:
        StorageError: another file has taken its place meanwhile: the server cuts the connection.
    """
    media, reply = part.media, part.reply
    headers = {"Content-Type": media.mime, **media.headers, **reply.headers}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    sent = part.start + len(part.first)
    await send({"type": "http.response.body", "body": part.first, "more_body": sent < reply.stop})
    if sent >= reply.stop:
        return
    gone = _watched(receive)
    try:
        while sent < reply.stop and not (gone and gone.done()):
            piece = await in_thread(media.read, sent, min(sent + CHUNK, reply.stop), part.etag)
            sent += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": sent < reply.stop})
    finally:
        if gone is not None:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


def _watched(receive: Receive) -> asyncio.Future[None] | None:
    """Return what is done once the visitor has gone away; None under an event loop that is not asyncio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return asyncio.ensure_future(_gone(receive))


async def _gone(receive: Receive) -> None:
    """Return when the visitor has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _brief(raw: Any, seconds: int) -> list[tuple[bytes, bytes]]:
    """Return a response's headers, changed so that nobody keeps it longer."""
    headers = _Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw])
    for name, value in brief_headers(headers, seconds).items():
        del headers[name]
        if value is not None:
            headers[name] = value
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


class _Headers(Headers):
    """Those of a response, in any case; one that is there several times says all of it in a row."""

    def __getitem__(self, name: str) -> str:
        return ", ".join(self.get_all(name))


def _note(_sender: App, batch: ImageBatch, **_: Any) -> None:
    shown = _shown.get()
    if shown is not None:
        shown.note(batch)
