"""Local media: the files behind the URLs that pages show, sent by the application itself."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

from flask import Blueprint, Flask, Response, abort, current_app, request
from werkzeug.datastructures import Headers
from werkzeug.utils import send_file

from easyimg.serving import Media, MediaFile, served_paths

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    import easyimg
    from easyimg_flask.config import FlaskOptions


def add_media(blueprint: Blueprint, app: Flask, core: easyimg.EasyImg, options: FlaskOptions) -> None:
    """Add a route for each storage that the application sends files of.

    Raises:
        ConfigError: a storage that was named is not there, or has no URLs on this host.
    """
    media = Media(core, originals=options.serve_originals)

    def send(alias: str, name: str) -> Response:
        found = media.find(alias, name)
        if found is None:
            media.report_missing(name)
            abort(404)
        return _answer(found)

    for alias, path in served_paths(core, options.serve, "EASYIMG_SERVE").items():
        blueprint.add_url_rule(f"{_below_root(app, path)}<path:name>", "media", send, defaults={"alias": alias})


def _below_root(app: Flask, base: str) -> str:
    """Return a path as routes have it: those of an application that is mounted begin below its mount."""
    root = str(app.config["APPLICATION_ROOT"]).rstrip("/") + "/"
    return "/" + base.removeprefix(root) if base.startswith(root) else base


def _answer(found: MediaFile) -> Response:
    """Return the file, or what of it was asked for: ranges, conditions, HEAD."""
    content: Any = found.path if found.path is not None else io.BytesIO(found.data or b"")
    answer = cast(
        Response,
        send_file(
            content,
            request.environ,
            mimetype=found.mime,
            etag=found.etag or True,  # else of its time and size
            use_x_sendfile=current_app.config["USE_X_SENDFILE"],
            response_class=_PublicFile,
        ),
    )
    answer.headers.pop("Content-Disposition", None)  # "inline", and the name that the URL tells
    answer.headers.update(found.headers)
    return answer


class _PublicFile(Response):
    """A file that all visitors share: what an answer says of one visitor's session is left out, whoever put it in."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """Return the headers that are sent."""
        self.vary.discard("Cookie")
        headers = super().get_wsgi_headers(environ)
        headers.remove("Set-Cookie")
        return headers
