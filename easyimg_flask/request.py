"""What one request shows: its batch, and whether anything in it still waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, current_app, g, has_app_context, has_request_context, request

from easyimg.batch import ImageBatch
from easyimg.freshness import Shown, brief_headers
from easyimg.signals import batch_loaded

if TYPE_CHECKING:
    from flask import Flask

    from easyimg.ports import App

EXTENSION = "easyimg"
"""The name of an application's EasyImg in ``app.extensions``."""

_KNOWN = "_easyimg_known"


def watch_pages(core: App) -> None:
    """Note what requests to an EasyImg's application show that waits for files."""
    batch_loaded.connect(_note, sender=core)


def shorten_caching(app: Flask, core: App, seconds: int) -> None:
    """Have the application's answers that wait for files kept no longer than that.

    After everything else that handles its answers, whenever that was registered: the last word on caching.
    """

    def shorten(response: Response) -> Response:
        if waits(core):
            for name, value in brief_headers(response.headers, seconds).items():
                if value is None:
                    response.headers.pop(name, None)
                else:
                    response.headers[name] = value
        return response

    # Flask calls them last to first: https://flask.palletsprojects.com/api/#flask.Flask.after_request_funcs
    app.after_request_funcs.setdefault(None, []).insert(0, shorten)


class _OfRequest:
    """What is known of one request, or of one application context without a request."""

    def __init__(self) -> None:
        self.batch: ImageBatch | None = None
        self.shown = Shown()


def batch_of(core: App) -> ImageBatch:
    """Return the batch of this request, or of this application context where there is no request."""
    found = _of_request(core)
    if found.batch is None:
        found.batch = ImageBatch(core)
    return found.batch


def waits(core: App) -> bool:
    """Return whether anything that this request has shown waits for a file."""
    found = _known().get(id(core))
    return found is not None and (found.shown.waits or (found.batch is not None and found.batch.has_pending))


def _note(sender: App, batch: ImageBatch, **_: Any) -> None:
    if has_request_context():
        _of_request(sender).shown.note(batch)


def _of_request(core: App) -> _OfRequest:
    return _known().setdefault(id(core), _OfRequest())


def _known() -> dict[int, _OfRequest]:
    """Return what is known of this request, by EasyImg; not on ``g`` where there is a request.

    One ``g`` may serve many requests: ``with app.app_context():`` around a test client.
    """
    place: Any = request if has_request_context() else g
    found: dict[int, _OfRequest] | None = getattr(place, _KNOWN, None)
    if found is None:
        found = {}
        setattr(place, _KNOWN, found)
    return found


def core_of_current_app() -> App | None:
    """Return the EasyImg of the application whose context is active; None without one."""
    return current_app.extensions.get(EXTENSION) if has_app_context() else None
