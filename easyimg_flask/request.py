"""What one request shows: its batch, and whether anything in it still waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, current_app, g, has_app_context, has_request_context

from easyimg.batch import ImageBatch
from easyimg.freshness import brief_headers
from easyimg.signals import page_rendered

if TYPE_CHECKING:
    from flask import Flask

    from easyimg.ports import App

EXTENSION = "easyimg"
"""The name of an application's EasyImg in ``app.extensions``."""

_BATCH = "_easyimg_batch"
_WAITS = "_easyimg_waits"


def watch_pages(core: App) -> None:
    """Note which requests to an EasyImg's application show a page that waits for files."""
    page_rendered.connect(_note, sender=core)


def shorten_caching(app: Flask, seconds: int) -> None:
    """Have the application's answers that wait for files kept no longer than that.

    After everything else that handles its answers, whenever that was registered: the last word on caching.
    """

    def shorten(response: Response) -> Response:
        if waits():
            for name, value in brief_headers(response.headers, seconds).items():
                if value is None:
                    response.headers.pop(name, None)
                else:
                    response.headers[name] = value
        return response

    # Flask calls them last to first: https://flask.palletsprojects.com/api/#flask.Flask.after_request_funcs
    app.after_request_funcs.setdefault(None, []).insert(0, shorten)


def batch_of(core: App) -> ImageBatch:
    """Return the batch of this request, or of this application context where there is no request."""
    found: ImageBatch | None = g.get(_BATCH)
    if found is None:
        found = ImageBatch(core)
        setattr(g, _BATCH, found)
    return found


def waits() -> bool:
    """Return whether anything that this request has shown waits for a file."""
    batch: ImageBatch | None = g.get(_BATCH)
    return bool(g.get(_WAITS)) or (batch is not None and batch.has_pending)


def _note(sender: App, batch: ImageBatch, **_: Any) -> None:
    if has_request_context() and current_app.extensions.get(EXTENSION) is sender and batch.has_pending:
        setattr(g, _WAITS, True)


def core_of_current_app() -> App | None:
    """Return the EasyImg of the application whose context is active; None without one."""
    return current_app.extensions.get(EXTENSION) if has_app_context() else None
