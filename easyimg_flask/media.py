"""Local media: the files behind the URLs that pages show, sent by the application itself."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

from flask import Blueprint, Flask, Response, abort, after_this_request, current_app, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.utils import send_file

from easyimg.errors import StorageError
from easyimg.serving import NOT_AT_ALL, Media, MediaFile, served_paths

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
        try:
            found = media.find(alias, name)
        except StorageError:
            after_this_request(_not_kept)
            abort(503)
        if found is None:
            media.report_missing(name)
            abort(404)
        try:
            return _answer(found)
        except OSError:  # gone since it was found, or none that the site may open
            abort(404)

    for alias, path in served_paths(core, options.serve, "EASYIMG_SERVE").items():
        blueprint.add_url_rule(f"{_below_root(app, path)}<path:name>", "media", send, defaults={"alias": alias})


def _below_root(app: Flask, base: str) -> str:
    """Return a path as routes have it: those of an application that is mounted begin below its mount."""
    root = str(app.config["APPLICATION_ROOT"]).rstrip("/") + "/"
    return "/" + base.removeprefix(root) if base.startswith(root) else base


def _not_kept(answer: Response) -> Response:
    """Have nobody keep an answer, whether the site's own page is shown or not."""
    answer.headers["Cache-Control"] = NOT_AT_ALL
    return answer


def _answer(found: MediaFile) -> Response:
    """Return the file, or what of it was asked for: ranges, conditions, HEAD."""
    content: Any = found.path if found.path is not None else io.BytesIO(found.data or b"")
    environ = dict(request.environ)
    if request.method == "HEAD":
        environ.pop("HTTP_RANGE", None)  # means nothing there: https://www.rfc-editor.org/rfc/rfc9110#section-14.2
    try:
        answer = cast(
            Response,
            send_file(
                content,
                environ,
                mimetype=found.mime,
                etag=found.etag or True,  # else of its time and size
                use_x_sendfile=current_app.config["USE_X_SENDFILE"],
                response_class=_PublicFile,
            ),
        )
    except RequestedRangeNotSatisfiable:
        after_this_request(_not_kept)
        raise
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
