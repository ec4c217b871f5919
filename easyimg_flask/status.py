"""The status page for people and the health report for monitors. Both are off until they are given a URL."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, abort, jsonify, make_response, render_template, request

from easyimg.errors import ConfigError
from easyimg.maintain import health_report

if TYPE_CHECKING:
    import easyimg
    from easyimg_flask.config import FlaskOptions

_COMMAND = "flask easyimg"
_NAMES_PICTURES = ("errors", "suggestions")
"""Parts of the report that hold names of files and texts of errors."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def add_status(
    blueprint: Blueprint, core: easyimg.EasyImg, options: FlaskOptions, guard: Callable[[], Any] | None
) -> None:
    """Add the routes that have a URL.

    Raises:
        ConfigError: the status page, which names pictures and errors, would be open to everybody.
    """
    is_guarded = guard is not None or options.status_token is not None
    if options.status_url is not None and not is_guarded:
        raise ConfigError(
            "EASYIMG_STATUS_URL: the page names pictures and errors; say who may see it with EASYIMG_STATUS_TOKEN or "
            "init_app(app, guard=...)"
        )

    def stopped() -> Any:
        """Return what is answered to those who may not see it; None = they may."""
        if options.status_token is not None and not _has_token(options.status_token):
            return _ask_for_token()
        return guard() if guard is not None else None

    def page() -> Any:
        if (answer := stopped()) is not None:
            return answer
        report = health_report(core, command=_COMMAND)
        return _uncached(make_response(render_template("easyimg/status.html", report=report)), report)

    def health() -> Any:
        if (answer := stopped()) is not None:
            return answer
        report = health_report(core, command=_COMMAND, **_gates(request.args))
        shown = report if is_guarded else {name: value for name, value in report.items() if name not in _NAMES_PICTURES}
        return _uncached(jsonify(shown), report)

    for url, name, view in ((options.status_url, "status", page), (options.health_url, "health", health)):
        if url is not None:
            blueprint.add_url_rule(url, name, view)


def _uncached(answer: Response, report: Mapping[str, Any]) -> Response:
    """Return an answer that nobody keeps, with the code that monitors look at."""
    answer.status_code = 200 if report["status"] == "ok" else 503
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = _POLICY
    return answer


def _has_token(token: str) -> bool:
    given = request.authorization
    sent = (given.token or given.password or "") if given is not None else ""
    return hmac.compare_digest(sent.encode(), token.encode())


def _ask_for_token() -> Response:
    answer = Response("the status token is needed\n", 401, mimetype="text/plain")
    answer.headers["WWW-Authenticate"] = 'Basic realm="easyimg", charset="UTF-8"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _gates(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return what a monitor asks for; the names are those of ``easyimg status``."""
    found: dict[str, Any] = {}
    for name, text in arguments.items():
        if name == "stale_after" and text.isascii() and text.isdecimal() and len(text) < 10:
            found[name] = float(text)
        elif name == "fail_on_errors" and text.isascii() and text.isdecimal() and len(text) < 10:
            found[name] = int(text)
        elif name == "fail_on_stale" and text in ("0", "1"):
            found[name] = text == "1"
        else:
            abort(400, "known are stale_after=SECONDS, fail_on_stale=1 and fail_on_errors=N")
    return found
